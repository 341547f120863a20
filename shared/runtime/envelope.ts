import * as v from 'valibot';
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
