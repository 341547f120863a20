/** The part of the recording that is shown, in milliseconds since its beginning, and the pixels that it is shown in. */
export type View = { t0: number; t1: number; left: number; right: number };

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Steps between two labels of the axis, in milliseconds. */
const STEPS = [
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500],
  ...[1, 2, 5, 10, 15, 30].map((n) => n * SECOND),
  ...[1, 2, 5, 10, 15, 30].map((n) => n * MINUTE),
  ...[1, 2, 3, 6, 12].map((n) => n * HOUR),
  ...[1, 2, 7, 14].map((n) => n * DAY),
];

/** The least time that a page shows, in milliseconds. */
const LEAST_SPAN = 50;

export function toX(view: View, t: number): number {
  return view.left + ((t - view.t0) / (view.t1 - view.t0)) * (view.right - view.left);
}

export function toTime(view: View, x: number): number {
  return view.t0 + ((x - view.left) / (view.right - view.left)) * (view.t1 - view.t0);
}

/** Times of the labels of an axis, and the step between them. `from` is the beginning of the recording, milliseconds since 1970. */
export function ticks(view: View, from: number, pixels: number): { step: number; at: number[] } {
  const perPixel = (view.t1 - view.t0) / Math.max(1, view.right - view.left);
  const step = STEPS.find((candidate) => candidate >= perPixel * pixels) ?? 28 * DAY;
  const at: number[] = [];
  for (let t = Math.ceil((from + view.t0) / step) * step - from; t <= view.t1; t += step) at.push(t);
  return { step, at };
}

/** The whole recording with a margin, so that its first and last moments are not at the border. */
export function fit(span: number): { t0: number; t1: number } {
  const margin = Math.max(span * 0.015, LEAST_SPAN / 2);
  return { t0: -margin, t1: span + margin };
}

/** The view that shows `factor` times as much; the time at `around` stays where it is. */
export function zoom(view: View, factor: number, around: number, span: number): { t0: number; t1: number } {
  const length = (view.t1 - view.t0) * factor;
  const share = (around - view.t0) / (view.t1 - view.t0);
  const limited = limitLength(length, span);
  return limit({ t0: around - limited * share, t1: around + limited * (1 - share) }, span);
}

/** Keeps a view within the recording and its margin. */
export function limit({ t0, t1 }: { t0: number; t1: number }, span: number): { t0: number; t1: number } {
  const all = fit(span);
  const length = limitLength(t1 - t0, span);
  const start = Math.min(Math.max(t0, all.t0), all.t1 - length);
  return { t0: start, t1: start + length };
}

function limitLength(length: number, span: number): number {
  const all = fit(span);
  return Math.min(Math.max(length, LEAST_SPAN), all.t1 - all.t0);
}
