/** Numbers as people read them. */

/** "1 photo", "12 photos" */
export const count = (n, one, many = `${one}s`) =>
  `${n.toLocaleString("en")} ${n === 1 ? one : many}`;

/** The first names of many: "hat, shoe and 58 more" */
export function some(names, most) {
  const more = names.length - most;
  if (more <= 0) return names.join(", ");
  return `${names.slice(0, most).join(", ")} and ${more.toLocaleString("en")} more`;
}

/** A share as "83 %"; one that is not quite nothing or all does not read as if it were. */
export function percent(share) {
  if (share === null || share === undefined) return "–";
  const rounded = Math.round(100 * share);
  if (rounded === 0 && share > 0) return "< 1 %";
  if (rounded === 100 && share < 1) return "> 99 %";
  return `${rounded} %`;
}

/** {right, share, plus_minus} as "83 % ± 6" */
export const accuracy = (score) =>
  `${percent(score.share)} ± ${Math.round(100 * score.plus_minus)}`;

/** Seconds as "about 4 minutes" */
export function duration(seconds) {
  if (seconds < 10) return "a few seconds";
  if (seconds < 90) return `about ${Math.round(seconds / 10) * 10} seconds`;
  if (seconds < 5400) return `about ${Math.round(seconds / 60)} minutes`;
  return `about ${(seconds / 3600).toFixed(1)} hours`;
}

/** A text as a sentence: the station's begin small and end without a stop. */
export function sentence(text) {
  const begun = /^[a-z]+[ ,:]/.test(text) ? text[0].toUpperCase() + text.slice(1) : text;
  return /[.!?…]$/.test(begun) ? begun : `${begun}.`;
}

/** Bytes as "1.4 MB" */
export function size(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  return bytes < 1e6 ? `${Math.round(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
