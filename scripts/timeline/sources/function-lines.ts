import * as v from 'valibot';
import { reportSchema } from '../../../shared/fleet/report.ts';
import type { TimelineEvent } from '../events.ts';

/**
 * Reads the log lines of the functions. A line that is no JSON, or that the timeline does not show, is passed over: logs contain lines
 * of Lambda and of other releases.
 */
export type FunctionLines = {
  /**
   * @param loggedAt used where the line has no time of its own, milliseconds since 1970
   * @returns what the line shows
   */
  read(text: string, loggedAt: number): TimelineEvent[];
  /** Incidents, which take several lines. Called once, after the last line. */
  end(): TimelineEvent[];
};

const fields = v.record(v.string(), v.unknown());
const lineSchema = v.object({
  message: v.string(),
  service: v.string(),
  timestamp: v.optional(v.string()),
  record: v.optional(
    v.object({
      messageId: v.optional(v.string()),
      outcome: v.string(),
      reason: v.optional(v.string()),
      detail: v.fallback(v.optional(fields), undefined),
    }),
  ),
  request: v.optional(
    v.object({ status: v.number(), outcome: v.string(), detail: v.fallback(v.optional(fields), undefined) }),
  ),
  report: v.fallback(v.optional(reportSchema), undefined),
  alarm: v.fallback(v.optional(v.string()), undefined),
  set: v.fallback(v.optional(v.string()), undefined),
  terminated: v.fallback(v.optional(v.string()), undefined),
  /** Of `backlog read`. */
  groups: v.fallback(
    v.optional(
      v.record(v.string(), v.object({ queued: v.number(), running: v.number(), desired: v.number() })),
    ),
    undefined,
  ),
  /** Of `capacity held` and `credential not usable`. */
  name: v.fallback(v.optional(v.string()), undefined),
  source: v.fallback(v.optional(v.string()), undefined),
  group: v.fallback(v.optional(v.string()), undefined),
  error: v.fallback(v.optional(v.string()), undefined),
});
type Line = v.InferOutput<typeof lineSchema>;

/** The same note again within this time is not shown, in milliseconds: some lines repeat with every poll. */
const QUIET_MS = 10 * 60_000;

export function functionLines(): FunctionLines {
  const notedAt = new Map<string, number>();
  const capacities = new Map<string, string>();
  const incidents = new Map<string, { openedAt: number; alarm: string }>();
  const ended: TimelineEvent[] = [];

  function ofLine(line: Line, at: number): TimelineEvent[] {
    const { record } = line;
    switch (line.message) {
      case 'record handled':
        if (!record) return [];
        if (record.outcome === 'dead') return [deadLetter(line, at)];
        if (line.service === 'lifecycle') return ofLifecycle(line, record, at);
        if (line.service === 'warming' && record.outcome === 'done')
          return ofWarming(line, record.detail ?? {}, at);
        if (line.service === 'alarms' && line.alarm !== undefined)
          return ofAlarm(line.alarm, record.detail ?? {}, at);
        if (line.terminated !== undefined) return [{ event: 'end', at, runner: line.terminated }];
        return [];
      case 'request handled':
        return ofRequest(line, at);
      case 'backlog read':
        return ofBacklog(line.groups ?? {}, at);
      case 'capacity held':
        return [note(at, 'warning', `capacity held: ${line.error}`, isGroup(line.name))];
      case 'credential not usable':
        return [note(at, 'error', `credential not usable: ${line.error}`, isGroup(line.group))];
      default:
        return [];
    }
  }

  function ofAlarm(alarm: string, { sent }: Record<string, unknown>, at: number): TimelineEvent[] {
    const open = incidents.get(alarm);
    if (sent === 'trigger' && !open) incidents.set(alarm, { openedAt: at, alarm });
    if (sent === 'resolve' && open) {
      incidents.delete(alarm);
      ended.push(incident(open, at));
    }
    return [];
  }

  function ofBacklog(groups: NonNullable<Line['groups']>, at: number): TimelineEvent[] {
    return Object.entries(groups).flatMap(([group, { queued, desired }]): TimelineEvent[] => {
      const before = capacities.get(group);
      const now = `${queued} ${desired}`;
      if (before === now) return [];
      capacities.set(group, now);
      return [
        { event: 'backlog', at, group, queued },
        { event: 'capacity', at, group, desired },
      ];
    });
  }

  function isNew(event: TimelineEvent): boolean {
    if (event.event !== 'note') return true;
    const key = `${event.group} ${event.runner} ${event.text}`;
    const before = notedAt.get(key);
    if (before !== undefined && Math.abs(event.at - before) < QUIET_MS) return false;
    notedAt.set(key, event.at);
    return true;
  }

  return {
    read(text, loggedAt) {
      const parsed = v.safeParse(lineSchema, parseJson(text));
      if (!parsed.success) return [];
      const time = Date.parse(parsed.output.timestamp ?? '');
      return ofLine(parsed.output, Number.isNaN(time) ? loggedAt : time).filter(isNew);
    },
    end: () => [...ended, ...[...incidents.values()].map((open) => incident(open))],
  };
}

