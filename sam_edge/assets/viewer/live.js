// The live picture: what the pointer asks for (as the gaze, as prompts of its own, or decoded here), and what came of it.

import { fromRle } from "./masks.js";

const GAZE_EVERY_MS = 33;
const TRY_GAZE_AGAIN_MS = 10000;
const OLDEST_MS = 500;
const OBJECT_SILENT_MS = 3000;

/** A mask of a message, with its pixels. */
export function unpacked(mask) {
  return mask && { ...mask, ...fromRle(mask.rle) };
}

/** Masks of an answer, best first, with their pixels. */
export function bestFirst(masks) {
  return [...masks].sort((a, b) => b.predicted_iou - a.predicted_iou).map(unpacked);
}

export class Live {
  #connection;
  #decoder;
  #changed;
  #isAsking = false;
  #gazeTakenAt = -Infinity;
  #lastGaze = -Infinity;
  place = null;
  /** 0: the stream's own choice; 1 to 3: the best, second, third mask. */
  choice = 0;
  /** What is under the gaze or the pointer: {status, freshness, mask, scores, cross, ...ages}. */
  shown = null;
  /** object_id -> the same, with `at`. */
  objects = new Map();
  newestFrameNs = null;
  /** Whether an eye tracker of the service is the gaze. */
  hasTracker = false;

  /** @param decoder a LocalDecoder, or null: the service decodes */
  constructor(connection, decoder, changed) {
    this.#connection = connection;
    this.#decoder = decoder;
    this.#changed = changed;
  }

  get isGaze() {
    return !this.#decoder && !this.hasTracker && performance.now() - this.#gazeTakenAt > TRY_GAZE_AGAIN_MS;
  }

  /** Somebody else is the gaze: the pointer asks with prompts of its own. */
  gazeTaken() {
    this.#gazeTakenAt = performance.now();
  }

  point(place) {
    const left = place === null && this.place !== null;
    this.place = place;
    if (left && this.isGaze) this.#connection.send({ type: "gaze", x_norm: 0.5, y_norm: 0.5, confidence: 0 });
    if (left && !this.isGaze) {
      this.shown = null;
      this.#changed();
    }
    this.tick();
  }

  /** Called with every picture that is drawn: a pointer that rests is sent again. */
  tick() {
    if (!this.place) return;
    if (!this.isGaze) {
      this.#askForPlace();
      return;
    }
    const now = performance.now();
    if (now - this.#lastGaze < GAZE_EVERY_MS) return;
    this.#lastGaze = now;
    const [x_px, y_px] = this.place;
    this.#connection.send({ type: "gaze", x_px, y_px });
  }

  takeResult(result) {
    const isGaze = result.object_id === null;
    if (isGaze && !this.isGaze && this.place) return;
    const candidates = (result.candidates ?? []).filter(Boolean);
    const mask = (result.mask && this.choice && candidates[this.choice - 1]) || result.mask;
    const shown = {
      status: result.status,
      freshness: result.freshness,
      mask: unpacked(mask),
      scores: candidates.map(({ predicted_iou }) => predicted_iou),
      cross: isGaze && result.status !== "no_gaze" ? [result.x_px, result.y_px] : null,
      frameWh: result.frame_wh,
      captureNs: result.capture_ns,
      total: result.reused ? null : result.stages_ms.total,
      decode: result.decode_ms,
      gazeAge: result.gaze_age_ms,
      frameAge: result.frame_age_ms,
      embeddingAge: result.embedding_age_ms,
      at: performance.now(),
    };
    if (isGaze) this.shown = shown;
    else if (result.status === "lost") this.objects.delete(result.object_id);
    else this.objects.set(result.object_id, shown);
    this.#changed(isGaze ? shown : null);
  }

  /** Objects that say nothing any more are not shown as if they did. */
  dropSilent() {
    for (const [id, { at }] of this.objects) if (performance.now() - at > OBJECT_SILENT_MS) this.objects.delete(id);
  }

  async #askForPlace() {
    if (this.#isAsking) return;
    this.#isAsking = true;
    const started = performance.now();
    const place = this.place;
    try {
      const answer = this.#decoder ? await this.#decodeHere(place) : await this.#askService(place);
      if (answer && this.place) {
        this.shown = { status: "mask", cross: place, total: performance.now() - started, gazeAge: null, at: performance.now(), ...answer };
        this.#changed(this.shown);
      }
    } catch {
      // Said where the connection is shown; the next picture asks again.
    } finally {
      this.#isAsking = false;
    }
  }

  async #decodeHere([x, y]) {
    if (!this.#decoder.live) return null;
    const rank = Math.max(0, this.choice - 1);
    const { masks, frame_wh, captureNs, decodeMs } = await this.#decoder.decode("live", { points: [[x, y, 1]], box: null }, rank);
    const embeddingAge = this.#connection.ageMs(captureNs);
    const isFresh = captureNs === this.newestFrameNs;
    return {
      isLocal: true,
      mask: masks[Math.min(rank, masks.length - 1)],
      scores: masks.map(({ predicted_iou }) => predicted_iou),
      freshness: isFresh ? "fresh" : embeddingAge > OLDEST_MS ? "stale" : "carried",
      frameWh: frame_wh,
      captureNs,
      decode: decodeMs,
      embeddingAge,
    };
  }

  async #askService([x, y]) {
    const answer = await this.#connection.ask({ type: "prompt", points: [[x, y, 1]] });
    const masks = bestFirst(answer.masks);
    return {
      mask: masks[Math.min(Math.max(0, this.choice - 1), masks.length - 1)],
      scores: masks.map(({ predicted_iou }) => predicted_iou),
      freshness: answer.freshness,
      frameWh: answer.frame_wh,
      captureNs: answer.capture_ns,
      decode: answer.decode_ms,
      embeddingAge: answer.embedding_age_ms,
    };
  }
}
