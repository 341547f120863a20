import type { PageFleet } from '../compact.ts';
import { type ChartData, drawChart } from './chart.ts';
import { drawGrid } from './charts-canvas.ts';
import { cutText, plural } from './format.ts';
import { crossMark, noteMark, restoreMark } from './marks.ts';
import type { Found, Rows } from './rows.ts';
import { toX, type View } from './scale.ts';
import { spansOf } from './series.ts';
import type { Theme } from './theme.ts';

/** Height of the header of a group, with its chart, in pixels. */
export const HEADER_HEIGHT = 84;

export type RowsState = {
  rows: Rows;
  rowHeight: number;
  collapsed: ReadonlySet<number>;
  found: Found | undefined;
  /** A runner's index, or -1. */
  selected: number;
  hovered: number;
  chartOf(group: number): ChartData;
  /** Notes by runner. */
  notes: ReadonlyMap<number, PageFleet['notes']>;
};

/** Draws the rows between `scroll` and `scroll + height`. @returns how many runners were drawn */
export function drawRows(
  draw: CanvasRenderingContext2D,
  fleet: PageFleet,
  state: RowsState,
  view: View,
  { scroll, height, first }: { scroll: number; height: number; first: number },
  theme: Theme,
): number {
  draw.clearRect(0, 0, view.right + 16, height);
  drawGrid(draw, fleet, view, theme, 0, height);
  const { rows } = state;
  let drawn = 0;
  for (let row = first; row < rows.item.length; row += 1) {
    const y = (rows.top[row] ?? 0) - scroll;
    if (y > height) break;
    const item = rows.item[row] ?? 0;
    if (item < 0) drawHeader(draw, fleet, -1 - item, y, state, view, theme);
    else {
      drawRunner(draw, fleet, item, y, state, view, theme);
      drawn += 1;
    }
  }
  const group = fleet.groups[fleet.runners.group[rows.item[first] ?? -1] ?? -1];
  if (group) drawCaption(draw, group.id, view, theme);
  return drawn;
}

function drawHeader(
  draw: CanvasRenderingContext2D,
  fleet: PageFleet,
  g: number,
  y: number,
  state: RowsState,
  view: View,
  theme: Theme,
): void {
  const group = fleet.groups[g];
  if (!group) return;
  draw.fillStyle = theme.page;
  draw.fillRect(0, y, view.right + 16, HEADER_HEIGHT);
  drawGrid(draw, fleet, view, theme, y, y + HEADER_HEIGHT);
  draw.fillStyle = theme.line;
  draw.fillRect(0, y, view.right + 16, 1);
  draw.fillStyle = theme.muted;
  draw.beginPath();
  if (state.collapsed.has(g)) {
    draw.moveTo(9, y + 13);
    draw.lineTo(14, y + 18);
    draw.lineTo(9, y + 23);
  } else {
    draw.moveTo(6, y + 15);
    draw.lineTo(16, y + 15);
    draw.lineTo(11, y + 20);
  }
  draw.fill();
  draw.textAlign = 'left';
  draw.textBaseline = 'middle';
  draw.fillStyle = theme.ink;
  draw.font = `650 13px ${theme.sans}`;
  draw.fillText(cutText(draw, group.id, view.left - 70), 22, y + 18);
  draw.fillStyle = theme.muted;
  draw.font = `11px ${theme.sans}`;
  const jobs = (fleet.runners.job[group.end] ?? 0) - (fleet.runners.job[group.first] ?? 0);
  draw.fillText(plural(group.end - group.first, 'runner'), 22, y + 37);
  draw.fillText(plural(jobs, 'job'), 22, y + 52);
  drawChart(draw, state.chartOf(g), { top: y + 10, base: y + 54, bottom: y + 76 }, view, fleet.span, theme);
}

/** The group of the uppermost row, whose header is out of sight. */
function drawCaption(draw: CanvasRenderingContext2D, group: string, view: View, theme: Theme): void {
  draw.fillStyle = theme.page;
  draw.fillRect(0, 0, view.left - 6, 22);
  draw.fillStyle = theme.line;
  draw.fillRect(0, 22, view.left - 6, 1);
  draw.fillStyle = theme.ink;
  draw.font = `650 12px ${theme.sans}`;
  draw.textAlign = 'left';
  draw.textBaseline = 'middle';
  draw.fillText(cutText(draw, group, view.left - 40), 22, 11.5);
}