function incident(
  { openedAt, alarm }: { openedAt: number; alarm: string },
  resolvedAt?: number,
): TimelineEvent {
  return {
    event: 'incident',
    id: `${alarm} ${openedAt}`,
    severity: 'unknown',
    summary: alarm,
    openedAt,
    ...(resolvedAt !== undefined && { resolvedAt }),
  };
}

type Handled = NonNullable<Line['record']>;

function ofLifecycle({ report }: Line, { outcome, detail = {} }: Handled, at: number): TimelineEvent[] {
  if (!report) return outcome === 'done' ? ofAwsEvent(detail, at) : [];
  const isDone = outcome === 'done';
  const sentAt = Date.parse(report.at);
  const who = { runner: report.instanceId, group: report.group };
  switch (report.report) {
    case 'Runner Ready': {
      const { snapshot, seconds } = report;
      const restore: TimelineEvent = {
        event: 'restore',
        at: sentAt,
        ...who,
        outcome: snapshot.outcome,
        set: snapshot.set,
        ...(snapshot.id && { snapshot: snapshot.id }),
        seconds: seconds.restore,
      };
      const launch: TimelineEvent = { event: 'launch', at: sentAt - seconds.boot * 1000, ...who };
      const broken: TimelineEvent[] = snapshot.broken
        ? [
            {
              event: 'note',
              at: sentAt,
              level: 'warning',
              text: `snapshot ${snapshot.broken.id} is broken: ${snapshot.broken.reason}`,
              ...who,
            },
          ]
        : [];
      return [restore, launch, ...broken, ...(isDone ? [{ event: 'in-service', at, ...who } as const] : [])];
    }
    case 'Runner Failed':
      return [
        {
          event: 'note',
          at: sentAt,
          level: 'error',
          text: `boot failed at ${report.stage}: ${report.reason}`,
          ...who,
        },
        { event: 'drain', at, ...who, why: 'its boot failed' },
      ];
    case 'Runner Heartbeat':
      return report.phase === 'drain' && report.seconds
        ? [{ event: 'drain', at: sentAt - report.seconds.drain * 1000, ...who }]
        : [];
    case 'Runner Drained':
      return [
        { event: 'drain', at: sentAt - (report.seconds?.drain ?? 0) * 1000, ...who },
        ...(isDone ? [{ event: 'end', at, ...who } as const] : []),
      ];
    case 'Runner Cache':
      return [];
    case 'Runner Idle':
      return isDone ? [{ event: 'drain', at, ...who, why: 'it was idle' }] : [];
    case 'Runner Unhealthy':
      return [
        { event: 'note', at: sentAt, level: 'warning', text: `unhealthy: ${report.reason}`, ...who },
        ...(isDone ? [{ event: 'drain', at, ...who, why: `unhealthy: ${report.reason}` } as const] : []),
      ];
  }
}

/** A Spot notice names the instance that it replaces, a failed launch its group. */
function ofAwsEvent(detail: Record<string, unknown>, at: number): TimelineEvent[] {
  const { replaced, group, reason } = detail;
  if (typeof replaced === 'string') {
    return [
      { event: 'note', at, level: 'warning', text: 'Spot interruption notice', runner: replaced },
      { event: 'drain', at, runner: replaced, why: 'Spot interruption' },
    ];
  }
  if (typeof group === 'string') return [note(at, 'warning', `launch failed: ${reason}`, group)];
  return [];
}

function ofWarming({ set }: Line, detail: Record<string, unknown>, at: number): TimelineEvent[] {
  if (set === undefined) return [];
  const { current, objects, quarantined, rolledBack, reason } = detail;
  const change = (change: 'promoted' | 'quarantined' | 'rolled-back', snapshot: unknown): TimelineEvent[] =>
    typeof snapshot === 'string'
      ? [{ event: 'snapshot', at, set, change, snapshot, ...(typeof reason === 'string' && { reason }) }]
      : [];
  if (quarantined !== undefined)
    return [...change('quarantined', quarantined), ...change('rolled-back', current)];
  if (rolledBack !== undefined) return change('quarantined', rolledBack);
  return objects === undefined ? [] : change('promoted', current);
}

function ofRequest({ request }: Line, at: number): TimelineEvent[] {
  const { instanceId, group } = request?.detail ?? {};
  if (request?.outcome !== 'registered' || typeof instanceId !== 'string' || typeof group !== 'string')
    return [];
  // Only an instance in service gets a registration, so this bounds when it was.
  return [{ event: 'in-service', at, runner: instanceId, group }];
}

function deadLetter({ service, record, report }: Line, at: number): TimelineEvent {
  return {
    event: 'note',
    at,
    level: 'error',
    text: `dead letter of ${service}: ${record?.reason}`,
    ...(report && { runner: report.instanceId, group: report.group }),
  };
}

function note(
  at: number,
  level: 'warning' | 'error',
  text: string,
  group: string | undefined,
): TimelineEvent {
  return { event: 'note', at, level, text, ...(group !== undefined && { group }) };
}

/** Groups are `<provider>/<name>`; sources have names of their own. */
function isGroup(name: string | undefined): string | undefined {
  return name !== undefined && /^(gha|cci|bk)\/[\w-]+$/.test(name) ? name : undefined;
}

function parseJson(text: string): unknown {
  if (!text.startsWith('{')) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
