import * as v from 'valibot';
import type { Report } from '../../shared/fleet/report.ts';
import { reportSchema } from '../../shared/fleet/report.ts';
import type { Envelope } from '../../shared/runtime/envelope.ts';
import { PermanentError } from '../../shared/runtime/errors.ts';
import { parseOrReject } from '../../shared/runtime/validate.ts';
import { parseSetKey } from '../../shared/snapshot/layout.ts';

/** What a message asks this function to look at. */
export type WarmingHint =
  | { kind: 'due'; set: string; at: Date }
  | { kind: 'check'; set: string }
  | { kind: 'manifest'; bucket: string; set: string; id: string }
  | { kind: 'other-object' }
  | { kind: 'report'; report: Report };

const setDetail = v.object({ set: v.pipe(v.string(), v.maxLength(64)) });

const objectCreated = v.object({
  bucket: v.object({ name: v.string() }),
  object: v.object({ key: v.pipe(v.string(), v.maxLength(1024)) }),
});

/** @throws {PermanentError} `unknown-event`, `malformed-detail` or `malformed-report` */
export function parseHint(event: Envelope): WarmingHint {
  switch (`${event.source} ${event.detailType}`) {
    case 'aw.schedule Warming Run Due':
      return {
        kind: 'due',
        set: parseOrReject(setDetail, event.detail, 'malformed-detail').set,
        at: event.time,
      };
    case 'aw.schedule Warming Check':
      return { kind: 'check', set: parseOrReject(setDetail, event.detail, 'malformed-detail').set };
    case 'aws.s3 Object Created': {
      const { bucket, object } = parseOrReject(objectCreated, event.detail, 'malformed-detail');
      const key = parseSetKey(object.key);
      if (key?.kind !== 'manifest') return { kind: 'other-object' };
      return { kind: 'manifest', bucket: bucket.name, set: key.set, id: key.id };
    }
    case 'aw.lifecycle Runner Ready':
    case 'aw.lifecycle Runner Failed':
    case 'aw.lifecycle Runner Unhealthy':
      return { kind: 'report', report: parseOrReject(reportSchema, event.detail, 'malformed-report') };
    default:
      throw new PermanentError(
        'unknown-event',
        `${event.source} ${event.detailType} is not for this function`,
      );
  }
}
