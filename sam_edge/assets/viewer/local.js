// The decoder in the browser, as the page sees it: embeddings go in, prompts are answered.

export class LocalDecoder {
  #worker = new Worker(new URL("./local_worker.js", import.meta.url), { type: "module" });
  #waiting = new Map();
  #nextId = 1;
  #keeping = false;
  #newest = null;
  /** Capture time and frame size of the newest embedding that can be asked; null before the first. */
  live = null;

  constructor() {
    this.#worker.onmessage = ({ data: { id, answer, error } }) => {
      const { resolve, reject } = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error) reject(new Error(error));
      else resolve(answer);
    };
    this.#worker.onerror = (event) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(event.message || "the decoder's worker cannot start"));
      this.#waiting.clear();
    };
  }

  /** {threads, slots} once the decoder can be asked. */
  load() {
    return this.#ask({ command: "load", decoder: new URL("v1/decoder.onnx", document.baseURI).href });
  }

  /** Takes a live embedding; while one is unpacked, only the newest waits. */
  async offer(message) {
    this.#newest = message;
    if (this.#keeping) return;
    this.#keeping = true;
    while (this.#newest) {
      const taken = this.#newest;
      this.#newest = null;
      await this.keep("live", taken);
      this.live = { captureNs: taken.capture_ns, frameWh: taken.view.frame_wh };
    }
    this.#keeping = false;
  }

  keep(key, message) {
    return this.#ask({ command: "keep", key, message }, [message.payload.buffer]);
  }

  forget(key) {
    return this.#ask({ command: "forget", key });
  }

  /** See `decode` of local_worker.js. */
  decode(key, { points, box }, which) {
    return this.#ask({ command: "decode", key, points, box, which });
  }

  #ask(message, moved = []) {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, ...message }, moved);
    });
  }
}