function drawRunner(
  draw: CanvasRenderingContext2D,
  fleet: PageFleet,
  i: number,
  y: number,
  state: RowsState,
  view: View,
  theme: Theme,
): void {
  const { runners, jobs } = fleet;
  const { rowHeight: height } = state;
  const middle = y + height / 2;
  if (i === state.selected || i === state.hovered) {
    draw.fillStyle = i === state.selected ? theme.selected : theme.hover;
    draw.fillRect(0, y, view.right + 16, height);
  }
  const isNamed = height >= 11;
  if (isNamed) {
    draw.textAlign = 'left';
    draw.textBaseline = 'middle';
    draw.font = `${height >= 20 ? 11.5 : 10}px ${theme.mono}`;
    draw.fillStyle = i === state.selected ? theme.accent : theme.ink;
    draw.fillText(cutText(draw, runners.id[i] ?? '', view.left - 70), 22, middle + 0.5);
    if (runners.text.purchase[i] === 'spot') {
      draw.font = `10px ${theme.sans}`;
      draw.fillStyle = theme.muted;
      draw.textAlign = 'right';
      draw.fillText('Spot', view.left - 10, middle + 0.5);
    }
  }
  draw.save();
  draw.beginPath();
  draw.rect(view.left, y, view.right - view.left, height);
  draw.clip();
  const { booting, service, draining, end } = spansOf(fleet, i);
  const bar = (from: number, to: number, thick: number, fill: string | CanvasPattern, least = 1) => {
    const left = Math.max(toX(view, from), view.left - least);
    const right = toX(view, to);
    if (right < view.left || left > view.right) return;
    draw.fillStyle = fill;
    draw.fillRect(left, middle - thick / 2, Math.max(least, right - left), thick);
  };
  const thin = Math.max(1, Math.round(height * 0.16));
  const half = Math.max(2, Math.round(height * 0.42));
  const full = Math.max(2, Math.round(height * 0.68));
  if (service) bar(service[0], service[1], thin, theme.idle);
  if (booting) bar(booting[0], booting[1], half, height < 8 ? theme.booting : theme.hatched.booting);
  if (draining) bar(draining[0], draining[1], half, height < 8 ? theme.draining : theme.hatched.draining);
  for (let j = runners.job[i] ?? 0; j < (runners.job[i + 1] ?? 0); j += 1) {
    const started = jobs.started[j] ?? 0;
    const finished = jobs.finished[j] ?? 0;
    if (finished < view.t0 || started > view.t1) continue;
    const isDimmed = state.found?.jobs !== undefined && state.found.jobs[j] !== 1;
    const result = jobs.result[j];
    draw.globalAlpha = isDimmed ? 0.22 : 1;
    bar(started, finished, full, theme.busy, 1.5);
    const [from, to] = [toX(view, started), toX(view, finished)];
    if (height >= 11) {
      // A line between two jobs that follow each other at once.
      draw.fillStyle = theme.panel;
      if (to - from > 3) draw.fillRect(to - 1, middle - full / 2, 1, full);
    }
    if (result === 'failed' || result === 'cancelled') {
      draw.fillStyle = result === 'failed' ? theme.bad : theme.muted;
      draw.fillRect(
        from,
        middle + full / 2 - Math.max(1, full / 4),
        Math.max(1.5, to - from - 1),
        Math.max(1, full / 4),
      );
    }
    if (result === 'killed') {
      if (height >= 11) crossMark(draw, to, middle, Math.min(5, height / 3), theme);
      else bar(finished, finished, full, theme.bad, 3);
    }
    if (height >= 20 && to - from > 34) {
      draw.fillStyle = theme['on-busy'];
      draw.font = `10.5px ${theme.sans}`;
      draw.textAlign = 'left';
      const x = Math.max(from, view.left) + 5;
      draw.fillText(cutText(draw, jobs.name[j] ?? '', to - x - 5), x, middle + 0.5);
    }
    draw.globalAlpha = 1;
  }
  if (isNamed) {
    if (runners.end[i] === end) {
      draw.fillStyle = theme.muted;
      draw.fillRect(Math.round(toX(view, end)), middle - full / 2, 1, full);
    }
    const restore = runners.restore.get(i);
    if (restore && restore.outcome !== 'none' && height >= 20)
      restoreMark(draw, toX(view, service?.[0] ?? restore.at) - 5, middle, restore.outcome, theme);
    for (const { at, level } of state.notes.get(i) ?? []) noteMark(draw, toX(view, at), y + 6, level, theme);
  }
  draw.restore();
}
