// The decoder, in a worker of its own so that the page never waits for it: onnxruntime-web on threads, and masks on the frame.

import * as ort from "./ort/ort.wasm.min.mjs";
import { fromLogits, measure } from "./masks.js";

const MOST_THREADS = 4;

let session = null;
let slots = 0;
/** id -> {view, feeds, captureNs} */
const embeddings = new Map();
const HALVES = new Float32Array(65536);

for (let bits = 0; bits < 65536; bits++) {
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  const size =
    exponent === 0 ? fraction * 2 ** -24 : exponent === 31 ? (fraction ? NaN : Infinity) : (1 + fraction / 1024) * 2 ** (exponent - 15);
  HALVES[bits] = bits & 32768 ? -size : size;
}

const commands = {
  /** Opens the decoder at `decoder` (an address). */
  async load({ decoder }) {
    ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(MOST_THREADS, navigator.hardwareConcurrency || 1) : 1;
    ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
    const packed = await fetched(new URL("./ort/ort-wasm-simd-threaded.wasm.gz", import.meta.url));
    const unpacked = packed.body.pipeThrough(new DecompressionStream("gzip"));
    ort.env.wasm.wasmBinary = await new Response(unpacked).arrayBuffer();
    const graph = await (await fetched(decoder)).arrayBuffer();
    session = await ort.InferenceSession.create(graph, { executionProviders: ["wasm"], graphOptimizationLevel: "all" });
    slots = session.inputMetadata.find(({ name }) => name === "point_coords").shape[1];
    return { threads: ort.env.wasm.numThreads, slots };
  },

  /** Keeps an `embedding` message under a key; the key "live" is replaced by each newer one. */
  keep({ key, message }) {
    const feeds = {};
    for (const [name, { dtype, shape, offset }] of Object.entries(message.tensors)) {
      const count = shape.reduce((product, side) => product * side, 1);
      const at = message.payload.byteOffset + offset;
      let values;
      if (dtype === "float16") {
        values = Float32Array.from(new Uint16Array(message.payload.buffer.slice(at, at + 2 * count)), (bits) => HALVES[bits]);
      } else {
        values = new Float32Array(message.payload.buffer.slice(at, at + 4 * count));
      }
      feeds[name] = new ort.Tensor("float32", values, shape);
    }
    embeddings.set(key, { view: message.view, captureNs: message.capture_ns, feeds });
    return {};
  },

  forget({ key }) {
    embeddings.delete(key);
    return {};
  },

  /** Masks of a prompt, best first. `which`: "all", or the rank of the one that is wanted. */
  async decode({ key, points, box, which }) {
    const { view, feeds, captureNs } = embeddings.get(key);
    const started = performance.now();
    const { logits, iou } = await session.run({ ...feeds, ...promptFeeds(points, box, view, feeds) });
    const decoded = performance.now();
    const [, planes, h, w] = logits.dims;
    // One point or one box is ambiguous: three masks; more is not: the first. Source: segment_anything, utils/onnx.py.
    const isAmbiguous = points.length + (box ? 2 : 1) <= 2;
    const ranks = isAmbiguous ? [...Array(planes - 1).keys()].map((at) => at + 1).sort((a, b) => iou.data[b] - iou.data[a]) : [0];
    const masks = ranks.map((plane, rank) => {
      const found = { predicted_iou: iou.data[plane], pixels: null };
      if (which === "all" || rank === Math.min(which, ranks.length - 1)) {
        Object.assign(found, fromLogits(logits.data.subarray(plane * h * w, (plane + 1) * h * w), [h, w], view));
        Object.assign(found, measure(found));
      }
      return found;
    });
    return { masks, frame_wh: view.frame_wh, captureNs, decodeMs: decoded - started, masksMs: performance.now() - decoded };
  },
};

function promptFeeds(points, box, view, tensors) {
  const [left, top, width, height] = view.window_xywh;
  const coords = new Float32Array(2 * slots);
  const labels = new Float32Array(slots).fill(-2);
  const all = [...points];
  if (box) {
    all.push([Math.max(box[0], left), Math.max(box[1], top), 2]);
    all.push([Math.min(box[2], left + width), Math.min(box[3], top + height), 3]);
  }
  if (all.length + (box ? 0 : 1) > slots) throw new Error(`this decoder takes ${slots - 2} points and a box at most`);
  all.forEach(([x, y, label], at) => {
    coords[2 * at] = ((x - left) * view.content_wh[0]) / width;
    coords[2 * at + 1] = ((y - top) * view.content_wh[1]) / height;
    labels[at] = label;
  });
  if (!box) labels[all.length] = -1;
  const feeds = {
    point_coords: new ort.Tensor("float32", coords, [1, slots, 2]),
    point_labels: new ort.Tensor("float32", labels, [1, slots]),
  };
  if (session.inputNames.includes("has_mask")) {
    const [h, w] = maskSides(tensors);
    feeds.mask_logits = new ort.Tensor("float32", new Float32Array(h * w), [1, 1, h, w]);
    feeds.has_mask = new ort.Tensor("float32", new Float32Array(1), [1]);
  }
  return feeds;
}

/** Sides of a decoder's logits: as `mask_logits` says, or four times the embedding's. */
function maskSides(tensors) {
  const { shape } = session.inputMetadata.find(({ name }) => name === "mask_logits");
  if (shape.slice(2).every((side) => typeof side === "number" && side > 0)) return shape.slice(2);
  return tensors.embedding.dims.slice(2).map((side) => 4 * side);
}

async function fetched(address) {
  const reply = await fetch(address);
  if (!reply.ok) throw new Error(`${new URL(address).pathname} answers ${reply.status}`);
  return reply;
}

self.onmessage = async ({ data: { id, command, ...rest } }) => {
  try {
    const answer = await commands[command](rest);
    const moved = (answer.masks ?? []).filter(({ pixels }) => pixels).map(({ pixels }) => pixels.buffer);
    self.postMessage({ id, answer }, moved);
  } catch (error) {
    self.postMessage({ id, error: String(error.message ?? error) });
  }
};
