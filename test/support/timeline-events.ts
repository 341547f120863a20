import type { TimelineEvent } from '../../scripts/timeline/events.ts';

/** Job names as people write them, with some that are not kind to a page. */
export const HOSTILE_NAME = `<script>alert(1)</script><img src=x onerror="alert(2)">`;
const NAMES = [
  'build',
  'unit tests',
  'lint',
  'integration tests (postgres 16)',
  'package',
  'e2e / chromium',
  'deploy preview',
];

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

export type SampleOptions = {
  runners: number;
  groups: number;
  hours: number;
  /** Default: a Monday morning. */
  start?: number;
};

/**
 * A made-up day of a fleet: load that rises and falls, runners that boot, take jobs one after the other and leave when they are idle.
 * The same options give the same events.
 */
export function sampleEvents({
  runners,
  groups,
  hours,
  start = Date.parse('2026-11-23T06:00:00Z'),
}: SampleOptions): TimelineEvent[] {
  const random = numbers(7);
  const span = hours * HOUR;
  const events: TimelineEvent[] = [
    {
      event: 'timeline',
      version: 1,
      title: 'Sample fleet',
      source: 'made-up events',
      from: start,
      to: start + span,
    },
  ];
  for (let g = 0; g < groups; g += 1) {
    const group = `${['gha', 'bk', 'cci'][g % 3]}/${['default', 'large', 'arm', 'gpu', 'small'][g % 5]}-${g}`;
    events.push(...groupEvents(group, Math.round(runners / groups), start, span, random));
  }
  const incident = (
    hour: number,
    minutes: number | undefined,
    severity: 'critical' | 'warning',
    summary: string,
  ) => {
    const openedAt = start + hour * HOUR;
    if (openedAt > start + span) return;
    events.push({
      event: 'incident',
      id: summary,
      severity,
      summary,
      openedAt,
      ...(minutes !== undefined && { resolvedAt: openedAt + minutes * MINUTE }),
    });
  };
  incident(hours * 0.3, 24, 'critical', 'gha-default-0: launches fail');
  incident(hours * 0.55, 40, 'warning', 'oldest job waits for 10 minutes');
  incident(hours * 0.9, undefined, 'warning', 'one message is in the dead-letter queue');
  for (const [share, change] of [
    [0.02, 'promoted'],
    [0.5, 'promoted'],
    [0.56, 'quarantined'],
    [0.561, 'rolled-back'],
  ] as const) {
    events.push({
      event: 'snapshot',
      at: start + share * span,
      set: 'default',
      change,
      snapshot: `2026112${share}`,
    });
  }
  return events;
}

/** A group that launches `runners` runners over the time. */
function groupEvents(
  group: string,
  runners: number,
  start: number,
  span: number,
  random: () => number,
): TimelineEvent[] {
  const events: TimelineEvent[] = [];
  const phase = random() * 2;
  let desired = 0;
  const capacity = (at: number, by: number) => {
    desired += by;
    if (at <= start + span) events.push({ event: 'capacity', at, group, desired });
  };
  const changes: [at: number, by: number][] = [];
  for (let n = 0; n < runners; n += 1) {
    const runner = `i-0${Math.floor(random() * 2 ** 48)
      .toString(16)
      .padStart(12, '0')}${(n % 65536).toString(16).padStart(4, '0')}`;
    // More launches where the load of the day is high.
    const day = (n + 0.5) / runners;
    const launched = start + span * (day + Math.sin(day * 2 * Math.PI * (2 + phase)) * 0.04) * 0.97;
    const inService = launched + 20_000 + random() * 70_000;
    const isSpot = random() < 0.5;
    events.push({
      event: 'launch',
      at: launched,
      runner,
      group,
      instanceType: random() < 0.8 ? 'c7g.4xlarge' : 'm7g.8xlarge',
      zone: `us-west-2${'abc'[n % 3]}`,
      purchase: isSpot ? 'spot' : 'on-demand',
    });
    changes.push([launched, 1]);
    const outcome = random() < 0.93 ? 'restored' : random() < 0.5 ? 'previous' : 'cold';
    events.push({
      event: 'restore',
      at: inService - 500,
      runner,
      group,
      outcome,
      set: 'default',
      snapshot: '20261123T030000Z-0a1b2c3d',
      seconds: 1 + random() * 6,
    });
    events.push({ event: 'in-service', at: inService, runner, group });
    let at = inService + random() * 3_000;
    let drain = Number.NaN;
    for (let count = 0; count < 40; count += 1) {
      const length = (30_000 + random() ** 3 * 25 * MINUTE) * (random() < 0.02 ? 4 : 1);
      const startedAt = at;
      const finishedAt = startedAt + length;
      const fate = random();
      const isKilled = isSpot && fate < 0.0008;
      const isFailed = fate > 0.94;
      if (startedAt > start + span) break;
      const name =
        fate > 0.9995 ? HOSTILE_NAME : (NAMES[Math.floor(random() ** 2 * NAMES.length)] ?? 'build');
      events.push({
        event: 'job',
        id: `${group.slice(0, 3)}${Math.floor(random() * 1e10)}`,
        name,
        group,
        runner,
        queuedAt: startedAt - (count === 0 ? inService - launched : random() ** 4 * 90_000),
        startedAt,
        ...(finishedAt <= start + span && {
          finishedAt,
          result: isKilled ? 'killed' : isFailed ? 'failed' : 'succeeded',
        }),
      });
      at = finishedAt + 1_000 + random() ** 3 * 4 * MINUTE;
      if (isKilled) {
        events.push({
          event: 'note',
          at: finishedAt - 2 * MINUTE,
          level: 'warning',
          text: 'Spot interruption notice',
          runner,
          group,
        });
        drain = finishedAt;
        break;
      }
      if (random() < 0.055) {
        // A drain during the last job, or after an idle time.
        drain = random() < 0.5 ? startedAt + length * 0.4 : finishedAt + 3 * MINUTE;
        at = Math.max(finishedAt, drain);
        break;
      }
    }
    if (Number.isNaN(drain) || drain > start + span) continue;
    changes.push([drain, -1]);
    events.push({ event: 'drain', at: drain, runner, group, why: 'idle for 3 minutes' });
    const ended = Math.max(at, drain) + 8_000 + random() * 20_000;
    if (ended <= start + span) events.push({ event: 'end', at: ended, runner, group });
  }
  for (const [at, by] of changes.sort((a, b) => a[0] - b[0])) capacity(at, by);
  return events;
}

/** Numbers in [0, 1) that are the same in every run (mulberry32). */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
