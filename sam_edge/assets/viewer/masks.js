// Masks: from COCO run lengths or a decoder's logits to pixels, and to something a canvas can draw.

/** COCO's compressed run lengths of a mask: counts of zeros and ones in turn, column after column. */
export function runLengths(counts) {
  const runs = [];
  for (let at = 0; at < counts.length; ) {
    let value = 0;
    let shift = 0;
    let byte;
    do {
      byte = counts.charCodeAt(at++) - 48;
      value |= (byte & 31) << shift;
      shift += 5;
    } while (byte & 32);
    if (byte & 16 && shift < 32) value |= -1 << shift;
    // From the third count on, the difference to the one two before is written. Source: pycocotools, maskApi.c.
    if (runs.length > 2) value += runs[runs.length - 2];
    runs.push(value);
  }
  return runs;
}

/** {width, height, pixels}: pixels is (height * width), rows first, 1 on the mask. */
export function fromRle({ size: [height, width], counts }) {
  const pixels = new Uint8Array(width * height);
  let at = 0;
  let on = false;
  for (const run of runLengths(counts)) {
    if (on) {
      let row = at % height;
      let index = row * width + (at - row) / height;
      for (let left = run; left > 0; left--) {
        pixels[index] = 1;
        if (++row === height) {
          row = 0;
          index += 1 - (height - 1) * width;
        } else {
          index += width;
        }
      }
    }
    at += run;
    on = !on;
  }
  return { width, height, pixels };
}

/** The inverse of `fromRle`: for masks that are made in the browser. */
export function toRle({ width, height, pixels }) {
  const runs = [];
  let value = 0;
  let run = 0;
  for (let x = 0; x < width; x++) {
    for (let y = 0, index = x; y < height; y++, index += width) {
      if (pixels[index] !== value) {
        runs.push(run);
        run = 0;
        value = pixels[index];
      }
      run++;
    }
  }
  runs.push(run);
  let counts = "";
  runs.forEach((length, at) => {
    let rest = at > 2 ? length - runs[at - 2] : length;
    let more = true;
    while (more) {
      let byte = rest & 31;
      rest >>= 5;
      more = byte & 16 ? rest !== -1 : rest !== 0;
      if (more) byte |= 32;
      counts += String.fromCharCode(byte + 48);
    }
  });
  return { size: [height, width], counts };
}

/** {bbox: [left, top, width, height], area} of a mask's pixels; zeros where it is empty. */
export function measure({ width, height, pixels }) {
  let left = width;
  let right = -1;
  let top = height;
  let bottom = -1;
  let area = 0;
  for (let y = 0, index = 0; y < height; y++) {
    for (let x = 0; x < width; x++, index++) {
      if (!pixels[index]) continue;
      area++;
      if (x < left) left = x;
      if (x > right) right = x;
      if (y < top) top = y;
      bottom = y;
    }
  }
  return area ? { bbox: [left, top, right - left + 1, bottom - top + 1], area } : { bbox: [0, 0, 0, 0], area };
}

/** The part of the encoder's input that shows the window, bilinear, as a mask on the frame.
 *
 * @param logits (h * w), covering the whole of view.input_wh; above 0 is the mask
 * @param view as the `embedding` message gives it
 */
export function fromLogits(logits, [h, w], view) {
  const [width, height] = view.frame_wh;
  const [left, top, windowWidth, windowHeight] = view.window_xywh;
  const across = positions(windowWidth, (view.content_wh[0] / view.input_wh[0]) * w, w);
  const down = positions(windowHeight, (view.content_wh[1] / view.input_wh[1]) * h, h);
  const pixels = new Uint8Array(width * height);
  const row = new Float32Array(w);
  for (let y = 0; y < windowHeight; y++) {
    const a = down.low[y] * w;
    const b = down.high[y] * w;
    const part = down.part[y];
    let most = -Infinity;
    for (let x = 0; x < w; x++) {
      row[x] = logits[a + x] + (logits[b + x] - logits[a + x]) * part;
      if (row[x] > most) most = row[x];
    }
    if (most <= 0) continue;
    const index = (top + y) * width + left;
    for (let x = 0; x < windowWidth; x++) {
      const low = row[across.low[x]];
      if (low + (row[across.high[x]] - low) * across.part[x] > 0) pixels[index + x] = 1;
    }
  }
  return { width, height, pixels };
}

/** For each of `count` pixels: the two cells it lies between, and how far towards the second. Centres at a half. */
function positions(count, span, cells) {
  const low = new Int32Array(count);
  const high = new Int32Array(count);
  const part = new Float32Array(count);
  for (let at = 0; at < count; at++) {
    const place = Math.min(Math.max(((at + 0.5) * span) / count - 0.5, 0), cells - 1);
    low[at] = Math.floor(place);
    high[at] = Math.min(low[at] + 1, cells - 1);
    part[at] = place - low[at];
  }
  return { low, high, part };
}

/** A canvas of the mask's box, and where it lies: {canvas, left, top}; null for an empty mask.
 *
 * @param rgb the colour, three numbers
 * @param hatched for what is stale: stripes instead of a surface, so that colour is not all that tells
 */
export function paint(mask, rgb, hatched = false) {
  const { width, height, pixels } = mask;
  const [left, top, boxWidth, boxHeight] = mask.bbox ?? measure(mask).bbox;
  if (!boxWidth || !boxHeight) return null;
  const image = new ImageData(boxWidth, boxHeight);
  const words = new Uint32Array(image.data.buffer);
  const colour = rgb[0] | (rgb[1] << 8) | (rgb[2] << 16);
  const [surface, edge, stripe] = [95, 255, 150].map((alpha) => (colour | (alpha << 24)) >>> 0);
  const thick = Math.max(1, Math.round(Math.max(width, height) / 500));
  const period = 10 * thick;
  const isOn = (x, y) => x >= 0 && y >= 0 && x < width && y < height && pixels[y * width + x] === 1;
  for (let y = 0, index = 0; y < boxHeight; y++) {
    for (let x = 0; x < boxWidth; x++, index++) {
      const fx = left + x;
      const fy = top + y;
      if (!pixels[fy * width + fx]) continue;
      if (!(isOn(fx - thick, fy) && isOn(fx + thick, fy) && isOn(fx, fy - thick) && isOn(fx, fy + thick))) {
        words[index] = edge;
      } else if (!hatched) {
        words[index] = surface;
      } else if ((fx + fy) % period < 4 * thick) {
        words[index] = stripe;
      }
    }
  }
  const canvas = new OffscreenCanvas(boxWidth, boxHeight);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return { canvas, left, top };
}
