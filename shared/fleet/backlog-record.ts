import * as v from 'valibot';

/**
 * `backlog/state.json` in the bucket of the deployment: the backlog of each runner group as the function `scaling` has last read it,
 * and what it remembers from one poll to the next.
 */
export const BACKLOG_KEY = 'backlog/state.json';

const instant = v.pipe(v.string(), v.isoTimestamp());
const count = v.pipe(v.number(), v.integer(), v.minValue(0));

const groupBacklogSchema = v.object({
  queued: count,
  running: count,
  /** When the oldest queued job was queued. */
  oldest: v.optional(instant),
  /** When the provider was read. It stays for up to 15 minutes while nothing else changes. */
  readAt: instant,
  /** Ids of queued jobs that idle runners of the group do not get. */
  unmatched: v.optional(v.array(v.string()), []),
  /** Since when they do not count, or when one of them counted last; and that one. */
  unmatchedSince: v.optional(instant),
  trial: v.optional(v.string()),
});

export const backlogRecordSchema = v.object({
  version: v.literal(1),
  /** The invocation that polls at present, for all sources or because of hints. No other one polls before `until`. */
  poll: v.optional(v.object({ id: v.string(), until: instant, isHint: v.optional(v.literal(true)) })),
  /** By group id. */
  groups: v.record(v.string(), groupBacklogSchema),
});

export type GroupBacklog = v.InferOutput<typeof groupBacklogSchema>;
export type BacklogRecord = v.InferOutput<typeof backlogRecordSchema>;
