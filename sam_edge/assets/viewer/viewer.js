// The page: ties the connection, the picture, the pointer and the panel together.

import { Chart } from "./chart.js";
import { Connection, parseBinary } from "./connection.js";
import { Frozen } from "./frozen.js";
import { bestFirst, Live } from "./live.js";
import { LocalDecoder } from "./local.js";
import { paint, toRle } from "./masks.js";
import { askToken, byId, copyText, notice, percent, write, writeChoice, writeNumbers, writeObjects, writeSummary, writeVerdict } from "./panel.js";
import { Picture } from "./picture.js";
import { watchPointer } from "./pointer.js";

const FRAMES_PER_S = 30;
const PING_EVERY_MS = 5000;
const NO_PICTURE_MS = 2000;
const FRESHNESS_RGB = { fresh: [53, 201, 141], carried: [240, 176, 64], stale: [190, 196, 206] };
const OBJECT_RGB = [[86, 160, 255], [255, 168, 60], [226, 108, 235], [60, 208, 200]];

const isLocal = new URLSearchParams(location.search).has("local");
const connection = new Connection();
const picture = new Picture(byId("picture"));
const chart = new Chart(byId("chart"), ["mask", "embedding"]);
const decoder = isLocal ? new LocalDecoder() : null;
const live = new Live(connection, decoder, liveChanged);

let info = null;
let frozen = null;
let label = 1;
let frameTimes = [];
let frameAt = -Infinity;
let frameNs = null;
let isDecodingFrame = false;
let waitingFrame = null;
/** Of the newest mask that was decoded: one in force says no times of its own. */
let newest = {};
/** What is painted for a mask, kept until the mask or its look changes. */
const painted = new Map();

// --- the connection -----------------------------------------------------------------------------------------

function subscribe() {
  const isSeen = !document.hidden;
  connection.send({
    type: "subscribe",
    results: isSeen,
    masks: "rle",
    candidates: live.choice > 0,
    frames: isSeen ? FRAMES_PER_S : 0,
    embeddings: isLocal && isSeen ? "float16" : null,
  });
}

function sayConnection(state, text) {
  byId("connection").dataset.state = state;
  write("connection", text);
}

connection.addEventListener("open", () => {
  sayConnection("open", "connected");
  notice("");
  subscribe();
});
connection.addEventListener("hello", ({ detail }) => {
  info = detail;
  live.hasTracker = detail.gaze === "tracker";
  const model = typeof detail.model === "object" ? (detail.model.name ?? detail.model.id ?? detail.model.model_id) : detail.model;
  write("model", [model, isLocal ? "decoded in this browser" : ""].filter(Boolean).join(" · "));
  if (detail.frame_wh) picture.setSize(detail.frame_wh);
});
connection.addEventListener("closed", ({ detail: waitMs }) => {
  sayConnection("lost", "not connected");
  notice(`The service does not answer. Trying again in ${(waitMs / 1000).toFixed(1)} s.`);
  live.objects.clear();
});
connection.addEventListener("refused", async () => {
  sayConnection("lost", "token needed");
  notice("");
  await askToken();
  sayConnection("waiting", "connecting");
  connection.connect();
});
connection.addEventListener("error", ({ detail }) => {
  if (detail.code === "gaze_taken") live.gazeTaken();
  else notice(detail.hint ? `${detail.what}: ${detail.hint}` : detail.what, 4000);
});
connection.addEventListener("result", ({ detail }) => live.takeResult(detail));
connection.addEventListener("frame", ({ detail }) => detail.embedding == null && showFrame(detail));
connection.addEventListener("embedding", ({ detail }) => decoder?.offer(detail).catch(complain));
setInterval(() => connection.isOpen && connection.ping(), PING_EVERY_MS);
document.addEventListener("visibilitychange", subscribe);

const picked = (message) => createImageBitmap(new Blob([message.payload], { type: "image/jpeg" }));

/** Shows the newest picture; while one is unpacked, only the newest waits. */
async function showFrame(message) {
  waitingFrame = message;
  if (isDecodingFrame) return;
  isDecodingFrame = true;
  while (waitingFrame) {
    const taken = waitingFrame;
    waitingFrame = null;
    const image = await picked(taken).catch(() => null);
    if (!image) continue;
    frameAt = performance.now();
    frameTimes.push(frameAt);
    live.newestFrameNs = taken.capture_ns;
    if (frozen) {
      image.close();
    } else {
      frameNs = taken.capture_ns;
      picture.setFrame(image, taken.frame_wh);
    }
  }
  isDecodingFrame = false;
}

