import type { PagerDutyEvent, Severity, Trigger } from './event.ts';

/** What on-call sees: opened by a trigger, closed by a resolve of the same route and dedup key. */
export type Incident = {
  readonly number: number;
  /** Name of the integration that it came through; never its key. */
  readonly route: string;
  readonly dedupKey: string;
  status: 'triggered' | 'acknowledged' | 'resolved';
  severity: Severity;
  summary: string;
  readonly openedAt: Date;
  resolvedAt: Date | undefined;
  /** Everything that was sent for it, in order. */
  readonly events: { at: Date; action: PagerDutyEvent['event_action']; event: Record<string, unknown> }[];
};

export type IncidentBook = {
  /** Takes an event. False if nothing was open for it: PagerDuty drops such a one without a word. */
  take(route: string, dedupKey: string, event: PagerDutyEvent, at: Date): boolean;
  all(): readonly Incident[];
};

export function createIncidentBook(): IncidentBook {
  const incidents: Incident[] = [];
  return {
    all: () => incidents,
    take(route, dedupKey, event, at) {
      const open = incidents.find(
        (incident) =>
          incident.route === route && incident.dedupKey === dedupKey && incident.status !== 'resolved',
      );
      if (event.event_action === 'trigger') {
        const incident = open ?? openIncident(incidents, route, dedupKey, event, at);
        append(incident, event, at);
        return true;
      }
      if (open === undefined) return false;
      append(open, event, at);
      open.status = event.event_action === 'resolve' ? 'resolved' : 'acknowledged';
      if (open.status === 'resolved') open.resolvedAt = at;
      return true;
    },
  };
}

function openIncident(
  incidents: Incident[],
  route: string,
  dedupKey: string,
  event: Trigger,
  at: Date,
): Incident {
  const incident: Incident = {
    number: incidents.length + 1,
    route,
    dedupKey,
    status: 'triggered',
    severity: event.payload.severity,
    summary: event.payload.summary,
    openedAt: at,
    resolvedAt: undefined,
    events: [],
  };
  incidents.push(incident);
  return incident;
}

function append(incident: Incident, event: PagerDutyEvent, at: Date): void {
  const { routing_key: _, ...rest } = event;
  incident.events.push({ at, action: event.event_action, event: rest });
}
