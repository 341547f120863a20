import * as v from 'valibot';
import { groupId, parseAutoScalingGroupName } from '../../shared/fleet/names.ts';
import { type Report, reportSchema, reportSource } from '../../shared/fleet/report.ts';
import { type Envelope, scheduleSource } from '../../shared/runtime/envelope.ts';
import { PermanentError } from '../../shared/runtime/errors.ts';
import { parseOrReject } from '../../shared/runtime/validate.ts';
import { parseSetKey } from '../../shared/snapshot/layout.ts';

/** The set, snapshot or report that an event is about. */
export type WarmingHint =
  | { kind: 'run-due'; set: string; at: Date }
  | { kind: 'check'; set: string }
  | { kind: 'revocation'; set: string; since: Date; reason: string }
  | { kind: 'manifest'; bucket: string; set: string; id: string }
  | { kind: 'other-object' }
  | { kind: 'report'; report: Report };

const setDetail = v.object({ set: v.pipe(v.string(), v.maxLength(64)) });

const revocation = v.object({
  set: v.pipe(v.string(), v.maxLength(64)),
  since: v.pipe(v.string(), v.maxLength(40), v.isoTimestamp()),
  reason: v.optional(v.pipe(v.string(), v.maxLength(100)), 'no reason given'),
});

const objectCreated = v.object({
  bucket: v.object({ name: v.string() }),
  object: v.object({ key: v.pipe(v.string(), v.maxLength(1024)) }),
});

const REPORTS = new Set(['Runner Ready', 'Runner Failed', 'Runner Unhealthy']);

/**
 * @param prefix of the deployment: reports of another deployment are not for this function
 * @throws {PermanentError} `unknown-event`, `malformed-detail`, `malformed-report` or `forged-group`
 */
export function parseHint(event: Envelope, prefix: string): WarmingHint {
  const { source, detailType, detail } = event;
  if (source === reportSource(prefix) && REPORTS.has(detailType)) {
    const report = parseOrReject(reportSchema, detail, 'malformed-report');
    const group = parseAutoScalingGroupName(prefix, report.autoScalingGroup);
    if (!group || groupId(group) !== report.group) {
      throw new PermanentError(
        'forged-group',
        `group ${report.group} has no Auto Scaling group ${report.autoScalingGroup}`,
      );
    }
    return { kind: 'report', report };
  }
  switch (`${source} ${detailType}`) {
    case `${scheduleSource(prefix)} Warming Run Due`:
      return {
        kind: 'run-due',
        set: parseOrReject(setDetail, detail, 'malformed-detail').set,
        at: event.time,
      };
    case `${scheduleSource(prefix)} Warming Check`:
      return { kind: 'check', set: parseOrReject(setDetail, detail, 'malformed-detail').set };
    // Only an operator can send it: no rule leads to such an event.
    case `${prefix}.operator Snapshots Revoked`: {
      const { since, ...rest } = parseOrReject(revocation, detail, 'malformed-detail');
      return { kind: 'revocation', ...rest, since: new Date(since) };
    }
    case 'aws.s3 Object Created': {
      const { bucket, object } = parseOrReject(objectCreated, detail, 'malformed-detail');
      const key = parseSetKey(object.key);
      if (key?.kind !== 'manifest') return { kind: 'other-object' };
      return { kind: 'manifest', bucket: bucket.name, set: key.set, id: key.id };
    }
    default:
      throw new PermanentError('unknown-event', `${source} ${detailType} is not for this function`);
  }
}