function complain(error) {
  notice(error.message, 5000);
}

// --- live and frozen ----------------------------------------------------------------------------------------

function liveChanged(shown) {
  if (shown?.total != null) {
    chart.add("mask", shown.total);
    newest = { total: shown.total, decode: shown.decode };
  }
  if (shown?.embeddingAge != null) chart.add("embedding", shown.embeddingAge);
}

async function freeze() {
  const arrived = new Promise((resolve) => {
    const take = ({ detail }) => {
      if (detail.embedding == null) return;
      connection.removeEventListener("frame", take);
      resolve(detail);
    };
    connection.addEventListener("frame", take);
  });
  const answer = await connection.ask({ type: "freeze" });
  const frame = await arrived;
  if (decoder) {
    const reply = await fetch(new URL(`v1/embeddings/${answer.embedding}?dtype=float16`, document.baseURI));
    if (!reply.ok) throw new Error(`the embedding cannot be had: ${reply.status}`);
    await decoder.keep(answer.embedding, parseBinary(await reply.arrayBuffer()));
  }
  picture.setFrame(await picked(frame), answer.frame_wh);
  frozen = new Frozen((prompt) => decodeFrozen(answer.embedding, prompt), () => {});
  frozen.embedding = answer.embedding;
  frozen.captureNs = answer.capture_ns;
  frozen.frameWh = answer.frame_wh;
  live.point(null);
  setMode();
}

async function decodeFrozen(embedding, { points, box }) {
  if (decoder) return decoder.decode(embedding, { points, box }, "all");
  const answer = await connection.ask({ type: "prompt", points, ...(box && { box }), embedding });
  return { masks: bestFirst(answer.masks), decodeMs: answer.decode_ms };
}

function thaw() {
  decoder?.forget(frozen.embedding);
  frozen = null;
  setMode();
}

function setMode() {
  document.body.classList.toggle("is-frozen", frozen !== null);
  write("mode", frozen ? "Frozen" : "Live");
  write("freeze", frozen ? "Live" : "Freeze");
  byId("freeze").setAttribute("aria-pressed", String(frozen !== null));
  write("no-objects", frozen ? "Click the object; add points until the mask is right; then take the next object." : "Click in the live picture to follow what is masked, or freeze it and click.");
}

const chosenOf = (masks) => masks[Math.min(Math.max(0, live.choice - 1), masks.length - 1)] ?? null;

function choose(rank) {
  live.choice = rank;
  subscribe();
}

let nextFollow = 1;

const actions = {
  freeze: () => (frozen ? thaw() : freeze().catch(complain)),
  undo: () => frozen?.undo().catch(complain),
  next: () => frozen?.keep(chosenOf(frozen.masks)).catch(complain),
  clear: () => frozen?.clear().catch(complain),
  copy: async () => notice((await copyText(JSON.stringify(asJson(), null, 1))) ? "Copied." : "", 2000),
};

function click(place, isNegative) {
  if (frozen) {
    frozen.addPoint(place, isNegative ? 0 : label).catch(complain);
  } else if (live.isGaze && live.shown?.mask) {
    const object_id = nextFollow++;
    connection.ask({ type: "follow", object_id }).catch(complain);
  }
}

function asJson() {
  const asObject = (name, mask, more) => ({
    name,
    rle: mask.rle ?? toRle(mask),
    bbox: mask.bbox,
    area: mask.area,
    predicted_iou: Number(mask.predicted_iou.toFixed(4)),
    ...more,
  });
  const objects = [];
  if (frozen) {
    for (const { name, mask, points, box } of frozen.objects) objects.push(asObject(name, mask, { points, box }));
    const mask = chosenOf(frozen.masks);
    if (frozen.hasPrompt && mask) objects.push(asObject("current", mask, { points: frozen.points, box: frozen.box }));
  } else {
    if (live.shown?.mask) objects.push(asObject("gaze", live.shown.mask, { freshness: live.shown.freshness, point: live.shown.cross }));
    for (const [id, { mask, freshness }] of live.objects) if (mask) objects.push(asObject(`followed ${id}`, mask, { object_id: id, freshness }));
  }
  return { v: 1, model: info?.model ?? null, frame_wh: picture.frameWh, capture_ns: frozen?.captureNs ?? frameNs, objects };
}

// --- hands --------------------------------------------------------------------------------------------------

