// Mouse, touch, pen and arrow keys over the picture become a place in it, clicks and boxes.

const DRAG_PX = 6;
const STEP_PX = 12;
const FINE_STEP_PX = 2;

/** Calls back with places in frame pixels:
 *
 * - `point([x, y] | null)`: where the pointer is; null when it has left
 * - `click([x, y], isNegative)`
 * - `drag([x0, y0, x1, y1], isDone)`: only where `canDrag()`
 *
 * @param toFrame (clientX, clientY) -> [x, y] in frame pixels, or null beside the picture
 * @param frameWh () -> [width, height]
 */
export function watchPointer(element, { toFrame, frameWh, canDrag, point, click, drag }) {
  let start = null;
  let place = null;
  let isDragging = false;

  const move = (next) => {
    place = next;
    point(place);
  };
  element.addEventListener("pointerdown", (event) => {
    const at = toFrame(event.clientX, event.clientY);
    if (!at || event.button > 2) return;
    element.setPointerCapture(event.pointerId);
    start = { at, x: event.clientX, y: event.clientY, isNegative: event.button === 2 || event.shiftKey || event.altKey };
    isDragging = false;
    move(at);
  });
  element.addEventListener("pointermove", (event) => {
    const at = toFrame(event.clientX, event.clientY);
    if (start && canDrag()) {
      isDragging ||= Math.hypot(event.clientX - start.x, event.clientY - start.y) > DRAG_PX;
      if (isDragging && at) drag(corners(start.at, at), false);
    }
    move(at);
  });
  const end = (event, isCancelled) => {
    if (!start) return;
    const at = place ?? start.at;
    if (!isCancelled && isDragging) drag(corners(start.at, at), true);
    else if (!isCancelled) click(at, start.isNegative);
    start = null;
    // A finger that is lifted points at nothing.
    if (event.pointerType === "touch") move(null);
  };
  element.addEventListener("pointerup", (event) => end(event, false));
  element.addEventListener("pointercancel", (event) => end(event, true));
  element.addEventListener("pointerleave", () => start || move(null));
  element.addEventListener("contextmenu", (event) => event.preventDefault());

  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  element.addEventListener("keydown", (event) => {
    const [width, height] = frameWh();
    if (event.key in arrows && width) {
      const step = event.shiftKey ? FINE_STEP_PX : STEP_PX;
      const [dx, dy] = arrows[event.key];
      const [x, y] = place ?? [width / 2, height / 2];
      move([Math.min(Math.max(x + dx * step, 0), width), Math.min(Math.max(y + dy * step, 0), height)]);
      event.preventDefault();
    } else if (event.key === "Enter" && place) {
      click(place, event.shiftKey);
      event.preventDefault();
    }
  });
  element.addEventListener("blur", () => move(null));
}

function corners([ax, ay], [bx, by]) {
  return [Math.min(ax, bx), Math.min(ay, by), Math.max(ax, bx), Math.max(ay, by)];
}
