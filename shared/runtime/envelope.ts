import * as v from 'valibot';
import { PermanentError } from './errors.ts';
import type { Message } from './message.ts';
import { parseOrReject } from './validate.ts';

/**
 * The fields that EventBridge adds to every event. `time` has whole seconds and can be minutes before delivery
 * (EventBridge User Guide, "AWS events structure").
 */
const envelopeSchema = v.object({
  id: v.string(),
  source: v.string(),
  'detail-type': v.string(),
  account: v.string(),
  region: v.string(),
  time: v.pipe(v.string(), v.isoTimestamp()),
  resources: v.nullish(v.array(v.string()), []),
  detail: v.record(v.string(), v.unknown()),
});

/** One event from the bus. The handler of the detail type validates `detail`. */
export type Envelope = {
  id: string;
  source: string;
  detailType: string;
  account: string;
  region: string;
  time: Date;
  resources: string[];
  detail: Record<string, unknown>;
};

/** @throws {PermanentError} `malformed-envelope` if the body is not an EventBridge event */
export function parseEnvelope(body: unknown): Envelope {
  const parsed = parseOrReject(envelopeSchema, body, 'malformed-envelope');
  const { 'detail-type': detailType, time, resources, ...rest } = parsed;
  return { ...rest, detailType, time: new Date(time), resources: resources ?? [] };
}

/**
 * The event of a message, if it comes from the account of the inbox. Another account can put events on the bus once somebody
 * gives it the permission, and its events are no facts about this deployment.
 *
 * @throws {PermanentError} `malformed-envelope` or `foreign-account`
 */
export function ownEvent({ body, account }: Pick<Message, 'body' | 'account'>): Envelope {
  const event = parseEnvelope(body);
  if (event.account === account) return event;
  throw new PermanentError('foreign-account', `the account is ${event.account}`);
}

/**
 * The event source of a deployment's own schedules. EventBridge Scheduler sends what the schedule contains, so the prefix keeps
 * two deployments of one account apart.
 */
export function scheduleSource(prefix: string): string {
  return `${prefix}.schedule`;
}
