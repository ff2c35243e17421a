// The picture on its canvas: a frame, painted masks over it, points and boxes; all in frame pixels.

export class Picture {
  #canvas;
  #frame = null;
  frameWh = [0, 0];

  constructor(canvas) {
    this.#canvas = canvas;
  }

  /** @param frameWh the frame's size, which the image may be a smaller copy of */
  setFrame(image, frameWh) {
    if (this.#frame && this.#frame !== image && !this.keepsFrame) this.#frame.close?.();
    this.keepsFrame = false;
    this.#frame = image;
    this.setSize(frameWh);
  }

  setSize([width, height]) {
    if (width === this.frameWh[0] && height === this.frameWh[1]) return;
    this.frameWh = [width, height];
    this.#canvas.parentElement.style.aspectRatio = `${width} / ${height}`;
  }

  get hasFrame() {
    return this.#frame !== null;
  }

  /** Scale and offset from frame pixels to the canvas's, the whole frame in its middle. */
  #placed(width, height) {
    const scale = Math.min(width / this.frameWh[0], height / this.frameWh[1]);
    return { scale, dx: (width - scale * this.frameWh[0]) / 2, dy: (height - scale * this.frameWh[1]) / 2 };
  }

  /** A place on the screen in frame pixels; null beside the picture. */
  toFrame(clientX, clientY) {
    const [frameWidth, frameHeight] = this.frameWh;
    if (!frameWidth) return null;
    const box = this.#canvas.getBoundingClientRect();
    const { scale, dx, dy } = this.#placed(box.width, box.height);
    const x = (clientX - box.left - dx) / scale;
    const y = (clientY - box.top - dy) / scale;
    return x >= 0 && y >= 0 && x <= frameWidth && y <= frameHeight ? [x, y] : null;
  }

  /** @param layers painted masks, the lowest first
   * @param marks {cross: [x, y] | null, points: [[x, y, label]], box: [x0, y0, x1, y1] | null}
   */
  draw(layers, { cross, points, box }) {
    const canvas = this.#canvas;
    const ratio = devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * ratio);
    const height = Math.round(canvas.clientHeight * ratio);
    if (!width || !height || !this.frameWh[0]) return;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    const { scale, dx, dy } = this.#placed(width, height);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    context.setTransform(scale, 0, 0, scale, dx, dy);
    if (this.#frame) context.drawImage(this.#frame, 0, 0, ...this.frameWh);
    for (const layer of layers) if (layer) context.drawImage(layer.canvas, layer.left, layer.top);
    const unit = ratio / scale;
    if (box) {
      const rectangle = [box[0], box[1], box[2] - box[0], box[3] - box[1]];
      outlined(context, unit, () => context.strokeRect(...rectangle));
    }
    for (const [x, y, label] of points) mark(context, x, y, label, unit);
    if (cross) {
      const [x, y] = cross;
      context.beginPath();
      context.arc(x, y, 7 * unit, 0, 2 * Math.PI);
      for (const [mx, my] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        context.moveTo(x + 7 * unit * mx, y + 7 * unit * my);
        context.lineTo(x + 13 * unit * mx, y + 13 * unit * my);
      }
      outlined(context, unit, () => context.stroke());
    }
  }
}

function outlined(context, unit, stroke) {
  context.lineWidth = 4 * unit;
  context.strokeStyle = "rgb(0 0 0 / 0.55)";
  stroke();
  context.lineWidth = 2 * unit;
  context.strokeStyle = "#fff";
  stroke();
}

/** A plus on green, a minus on red: the sign tells it without the colour. */
function mark(context, x, y, label, unit) {
  context.beginPath();
  context.arc(x, y, 9 * unit, 0, 2 * Math.PI);
  context.fillStyle = label ? "#0b8f5f" : "#c5352b";
  context.fill();
  context.lineWidth = 2 * unit;
  context.strokeStyle = "#fff";
  context.moveTo(x - 4.500 * unit, y);
  context.lineTo(x + 4.500 * unit, y);
  if (label) {
    context.moveTo(x, y - 4.500 * unit);
    context.lineTo(x, y + 4.500 * unit);
  }
  context.stroke();
}
