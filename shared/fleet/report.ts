import * as v from 'valibot';
import { INSTANCE_ID, parseGroupId, SET_NAME } from './names.ts';

/**
 * What a runner tells the fleet, through the `reports` queue. One schema for the runner, which writes it, and for
 * the functions, which read it.
 */

const MAX_NAME = 255; // Auto Scaling's limit for a group's name.
const MAX_REASON = 1024;

const instant = v.pipe(v.string(), v.maxLength(40), v.isoTimestamp());
const seconds = v.pipe(v.number(), v.finite(), v.minValue(0), v.maxValue(7 * 86_400));

const sender = {
  group: v.pipe(
    v.string(),
    v.check((id) => parseGroupId(id) !== undefined, 'must be <host>/<name>'),
  ),
  instanceId: v.pipe(v.string(), v.regex(INSTANCE_ID, 'must be an instance id')),
  autoScalingGroup: v.pipe(v.string(), v.nonEmpty(), v.maxLength(MAX_NAME)),
  at: instant,
};

/** How a boot found its snapshot. `previous`: the current one was broken, the one before it was mounted. */
export const RESTORE_OUTCOMES = ['restored', 'previous', 'cold', 'none'] as const;
export type RestoreOutcome = (typeof RESTORE_OUTCOMES)[number];

const setName = v.pipe(v.string(), v.regex(SET_NAME));
const snapshotId = v.pipe(v.string(), v.maxLength(64), v.regex(/^[0-9A-Za-z][0-9A-Za-z_-]*$/));

const restored = v.object({
  set: setName,
  /** The snapshot that was mounted; absent for `cold` and `none`. */
  id: v.optional(snapshotId),
  outcome: v.picklist(RESTORE_OUTCOMES),
  /** The current snapshot that turned out broken, and why; `warming` quarantines it. */
  broken: v.optional(v.object({ id: snapshotId, reason: v.pipe(v.string(), v.maxLength(MAX_REASON)) })),
});

/** The SQS body of every report, by its `report` field. */
export const reportSchema = v.variant('report', [
  v.object({
    report: v.literal('Runner Heartbeat'),
    ...sender,
    phase: v.picklist(['boot', 'drain']),
    job: v.optional(v.pipe(v.string(), v.maxLength(MAX_NAME))),
  }),
  v.object({
    report: v.literal('Runner Ready'),
    ...sender,
    snapshot: restored,
    seconds: v.object({ restore: seconds, boot: seconds }),
  }),
  v.object({
    report: v.literal('Runner Failed'),
    ...sender,
    stage: v.pipe(v.string(), v.maxLength(MAX_NAME)),
    reason: v.pipe(v.string(), v.maxLength(MAX_REASON)),
  }),
  v.object({
    report: v.literal('Runner Drained'),
    ...sender,
    /** Seconds between learning of the termination and being idle. */
    seconds: v.optional(v.object({ drain: seconds })),
  }),
  v.object({ report: v.literal('Runner Idle'), ...sender, idleSeconds: seconds }),
  v.object({
    report: v.literal('Runner Unhealthy'),
    ...sender,
    reason: v.pipe(v.string(), v.maxLength(MAX_REASON)),
  }),
]);

/** A parsed report. */
export type Report = v.InferOutput<typeof reportSchema>;

/** `source` of the verified reports that `lifecycle` puts on the bus; their detail type is the report's name. */
export const REPORT_SOURCE = 'aw.lifecycle';
