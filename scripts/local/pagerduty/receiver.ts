import { createHash, randomUUID } from 'node:crypto';
import { type PagerDutyEvent, parseEvent } from './event.ts';
import { createIncidentBook, type Incident } from './incidents.ts';

/** Largest event (PagerDuty developer documentation, "Send an event"). */
const MAX_BYTES = 512 * 1024;

const WINDOW_MS = 60_000;

export type PagerDutyOptions = {
  /** Integration keys by the name that incidents show for them. */
  routingKeys: Readonly<Record<string, string>>;
  /** Calls a minute and key before 429; about 120 on PagerDuty. No limit if absent. */
  limitPerMinute?: number;
  now?: () => number;
};

export type HttpAnswer = { status: number; headers: Record<string, string>; body: string };

/** One call as it came, without its routing key. */
export type ReceivedCall = { at: Date; status: number; route: string | undefined; event: unknown };

export type PagerDuty = {
  handle(request: { method: string; path: string; body: Buffer }): HttpAnswer;
  incidents(): readonly Incident[];
  /** Every call, refused ones too. */
  calls(): readonly ReceivedCall[];
  /** Events that PagerDuty took and then dropped without a word: nothing was open for them. */
  dropped(): readonly { route: string; dedupKey: string; action: string }[];
  /** The next `count` calls are answered with `status`: 429, or a fault of PagerDuty. */
  failNext(count: number, status: 429 | 500 | 502 | 503 | 504): void;
};

/** The receiving end of the Events API v2, which keeps what it received. */
export function createPagerDuty(options: PagerDutyOptions): PagerDuty {
  const now = options.now ?? Date.now;
  const book = createIncidentBook();
  const calls: ReceivedCall[] = [];
  const dropped: { route: string; dedupKey: string; action: string }[] = [];
  const recent = new Map<string, number[]>();
  let failing = { count: 0, status: 500 };

  function routeOf(event: PagerDutyEvent): string | undefined {
    return Object.entries(options.routingKeys).find(([, key]) => key === event.routing_key)?.[0];
  }

  function isOverLimit(route: string): boolean {
    if (options.limitPerMinute === undefined) return false;
    const times = (recent.get(route) ?? []).filter((time) => time > now() - WINDOW_MS);
    const over = times.length >= options.limitPerMinute;
    recent.set(route, over ? times : [...times, now()]);
    return over;
  }

  function enqueue(body: Buffer): HttpAnswer {
    if (failing.count > 0) {
      failing.count -= 1;
      return record(failing.status === 429 ? throttled() : fault(failing.status), undefined, undefined);
    }
    if (body.length > MAX_BYTES)
      return record(invalid(['Event is larger than 512 KB']), undefined, undefined);
    const json = parseJson(body);
    const parsed = parseEvent(json);
    if ('errors' in parsed) return record(invalid(parsed.errors), undefined, withoutKey(json));
    const { event } = parsed;
    const route = routeOf(event);
    if (route === undefined) return record(invalid(['Invalid routing key']), undefined, withoutKey(json));
    if (isOverLimit(route)) return record(throttled(), route, withoutKey(json));
    const dedupKey = event.dedup_key || randomUUID().replaceAll('-', '');
    const at = new Date(now());
    if (!book.take(route, dedupKey, event, at)) {
      dropped.push({ route, dedupKey, action: event.event_action });
    }
    return record(accepted(dedupKey), route, withoutKey(json));
  }

  function record(answer: HttpAnswer, route: string | undefined, event: unknown): HttpAnswer {
    calls.push({ at: new Date(now()), status: answer.status, route, event });
    return answer;
  }

  return {
    handle({ method, path, body }) {
      if (path !== '/v2/enqueue')
        return reply(404, { status: 'not found', message: `no such path: ${path}` });
      if (method !== 'POST') return reply(405, { status: 'method not allowed', message: 'use POST' });
      return enqueue(body);
    },
    incidents: book.all,
    calls: () => calls,
    dropped: () => dropped,
    failNext: (count, status) => {
      failing = { count, status };
    },
  };
}

function reply(status: number, body: unknown): HttpAnswer {
  return { status, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
}

function accepted(dedupKey: string): HttpAnswer {
  return reply(202, { status: 'success', message: 'Event processed', dedup_key: dedupKey });
}

function invalid(errors: string[]): HttpAnswer {
  return reply(400, { status: 'invalid event', message: 'Event object is invalid', errors });
}

function throttled(): HttpAnswer {
  return reply(429, {
    status: 'throttle exceeded',
    message: 'Requests for this service are arriving too quickly.',
  });
}

function fault(status: number): HttpAnswer {
  return reply(status, { status: 'error', message: 'Internal Server Error' });
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    // A body that is not JSON is an invalid event for the schema.
    return undefined;
  }
}

/** The event for the log, with a part of the hash of its key. */
function withoutKey(json: unknown): unknown {
  if (typeof json !== 'object' || json === null || !('routing_key' in json)) return json;
  const digest = createHash('sha256').update(String(json.routing_key)).digest('hex').slice(0, 8);
  return { ...json, routing_key: `sha256:${digest}` };
}
