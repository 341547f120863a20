/** Texts of times and counts. Times are in UTC, so that two people see the same page. */

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

const two = (value: number) => String(value).padStart(2, '0');

/** `320 ms`, `4.2 s`, `3 min 05 s`, `2 h 07 min`, `3 d 04 h`; `not known` for NaN. */
export function durationText(ms: number): string {
  if (Number.isNaN(ms)) return 'not known';
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${two(seconds % 60)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
  const hours = Math.round(minutes / 60);
  return `${Math.floor(hours / 24)} d ${two(hours % 24)} h`;
}

/** `30 Nov 2026`. */
export function dateText(at: number): string {
  const date = new Date(at);
  return `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]} ${date.getUTCFullYear()}`;
}

/** `30 Nov`. */
export function dayText(at: number): string {
  const date = new Date(at);
  return `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]}`;
}

/** The time of day, as exact as a step of `step` milliseconds needs it. */
export function clockText(at: number, step: number): string {
  const iso = new Date(at).toISOString();
  if (step < 1000) return iso.slice(11, 23);
  return step < 60_000 ? iso.slice(11, 19) : iso.slice(11, 16);
}

/** `14,135`. */
export function countText(count: number): string {
  return count.toLocaleString('en-US');
}

/** `1 job`, `2 jobs`. */
export function plural(count: number, noun: string): string {
  return `${countText(count)} ${noun}${count === 1 ? '' : 's'}`;
}

/** The text, or as much of its beginning as fits into `width` pixels, with three dots. */
export function cutText(measure: TextMeasure, text: string, width: number): string {
  if (measure.measureText(text).width <= width) return text;
  let [low, high] = [0, text.length];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (measure.measureText(`${text.slice(0, middle)}…`).width <= width) low = middle;
    else high = middle - 1;
  }
  return low === 0 ? '' : `${text.slice(0, low)}…`;
}

/** A canvas with its present font. */
type TextMeasure = { measureText(text: string): { width: number } };
