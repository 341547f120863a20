import type { Steps } from '../compact.ts';
import { countText } from './format.ts';
import { toTime, toX, type View } from './scale.ts';
import { countsAt, PHASES, type PhaseSeries, valueAt } from './series.ts';
import type { Theme } from './theme.ts';

/** What a chart of capacity shows: of one group, or of the whole fleet. */
export type ChartData = { phases: PhaseSeries; desired: Steps; queued: Steps };

/** Where a chart is: runners above the base line, queued jobs below it. */
export type ChartPlace = { top: number; base: number; bottom: number };

/** The runners by phase, stacked, with the desired capacity as a line; below the base line the queued jobs. */
export function drawChart(
  draw: CanvasRenderingContext2D,
  data: ChartData,
  { top, base, bottom }: ChartPlace,
  view: View,
  span: number,
  theme: Theme,
): void {
  const [left, right] = [
    Math.max(view.left, Math.floor(toX(view, 0))),
    Math.min(view.right, Math.ceil(toX(view, span))),
  ];
  const width = Math.max(0, right - left);
  const stacks = PHASES.map(() => new Float64Array(width));
  const desired = new Float64Array(width);
  const queued = new Float64Array(width);
  let [mostRunners, mostQueued] = [1, 1];
  for (let x = 0; x < width; x += 1) {
    const t = toTime(view, left + x + 0.5);
    const counts = countsAt(data.phases, t);
    let sum = 0;
    for (const [p, phase] of PHASES.entries()) {
      sum += counts[phase];
      const stack = stacks[p];
      if (stack) stack[x] = sum;
    }
    desired[x] = valueAt(data.desired, t);
    queued[x] = valueAt(data.queued, t);
    mostRunners = Math.max(mostRunners, sum, desired[x] ?? 0);
    mostQueued = Math.max(mostQueued, queued[x] ?? 0);
  }
  const yOf = (value: number) => base - (value / mostRunners) * (base - top);
  const fills = {
    busy: theme.busy,
    idle: theme.idle,
    booting: theme.hatched.booting,
    draining: theme.hatched.draining,
  };
  for (let p = PHASES.length - 1; p >= 0; p -= 1) {
    const phase = PHASES[p];
    const stack = stacks[p];
    if (!phase || !stack) continue;
    // What is below is drawn over it, so the pattern gets a ground of its own.
    for (const fill of [theme.panel, fills[phase]]) area(draw, stack, left, base, yOf, fill);
  }
  area(
    draw,
    queued,
    left,
    base + 2,
    (value) => base + 2 + (value / mostQueued) * (bottom - base - 2),
    theme.queued,
  );
  draw.beginPath();
  for (let x = 0; x < width; x += 1) {
    const y = Math.round(yOf(desired[x] ?? 0)) + 0.5;
    if (x === 0) draw.moveTo(left, y);
    else draw.lineTo(left + x, y);
  }
  draw.strokeStyle = theme.panel;
  draw.lineWidth = 3.5;
  draw.stroke();
  draw.strokeStyle = theme.desired;
  draw.lineWidth = 1.5;
  draw.stroke();
  draw.fillStyle = theme.line;
  draw.fillRect(view.left, base, view.right - view.left, 1);
  draw.fillStyle = theme.muted;
  draw.font = `10.5px ${theme.sans}`;
  draw.textAlign = 'right';
  draw.textBaseline = 'middle';
  draw.fillText(countText(mostRunners), view.left - 8, top + 5);
  if (data.queued.at.length > 0) draw.fillText(countText(mostQueued), view.left - 8, bottom - 5);
}

function area(
  draw: CanvasRenderingContext2D,
  values: Float64Array,
  left: number,
  base: number,
  yOf: (value: number) => number,
  fill: string | CanvasPattern,
): void {
  draw.beginPath();
  draw.moveTo(left, base);
  let last = Number.NaN;
  for (let x = 0; x < values.length; x += 1) {
    const value = values[x] ?? 0;
    // Steps, no slopes: a count changes at once.
    if (value !== last && x > 0) draw.lineTo(left + x, yOf(last));
    if (value !== last) draw.lineTo(left + x, yOf(value));
    last = value;
  }
  draw.lineTo(left + values.length, yOf(Number.isNaN(last) ? 0 : last));
  draw.lineTo(left + values.length, base);
  draw.closePath();
  draw.fillStyle = fill;
  draw.fill();
}
