import type { GroupState } from './backlog.ts';

/** Time after which queued work beside idle runners counts as unmatched, in milliseconds. */
export const UNMATCHED_MS = 3 * 60_000;

/** Since when a group has queued work beside idle runners; milliseconds since 1970. Kept from one decision to the next. */
export type UnmatchedSince = number | undefined;

export type Decision = {
  /** The desired capacity to set; undefined: the present one stays. */
  raiseTo?: number;
  /** Queued jobs that idle runners of the group do not take: counted for nothing, and alarmed. */
  unmatched: number;
  unmatchedSince: UnmatchedSince;
};

/**
 * The desired capacity of one group: `running + ceil(queued x factor)` within the limits of the group. It is only ever raised.
 * Instances end themselves when they are idle, and only they can tell that they are.
 *
 * @param queued jobs that wait and are counted for this group
 * @param factor `scale_out_factor` of the group; absent: 1
 * @param since result of the decision before
 * @param now milliseconds since 1970
 */
export function decide(
  group: GroupState,
  queued: number,
  factor: number,
  since: UnmatchedSince,
  now: number,
): Decision {
  // A provider assigns a job within seconds. Work that idle runners leave for minutes is not for them: another instance of the
  // same kind would stand beside it too, and idle out, and be launched again.
  const isBesideIdle = queued > 0 && group.idle > 0;
  const unmatchedSince = isBesideIdle ? (since ?? now) : undefined;
  const isUnmatched = unmatchedSince !== undefined && now - unmatchedSince >= UNMATCHED_MS;
  const counted = isUnmatched ? 0 : queued;
  const wanted = Math.max(group.min, group.running + Math.ceil(counted * factor));
  const target = Math.min(group.max, wanted);
  return {
    ...(target > group.desired && { raiseTo: target }),
    unmatched: isUnmatched ? queued : 0,
    unmatchedSince,
  };
}
