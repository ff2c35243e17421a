// A frozen picture: points and a box become a mask, and several objects are kept beside each other.

const COLOURS = [[86, 160, 255], [255, 168, 60], [226, 108, 235], [60, 208, 200], [255, 112, 112], [176, 208, 60]];

/** Masks of one still picture. `changed` is called when something is to be drawn again. */
export class Frozen {
  #decode;
  #changed;
  #turn = 0;
  #isHovering = false;
  #nextHover = null;
  #steps = [];
  points = [];
  box = null;
  /** Of the prompt, or of what the pointer is over while there is none; best first. */
  masks = [];
  isPreview = true;
  objects = [];
  decodeMs = null;

  /** @param decode (prompt) -> {masks (best first, with pixels), decodeMs} */
  constructor(decode, changed) {
    this.#decode = decode;
    this.#changed = changed;
  }

  get hasPrompt() {
    return this.points.length > 0 || this.box !== null;
  }

  get colour() {
    return COLOURS[this.objects.length % COLOURS.length];
  }

  addPoint([x, y], label) {
    if (!label && !this.hasPrompt) throw new Error("begin with a point that is on the object");
    this.#steps.push({ points: this.points, box: this.box });
    this.points = [...this.points, [x, y, label]];
    return this.#ask();
  }

  /** A box while it is drawn is only shown. */
  setBox(box, isDone) {
    if (!isDone) {
      this.drawn = box;
      this.#changed();
      return Promise.resolve();
    }
    this.drawn = null;
    if (box[2] - box[0] < 1 || box[3] - box[1] < 1) return Promise.resolve();
    this.#steps.push({ points: this.points, box: this.box });
    this.box = box;
    return this.#ask();
  }

  undo() {
    const before = this.#steps.pop();
    if (!before) return Promise.resolve();
    Object.assign(this, before);
    return this.#ask();
  }

  clear() {
    this.#steps = [];
    this.points = [];
    this.box = null;
    return this.#ask();
  }

  /** Keeps the chosen mask as an object and begins the next. */
  keep(mask) {
    if (!this.hasPrompt || !mask) return Promise.resolve();
    const name = `object ${1 + Math.max(0, ...this.objects.map(({ number }) => number))}`;
    const number = Number(name.split(" ")[1]);
    this.objects.push({ name, number, rgb: this.colour, mask, points: this.points, box: this.box });
    return this.clear();
  }

  remove(object) {
    this.objects = this.objects.filter((other) => other !== object);
    this.#changed();
  }

  /** Shows what a click would mask; one is asked at a time, and the newest place next. */
  async hover(place) {
    if (this.hasPrompt) return;
    this.#nextHover = place;
    if (this.#isHovering) return;
    this.#isHovering = true;
    try {
      while (this.#nextHover && !this.hasPrompt) {
        const [x, y] = this.#nextHover;
        this.#nextHover = null;
        const { masks, decodeMs } = await this.#decode({ points: [[x, y, 1]], box: null });
        if (!this.hasPrompt) this.#take(masks, decodeMs, true);
      }
    } finally {
      this.#isHovering = false;
    }
  }

  async #ask() {
    const turn = ++this.#turn;
    if (!this.hasPrompt) {
      this.#take([], null, true);
      return;
    }
    this.#changed();
    const { masks, decodeMs } = await this.#decode({ points: this.points, box: this.box });
    if (turn === this.#turn) this.#take(masks, decodeMs, false);
  }

  #take(masks, decodeMs, isPreview) {
    Object.assign(this, { masks, decodeMs, isPreview });
    this.#changed();
  }
}
