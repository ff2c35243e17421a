// The latency chart: the last seconds of two series on a logarithmic scale, and their numbers for who cannot see it.

const SPAN_MS = 10000;
const LOWEST_MS = 1;
const HIGHEST_MS = 2000;
const GRID_MS = [1, 10, 100, 1000];

export class Chart {
  #series;
  #canvas;

  /** @param names of the series; their colours are the CSS variables --series-NAME */
  constructor(canvas, names) {
    this.#canvas = canvas;
    this.#series = new Map(names.map((name) => [name, []]));
  }

  add(name, valueMs) {
    const points = this.#series.get(name);
    const now = performance.now();
    points.push([now, valueMs]);
    while (points.length && points[0][0] < now - SPAN_MS) points.shift();
  }

  /** The value below which a share of the last seconds' lies; null without any. */
  quantile(name, share) {
    const from = performance.now() - SPAN_MS;
    const values = this.#series.get(name).filter(([t]) => t > from).map(([, value]) => value).sort((a, b) => a - b);
    return values.length ? values[Math.min(values.length - 1, Math.floor(share * values.length))] : null;
  }

  draw() {
    const canvas = this.#canvas;
    const scale = devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * scale);
    const height = Math.round(canvas.clientHeight * scale);
    if (!width || !height) return;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const style = getComputedStyle(canvas);
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    const [left, bottom] = [34 * scale, 4 * scale];
    const top = 6 * scale;
    const y = (value) => {
      const share = Math.log(Math.min(Math.max(value, LOWEST_MS), HIGHEST_MS) / LOWEST_MS) / Math.log(HIGHEST_MS / LOWEST_MS);
      return height - bottom - share * (height - bottom - top);
    };
    context.font = `${11 * scale}px ${style.fontFamily}`;
    context.textAlign = "right";
    context.textBaseline = "middle";
    context.lineWidth = scale;
    for (const value of GRID_MS) {
      context.fillStyle = style.getPropertyValue("--quiet");
      context.fillText(String(value), left - 6 * scale, y(value) - (value === LOWEST_MS ? 4 * scale : 0));
      context.strokeStyle = style.getPropertyValue("--line");
      context.beginPath();
      context.moveTo(left, y(value));
      context.lineTo(width, y(value));
      context.stroke();
    }
    const now = performance.now();
    for (const [name, points] of this.#series) {
      context.strokeStyle = style.getPropertyValue(`--series-${name}`);
      context.lineWidth = 1.75 * scale;
      context.lineJoin = "round";
      context.beginPath();
      let before = -Infinity;
      for (const [t, value] of points) {
        const x = width - ((now - t) / SPAN_MS) * (width - left);
        if (x < left) continue;
        // A gap is a gap: no line over a time without results.
        if (t - before > 600) context.moveTo(x, y(value));
        else context.lineTo(x, y(value));
        before = t;
      }
      context.stroke();
    }
  }
}
