// The WebSocket of docs/service.md: messages by type, questions with one answer each, and coming back.

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8000;
const ANSWER_WITHIN_MS = 15000;

/** Splits a binary message: uint32 N, N bytes of JSON, the payload. */
export function parseBinary(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  return { ...header, payload: new Uint8Array(buffer, 4 + length) };
}

/** Fires `open`, `closed` (detail: ms until the next try), `refused` (a token is needed), and each message by its type. */
export class Connection extends EventTarget {
  #socket = null;
  #wait = FIRST_WAIT_MS;
  #timer = 0;
  #questions = new Map();
  #nextId = 1;
  /** Server's monotonic clock minus this page's, in ms; null until the first `pong`. */
  clockOffsetMs = null;
  roundTripMs = null;

  connect() {
    clearTimeout(this.#timer);
    const url = new URL("v1/stream", document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    socket.onopen = () => {
      this.#wait = FIRST_WAIT_MS;
      this.#tell("open");
      this.ping();
    };
    socket.onmessage = ({ data }) => this.#take(typeof data === "string" ? JSON.parse(data) : parseBinary(data));
    socket.onclose = () => this.#lost();
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  send(message) {
    if (this.isOpen) this.#socket.send(JSON.stringify({ v: 1, ...message }));
  }

  /** Sends a message with an id; resolves to its answer, rejects with the server's error. */
  ask(message) {
    if (!this.isOpen) return Promise.reject(new Error("not connected"));
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#settle(id, "reject", new Error("no answer")), ANSWER_WITHIN_MS);
      this.#questions.set(id, { resolve, reject, timer });
      this.send({ ...message, id });
    });
  }

  async ping() {
    const sent = performance.now();
    try {
      const { t_ns } = await this.ask({ type: "ping" });
      const now = performance.now();
      this.roundTripMs = now - sent;
      this.clockOffsetMs = t_ns / 1e6 - (sent + now) / 2;
    } catch {
      // The next one tells; until then the clock known before holds.
    }
  }

  /** How old something is now, from its capture time on the server's clock; null while that clock is unknown. */
  ageMs(captureNs) {
    if (this.clockOffsetMs === null || captureNs == null) return null;
    return Math.max(0, performance.now() + this.clockOffsetMs - captureNs / 1e6);
  }

  #take(message) {
    const question = this.#questions.has(message.id);
    if (question && message.type === "error") {
      const error = new Error(message.hint ? `${message.what}: ${message.hint}` : message.what);
      this.#settle(message.id, "reject", Object.assign(error, { code: message.code }));
    } else if (question) {
      this.#settle(message.id, "resolve", message);
    }
    if (!question || message.type !== "error") this.#tell(message.type, message);
  }

  #settle(id, how, value) {
    const question = this.#questions.get(id);
    if (!question) return;
    this.#questions.delete(id);
    clearTimeout(question.timer);
    question[how](value);
  }

  async #lost() {
    for (const id of [...this.#questions.keys()]) this.#settle(id, "reject", new Error("the connection broke"));
    this.clockOffsetMs = null;
    // A refused WebSocket does not say why; a plain request does.
    const status = await fetch(new URL("v1/info", document.baseURI)).then((reply) => reply.status, () => 0);
    if (status === 401) {
      this.#tell("refused");
      return;
    }
    this.#tell("closed", this.#wait);
    this.#timer = setTimeout(() => this.connect(), this.#wait);
    this.#wait = Math.min(2 * this.#wait, LONGEST_WAIT_MS);
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
