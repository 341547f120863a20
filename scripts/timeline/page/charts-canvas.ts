import type { PageFleet } from '../compact.ts';
import { type ChartData, drawChart } from './chart.ts';
import { clockText, cutText, dayText } from './format.ts';
import { noteMark, snapshotMark } from './marks.ts';
import { fit, ticks, toX, type View } from './scale.ts';
import { countsAt, PHASES } from './series.ts';
import type { Theme } from './theme.ts';

/** Heights of the parts above the rows, in pixels from the top. */
export const CHARTS = {
  overview: { top: 8, bottom: 34 },
  axis: 50,
  chart: { top: 66, base: 138, bottom: 168 },
  incidents: { top: 176, bottom: 190 },
  events: 204,
  height: 216,
} as const;

/** Draws the overview of the whole recording, the axis, the chart of the fleet, and the lanes of incidents and events. */
export function drawCharts(
  draw: CanvasRenderingContext2D,
  fleet: PageFleet,
  data: ChartData,
  view: View,
  theme: Theme,
): void {
  const width = view.right + 16;
  draw.clearRect(0, 0, width, CHARTS.height);
  drawOverview(draw, fleet, data, view, theme);
  drawAxis(draw, fleet, view, theme);
  drawGrid(draw, fleet, view, theme, 60, CHARTS.height);
  label(draw, 'Runners', CHARTS.chart.top + 5, theme);
  if (data.desired.at.length > 0) label(draw, 'desired capacity: line', CHARTS.chart.top + 20, theme, true);
  label(draw, 'Queued jobs', CHARTS.chart.bottom - 5, theme);
  label(draw, 'Incidents', CHARTS.incidents.top + 7, theme);
  label(draw, 'Snapshots and events', CHARTS.events, theme);
  drawChart(draw, data, CHARTS.chart, view, fleet.span, theme);
  draw.save();
  clip(draw, view, CHARTS.height);
  drawIncidents(draw, fleet, view, theme);
  for (const { at, level } of fleet.notes) noteMark(draw, toX(view, at), CHARTS.events, level, theme);
  for (const { at, change } of fleet.snapshots)
    snapshotMark(draw, toX(view, at), CHARTS.events, change, theme);
  draw.restore();
}

function clip(draw: CanvasRenderingContext2D, view: View, height: number): void {
  draw.beginPath();
  draw.rect(view.left, 0, view.right - view.left + 16, height);
  draw.clip();
}

function label(draw: CanvasRenderingContext2D, text: string, y: number, theme: Theme, isMinor = false): void {
  draw.fillStyle = isMinor ? theme.muted : theme.ink;
  draw.font = `${isMinor ? 10.5 : 12}px ${theme.sans}`;
  draw.textAlign = 'left';
  draw.textBaseline = 'middle';
  draw.fillText(text, 20, y);
}

/** The whole recording, with a frame around what is shown. */
function drawOverview(
  draw: CanvasRenderingContext2D,
  fleet: PageFleet,
  { phases }: ChartData,
  view: View,
  theme: Theme,
): void {
  const { top, bottom } = CHARTS.overview;
  const whole: View = { ...view, ...fit(fleet.span) };
  const width = view.right - view.left;
  draw.fillStyle = theme.page;
  draw.fillRect(view.left, top, width, bottom - top);
  const sums: number[] = [];
  const busy: number[] = [];
  for (let x = 0; x < width; x += 1) {
    const counts = countsAt(phases, whole.t0 + ((x + 0.5) / width) * (whole.t1 - whole.t0));
    sums.push(PHASES.reduce((sum, phase) => sum + counts[phase], 0));
    busy.push(counts.busy);
  }
  const most = Math.max(1, ...sums);
  for (const [values, colour] of [
    [sums, theme.idle],
    [busy, theme.busy],
  ] as const) {
    draw.fillStyle = colour;
    for (const [x, value] of values.entries()) {
      const height = (value / most) * (bottom - top - 4);
      draw.fillRect(view.left + x, bottom - height, 1, height);
    }
  }
  const [from, to] = [toX(whole, view.t0), toX(whole, view.t1)];
  draw.globalAlpha = 0.62;
  draw.fillStyle = theme.panel;
  draw.fillRect(view.left, top, Math.max(0, from - view.left), bottom - top);
  draw.fillRect(to, top, Math.max(0, view.right - to), bottom - top);
  draw.globalAlpha = 1;
  draw.strokeStyle = theme.accent;
  draw.lineWidth = 1;
  draw.strokeRect(
    Math.round(from) + 0.5,
    top + 0.5,
    Math.max(2, Math.round(to - from) - 1),
    bottom - top - 1,
  );
  label(draw, 'Overview', (top + bottom) / 2, theme);
}

function drawAxis(draw: CanvasRenderingContext2D, fleet: PageFleet, view: View, theme: Theme): void {
  const { step, at } = ticks(view, fleet.from, 84);
  draw.textBaseline = 'middle';
  draw.textAlign = 'center';
  for (const t of at) {
    const x = toX(view, t);
    if (x < view.left || x > view.right) continue;
    const isDay = (fleet.from + t) % 86_400_000 === 0;
    draw.font = `${isDay ? '600 ' : ''}11px ${theme.sans}`;
    draw.fillStyle = isDay ? theme.ink : theme.muted;
    draw.fillText(isDay ? dayText(fleet.from + t) : clockText(fleet.from + t, step), x, CHARTS.axis);
  }
  label(draw, 'UTC', CHARTS.axis, theme, true);
}

/** Upright lines at the labels of the axis. */
export function drawGrid(
  draw: CanvasRenderingContext2D,
  fleet: PageFleet,
  view: View,
  theme: Theme,
  top: number,
  bottom: number,
): void {
  draw.fillStyle = theme.grid;
  for (const t of ticks(view, fleet.from, 84).at) {
    const x = Math.round(toX(view, t));
    if (x >= view.left && x <= view.right) draw.fillRect(x, top, 1, bottom - top);
  }
}

function drawIncidents(draw: CanvasRenderingContext2D, fleet: PageFleet, view: View, theme: Theme): void {
  const { top, bottom } = CHARTS.incidents;
  for (const { opened, resolved, severity, summary } of fleet.incidents) {
    const from = toX(view, opened);
    const to = Math.max(from + 3, toX(view, Number.isNaN(resolved) ? fleet.span : resolved));
    draw.fillStyle = severity === 'warning' || severity === 'info' ? theme.warn : theme.bad;
    draw.beginPath();
    draw.roundRect(from, top, to - from, bottom - top, 3);
    draw.fill();
    // An open incident has no right edge.
    if (Number.isNaN(resolved)) {
      draw.fillStyle = theme.panel;
      for (let y = top; y < bottom; y += 4) draw.fillRect(to - 3, y, 3, 2);
    }
    if (to - from < 60) continue;
    draw.fillStyle = theme.panel;
    draw.font = `10.5px ${theme.sans}`;
    draw.textAlign = 'left';
    draw.textBaseline = 'middle';
    const x = Math.max(from, view.left) + 6;
    draw.fillText(cutText(draw, summary, Math.min(to, view.right) - x - 6), x, (top + bottom) / 2 + 0.5);
  }
}
