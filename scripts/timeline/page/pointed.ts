import type { PageFleet } from '../compact.ts';
import type { ChartData } from './chart.ts';
import { CHARTS } from './charts-canvas.ts';
import { type Facts, jobFacts, phaseAt, runnerFacts } from './details.ts';
import { clockText, countText, durationText } from './format.ts';
import { toTime, toX, type View } from './scale.ts';
import { countsAt, valueAt } from './series.ts';

/** What is under the pointer, for the tooltip. */

/** Distance up to which a mark is hit, in pixels. */
const NEAR = 7;

/** Most events in one tooltip. */
const MOST_EVENTS = 8;

/** In the charts of the fleet, at pixels of their canvas: an incident, events, or the figures of that time. */
export function chartsFacts(fleet: PageFleet, data: ChartData, view: View, x: number, y: number): Facts {
  if (y >= CHARTS.incidents.top - 3 && y <= CHARTS.incidents.bottom + 3) {
    const facts = incidentFacts(fleet, view, x);
    if (facts) return facts;
  }
  if (Math.abs(y - CHARTS.events) <= NEAR + 2) {
    const lines = eventLines(fleet, view, x);
    if (lines.length > 0) {
      return {
        title: clockText(fleet.from + Math.round(toTime(view, x)), 1000),
        lines: lines.slice(0, MOST_EVENTS),
      };
    }
  }
  return figuresAt('Fleet', data, toTime(view, x));
}

function incidentFacts({ incidents, from, span }: PageFleet, view: View, x: number): Facts | undefined {
  const endOf = (resolved: number) => (Number.isNaN(resolved) ? span : resolved);
  const one = incidents.find(
    ({ opened, resolved }) => x >= toX(view, opened) - 3 && x <= toX(view, endOf(resolved)) + 3,
  );
  if (!one) return undefined;
  const end: [string, string] = Number.isNaN(one.resolved)
    ? ['open', 'at the end of the recording']
    : ['resolved after', durationText(one.resolved - one.opened)];
  return {
    title: one.summary,
    lines: [['severity', one.severity], ['opened', clockText(from + one.opened, 1000)], end],
  };
}

function eventLines({ snapshots, notes }: PageFleet, view: View, x: number): [string, string][] {
  const near = ({ at }: { at: number }) => Math.abs(toX(view, at) - x) <= NEAR;
  return [
    ...snapshots
      .filter(near)
      .map(({ change, set, snapshot, reason }): [string, string] => [
        `snapshot ${change}`,
        `${set} ${snapshot}${reason && `: ${reason}`}`,
      ]),
    ...notes
      .filter(near)
      .map(({ runner, group, level, text }): [string, string] => [runner || group || level, text]),
  ];
}

/** Runners by phase, desired capacity and queued jobs at a time. */
export function figuresAt(title: string, data: ChartData, t: number): Facts {
  const counts = countsAt(data.phases, t);
  const lines: Facts['lines'] = [
    ['busy', countText(counts.busy)],
    ['idle', countText(counts.idle)],
    ['booting', countText(counts.booting)],
    ['draining', countText(counts.draining)],
  ];
  if (data.desired.at.length > 0) lines.push(['desired', countText(valueAt(data.desired, t))]);
  if (data.queued.at.length > 0) lines.push(['queued jobs', countText(valueAt(data.queued, t))]);
  return { title, lines };
}

/** In the row of a runner: its job at that time, if there is one, and the runner. */
export function rowFacts(
  fleet: PageFleet,
  i: number,
  notes: PageFleet['notes'],
  view: View,
  x: number,
): Facts[] {
  const { runners, jobs } = fleet;
  const t = toTime(view, x);
  const tolerance = toTime(view, x + 1.5) - t;
  const facts: Facts[] = [];
  for (let j = runners.job[i] ?? 0; j < (runners.job[i + 1] ?? 0); j += 1) {
    if (t < (jobs.started[j] ?? 0) - tolerance || t > (jobs.finished[j] ?? 0) + tolerance) continue;
    facts.push(jobFacts(fleet, j));
    break;
  }
  const runner = runnerFacts(fleet, i);
  const lines: Facts['lines'] = [['phase', phaseAt(fleet, i, t, facts.length > 0)], ...runner.lines];
  for (const { at, text } of notes) if (Math.abs(toX(view, at) - x) <= NEAR) lines.push(['event', text]);
  return [...facts, { ...runner, lines }];
}
