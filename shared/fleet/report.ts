import * as v from 'valibot';
import { INSTANCE_ID, parseGroupId, SET_NAME } from './names.ts';

/**
 * The reports of a runner, sent through the `reports` queue. The runner writes them with this schema and the functions read
 * them with it. The identity of the sender and the fields that select an action are strict. All other fields are decoration:
 * out of range or unreadable, they are cut or dropped, since a hook depends on the report that carries them.
 */

/** Most characters of the name of an Auto Scaling group (Auto Scaling API reference). */
const MAX_NAME = 255;

/** Most characters of a job name or a boot stage. */
export const MAX_LABEL = 255;

/** Most characters of a reason. */
export const MAX_REASON = 1_000;

/**
 * Start of the reason of a `Runner Unhealthy` whose cause is the warming run itself. `warming` fails the run at once.
 */
export const WARMING_RUN_FAILED = 'warming run failed: ';

/** Start of the reason of a `Runner Unhealthy` whose cause is an agent that the provider refuses, or soon refuses, for its age. */
export const AGENT_TOO_OLD = 'agent too old: ';

/** Longest duration, in seconds (30 days). */
export const MAX_SECONDS = 30 * 86_400;

/** Largest count of one report: a petabyte. */
const MAX_COUNT = 1e15;

const instant = v.pipe(v.string(), v.maxLength(40), v.isoTimestamp());

/** A text that is cut to `max` characters. */
const cut = (max: number) =>
  v.pipe(
    v.string(),
    // Without half of a surrogate pair at the end: it has no encoding in UTF-8.
    v.transform((text) => text.slice(0, max).replace(/[\uD800-\uDBFF]$/, '')),
  );
const reason = v.fallback(cut(MAX_REASON), 'unreadable');
const label = v.fallback(cut(MAX_LABEL), 'unreadable');

/** A duration in seconds, clamped to 0 and `MAX_SECONDS`. */
const seconds = v.fallback(
  v.pipe(
    v.number(),
    v.transform((value) => Math.min(MAX_SECONDS, Math.max(0, value))),
  ),
  0,
);

/** A number of things or bytes, clamped to 0 and `MAX_COUNT`. */
const count = v.fallback(
  v.pipe(
    v.number(),
    v.transform((value) => Math.min(MAX_COUNT, Math.max(0, Math.floor(value)))),
  ),
  0,
);
const durations = <Names extends string>(...names: Names[]) => {
  const zero = Object.fromEntries(names.map((name) => [name, 0])) as Record<Names, number>;
  const fields = Object.fromEntries(names.map((name) => [name, seconds])) as Record<Names, typeof seconds>;
  return v.fallback(v.object(fields), zero as never);
};

const sender = {
  group: v.pipe(
    v.string(),
    v.check((id) => parseGroupId(id) !== undefined, 'must be <provider>/<name>'),
  ),
  instanceId: v.pipe(v.string(), v.regex(INSTANCE_ID, 'must be an instance id')),
  autoScalingGroup: v.pipe(v.string(), v.nonEmpty(), v.maxLength(MAX_NAME)),
  at: instant,
};

/** Result of the restore of a boot. `previous`: the current snapshot is broken and the one before it is mounted. */
export const RESTORE_OUTCOMES = ['restored', 'previous', 'cold', 'none'] as const;
export type RestoreOutcome = (typeof RESTORE_OUTCOMES)[number];

const setName = v.pipe(v.string(), v.regex(SET_NAME));
const snapshotId = v.pipe(v.string(), v.maxLength(64), v.regex(/^[0-9A-Za-z][0-9A-Za-z_-]*$/));

/** A frame of a snapshot, by its place in an object of frames. */
const frame = v.object({
  /** The snapshot that added the frame. */
  object: snapshotId,
  offset: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
});

const restored = v.object({
  set: setName,
  /** The mounted snapshot; absent for `cold` and `none`. */
  id: v.nullish(snapshotId),
  outcome: v.picklist(RESTORE_OUTCOMES),
  /** The current snapshot, if it is broken, and the reason. `warming` verifies and quarantines it. */
  broken: v.nullish(
    v.object({
      id: snapshotId,
      reason,
      /** The frame that is not as the index names it. `warming` reads this frame. */
      frame: v.fallback(v.optional(frame), undefined),
    }),
  ),
});

/** The SQS body of every report, by its `report` field. */
export const reportSchema = v.variant('report', [
  v.object({
    report: v.literal('Runner Heartbeat'),
    ...sender,
    phase: v.picklist(['boot', 'drain']),
    /** Name of the running job. */
    job: v.fallback(v.optional(label), undefined),
    /** Seconds since the start of the drain; only for the phase `drain`. */
    seconds: v.fallback(v.optional(v.object({ drain: seconds })), undefined),
  }),
  v.object({
    report: v.literal('Runner Ready'),
    ...sender,
    snapshot: restored,
    seconds: durations('restore', 'boot'),
  }),
  v.object({
    report: v.literal('Runner Failed'),
    ...sender,
    stage: label,
    reason,
  }),
  v.object({
    report: v.literal('Runner Drained'),
    ...sender,
    /** Seconds between the start of the drain and its end. */
    seconds: v.fallback(v.optional(v.object({ drain: seconds })), undefined),
  }),
  v.object({
    report: v.literal('Runner Cache'),
    ...sender,
    /** What the build cache has counted since the last such report. */
    cache: v.object({
      hits: count,
      misses: count,
      /** Bytes that jobs have got. */
      servedBytes: count,
      /** Bytes that were stored in S3. */
      storedBytes: count,
      /** Results that were not stored in S3 although they should have been. */
      dropped: count,
      /** Requests to S3 that failed. */
      failures: count,
    }),
  }),
  v.object({ report: v.literal('Runner Idle'), ...sender, idleSeconds: seconds }),
  v.object({
    report: v.literal('Runner Unhealthy'),
    ...sender,
    reason,
  }),
]);

/** A parsed report. */
export type Report = v.InferOutput<typeof reportSchema>;

/**
 * The event source of the verified reports that `lifecycle` publishes. Their detail type is the name of the report. The prefix
 * keeps two deployments of one account apart.
 */
export function reportSource(prefix: string): string {
  return `${prefix}.lifecycle`;
}
