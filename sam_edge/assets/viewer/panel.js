// Words and numbers beside the picture.

export const byId = (id) => document.getElementById(id);

const MEANINGS = {
  fresh: "Made from the very frame it lies on.",
  carried: "Made from an older frame and moved along with the camera.",
  stale: "Too old: it shows what was, not what is.",
};
const LOCAL_MEANINGS = { ...MEANINGS, carried: "Made in this browser from a frame that is a little older." };
const NOTHING = {
  mask: ["no mask", "Nothing is masked here."],
  no_gaze: ["nobody looks", "Point at something in the picture."],
  outside: ["outside", "The look goes past the picture."],
  saccade: ["on its way", "The eye is moving."],
  lost: ["lost", "The object is not seen any more."],
};

export const ms = (value) => (value == null ? "–" : value < 9.95 ? `${value.toFixed(1)} ms` : value < 2000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`);
export const percent = (share) => (share == null ? "–" : `${Math.round(100 * share)} %`);

export function write(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}

/** @param shown {mask, freshness, status, isLocal, isFrozen}, or null before the first answer */
export function writeVerdict(shown) {
  const freshness = shown?.mask ? (shown.freshness ?? "fresh") : "none";
  const [word, meaning] = shown?.mask
    ? [freshness, (shown.isLocal ? LOCAL_MEANINGS : MEANINGS)[freshness]]
    : (NOTHING[shown?.status ?? "no_gaze"] ?? NOTHING.no_gaze);
  byId("freshness").dataset.freshness = freshness;
  write("freshness", word);
  write("meaning", !shown?.isFrozen ? meaning : shown.mask ? "Made from this very picture." : "Click, tap, or drag a box.");
  const score = shown?.mask?.predicted_iou;
  write("score", score == null ? "–" : score.toFixed(2));
  byId("meter").value = Math.min(Math.max(score ?? 0, 0), 1);
}

export function writeNumbers({ total, decode, gazeAge, frameAge, embeddingAge, fps }) {
  write("total", ms(total));
  write("decode", ms(decode));
  write("gaze-age", ms(gazeAge));
  write("frame-age", ms(frameAge));
  write("embedding-age", ms(embeddingAge));
  write("fps", fps == null ? "–" : `${fps.toFixed(0)} /s`);
}

export function writeSummary(chart) {
  const line = (name, series) => {
    const median = chart.quantile(series, 0.5);
    return median === null ? name : `${name}: ${ms(median)}, 95 % in ${ms(chart.quantile(series, 0.95))}`;
  };
  write("mask-summary", line("gaze to mask", "mask"));
  write("embedding-summary", line("embedding age", "embedding"));
}

/** The three buttons: which one is chosen, and the scores where they are known. */
export function writeChoice(choice, scores) {
  for (const button of document.querySelectorAll("[data-choice]")) {
    const rank = Number(button.dataset.choice);
    button.setAttribute("aria-checked", String(rank === choice));
    if (rank > 0) button.dataset.score = scores[rank - 1] == null ? "" : scores[rank - 1].toFixed(2);
  }
}

/** @param objects [{name, rgb, detail, remove}] */
export function writeObjects(objects) {
  const list = byId("objects");
  const key = JSON.stringify(objects.map(({ name, rgb, detail }) => [name, rgb, detail]));
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  list.replaceChildren(
    ...objects.map(({ name, rgb, detail, remove }) => {
      const row = document.createElement("li");
      const swatch = Object.assign(document.createElement("i"), { className: "swatch" });
      swatch.style.background = `rgb(${rgb.join(" ")})`;
      const text = Object.assign(document.createElement("span"), { textContent: `${name} · ${detail}` });
      const button = Object.assign(document.createElement("button"), { textContent: "Remove", onclick: remove });
      button.setAttribute("aria-label", `Remove ${name}`);
      row.append(swatch, text, button);
      return row;
    }),
  );
}

let noticeTimer = 0;

/** A line over the picture; it goes by itself after `forMs`, or stays (0). */
export function notice(text, forMs = 0) {
  clearTimeout(noticeTimer);
  write("notice", text);
  byId("notice").hidden = !text;
  if (text && forMs) noticeTimer = setTimeout(() => notice(""), forMs);
}

/** Asks for the token until the service takes it; the service answers with a cookie that this page cannot read. */
export async function askToken() {
  const dialog = byId("token");
  byId("token-wrong").hidden = true;
  for (;;) {
    byId("token-value").value = "";
    dialog.showModal();
    await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
    const token = byId("token-value").value;
    if (!token) continue;
    const headers = { Authorization: `Bearer ${token}` };
    const reply = await fetch(new URL("./", document.baseURI), { headers }).catch(() => null);
    if (reply?.ok) return;
    byId("token-wrong").hidden = false;
  }
}

/** To the clipboard, or into a box to copy from where a page may not write there (plain http). */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    byId("json-text").value = text;
    byId("json").showModal();
    byId("json-text").select();
    return false;
  }
}