watchPointer(byId("picture"), {
  toFrame: (x, y) => picture.toFrame(x, y),
  frameWh: () => picture.frameWh,
  canDrag: () => frozen !== null,
  point: (place) => {
    if (frozen) frozen.hover(place).catch(complain);
    else live.point(place);
  },
  click,
  drag: (box, isDone) => frozen?.setBox(box, isDone).catch(complain),
});
for (const id of ["freeze", "undo", "next", "copy"]) byId(id).addEventListener("click", actions[id]);
for (const button of document.querySelectorAll("[data-choice]")) button.addEventListener("click", () => choose(Number(button.dataset.choice)));
for (const button of document.querySelectorAll("[data-label]")) button.addEventListener("click", () => setLabel(Number(button.dataset.label)));

function setLabel(value) {
  label = value;
  for (const button of document.querySelectorAll("[data-label]")) button.setAttribute("aria-checked", String(Number(button.dataset.label) === value));
}

const keys = { f: "freeze", z: "undo", n: "next", c: "copy", Escape: "clear" };
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, dialog")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key in keys) actions[keys[key]]();
  else if ("0123".includes(key)) choose(Number(key));
  else if (key === "+" || key === "-") setLabel(key === "+" ? 1 : 0);
});

// --- drawing ------------------------------------------------------------------------------------------------

function layer(key, mask, rgb, isHatched) {
  if (!mask?.pixels) {
    painted.delete(key);
    return null;
  }
  const before = painted.get(key);
  if (before?.mask === mask && before.rgb === rgb && before.isHatched === isHatched) return before.layer;
  const made = { mask, rgb, isHatched, layer: paint(mask, rgb, isHatched) };
  painted.set(key, made);
  return made.layer;
}

function drawFrozen() {
  const mask = chosenOf(frozen.masks);
  const layers = frozen.objects.map((object) => layer(object, object.mask, object.rgb, false));
  layers.push(layer("current", mask, frozen.colour, false));
  picture.draw(layers, { cross: null, points: frozen.points, box: frozen.drawn ?? frozen.box });
  writeVerdict({ mask, freshness: "fresh", isLocal, isFrozen: true });
  writeNumbers({ decode: frozen.decodeMs, fps: fps() });
  writeChoice(live.choice, frozen.masks.map(({ predicted_iou }) => predicted_iou));
  writeObjects(frozen.objects.map((object) => ({ name: object.name, rgb: object.rgb, detail: `score ${object.mask.predicted_iou.toFixed(2)}`, remove: () => frozen.remove(object) })));
}

function drawLive() {
  live.tick();
  live.dropSilent();
  const { shown } = live;
  const layers = [...live.objects].map(([id, { mask, freshness }]) => layer(`object ${id}`, mask, OBJECT_RGB[id % OBJECT_RGB.length], freshness === "stale"));
  layers.push(layer("gaze", shown?.mask, FRESHNESS_RGB[shown?.freshness] ?? FRESHNESS_RGB.fresh, shown?.freshness === "stale"));
  picture.draw(layers, { cross: live.place ?? shown?.cross ?? null, points: [], box: null });
  writeVerdict(shown);
  writeNumbers({ ...shown, ...(shown && newest), frameAge: shown?.frameAge ?? connection.ageMs(frameNs), fps: fps() });
  writeChoice(live.choice, shown?.mask ? shown.scores : []);
  writeObjects([...live.objects].map(([id, { mask, freshness }]) => ({
    name: `followed ${id}`,
    rgb: OBJECT_RGB[id % OBJECT_RGB.length],
    detail: mask ? `${freshness}, ${percent(mask.area / (mask.width * mask.height))} of the picture` : "not seen",
    remove: () => {
      connection.ask({ type: "unfollow", object_id: id }).catch(complain);
      live.objects.delete(id);
    },
  })));
}

function fps() {
  const from = performance.now() - 2000;
  frameTimes = frameTimes.filter((t) => t > from);
  return frameTimes.length / 2;
}

function draw() {
  if (frozen) drawFrozen();
  else drawLive();
  const silentMs = performance.now() - frameAt;
  if (connection.isOpen && picture.hasFrame && silentMs > NO_PICTURE_MS) notice(`No picture for ${Math.round(silentMs / 1000)} s.`, 1000);
  requestAnimationFrame(draw);
}

setInterval(() => {
  chart.draw();
  writeSummary(chart);
}, 200);
requestAnimationFrame(draw);
setMode();
byId("where").textContent = isLocal ? "Decode on the device" : "Decode in this browser";
byId("where").href = isLocal ? "./" : "?local";
decoder?.load().then(({ threads }) => notice(`The decoder is here (${threads} thread${threads > 1 ? "s" : ""}).`, 2500), complain);
connection.connect();
