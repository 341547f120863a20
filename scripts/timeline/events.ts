import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import * as v from 'valibot';
import { RESTORE_OUTCOMES } from '../../shared/fleet/report.ts';
import { redactText } from '../../shared/runtime/redact.ts';

/**
 * The event model of the timeline. Every source is read into these events, and the page shows nothing else. A file of them has one JSON
 * object per line, in any order. All times are milliseconds since 1970, also those of a simulation.
 *
 * Facts that are not known are absent. Of two events with the same fact the earlier one counts, so sources may overlap.
 */

/** Most characters of a text. Jobs choose some of them. */
const MAX_TEXT = 300;

/** Job names, reasons and labels: of any content, so redacted, cut and on one line. */
const text = v.pipe(
  v.string(),
  v.transform((value) =>
    // Control characters and characters that change the direction of a text have no place in a label.
    redactText(value)
      .replaceAll(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]+/gu, ' ')
      .slice(0, MAX_TEXT)
      .replace(/[\uD800-\uDBFF]$/, ''),
  ),
);
const name = v.pipe(text, v.nonEmpty());
const at = v.pipe(v.number(), v.finite(), v.minValue(0), v.transform(Math.round));
const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const maybe = <Schema extends v.GenericSchema>(schema: Schema) => v.optional(schema);

export const JOB_RESULTS = ['succeeded', 'failed', 'cancelled', 'killed'] as const;
export const NOTE_LEVELS = ['info', 'warning', 'error'] as const;

export const timelineEventSchema = v.variant('event', [
  /** At most once: what the recording is. `from` and `to` bound it; default: the first and the last event. */
  v.object({
    event: v.literal('timeline'),
    version: v.literal(1),
    title: text,
    source: text,
    from: maybe(at),
    to: maybe(at),
  }),
  /** The desired capacity of a group from `at` on. */
  v.object({ event: v.literal('capacity'), at, group: name, desired: count }),
  /** The queued jobs of a group as they were read at `at`. A group without such events gets them from its jobs. */
  v.object({ event: v.literal('backlog'), at, group: name, queued: count }),
  /** An instance of a group was requested. */
  v.object({
    event: v.literal('launch'),
    at,
    runner: name,
    group: name,
    instanceType: maybe(text),
    zone: maybe(text),
    purchase: maybe(v.picklist(['spot', 'on-demand'])),
  }),
  /** The instance is in service. Until then it boots; from then on it is idle or has a job. */
  v.object({ event: v.literal('in-service'), at, runner: name, group: maybe(name) }),
  /** The result of the restore of a boot. */
  v.object({
    event: v.literal('restore'),
    at,
    runner: name,
    group: maybe(name),
    outcome: v.picklist(RESTORE_OUTCOMES),
    set: maybe(text),
    snapshot: maybe(text),
    seconds: maybe(v.number()),
  }),
  /** The instance takes no new job. */
  v.object({ event: v.literal('drain'), at, runner: name, group: maybe(name), why: maybe(text) }),
  /** The instance is terminated. */
  v.object({ event: v.literal('end'), at, runner: name, group: maybe(name), why: maybe(text) }),
  /** A job, once, with what is known of it. `killed`: its runner was lost before its end. */
  v.object({
    event: v.literal('job'),
    id: name,
    name: text,
    group: maybe(name),
    runner: maybe(name),
    queuedAt: maybe(at),
    startedAt: maybe(at),
    finishedAt: maybe(at),
    result: maybe(v.picklist(JOB_RESULTS)),
  }),
  /** The pointer of a warming set changes. */
  v.object({
    event: v.literal('snapshot'),
    at,
    set: name,
    change: v.picklist(['promoted', 'quarantined', 'rolled-back']),
    snapshot: text,
    reason: maybe(text),
  }),
  /** An incident, once. Without `resolvedAt` it is open at the end. */
  v.object({
    event: v.literal('incident'),
    id: name,
    severity: v.picklist(['critical', 'error', 'warning', 'info', 'unknown']),
    summary: text,
    openedAt: at,
    resolvedAt: maybe(at),
  }),
  /** Anything else that a reader of the timeline has to know: an interruption notice, a forged report, capacity that is held. */
  v.object({
    event: v.literal('note'),
    at,
    level: v.picklist(NOTE_LEVELS),
    text,
    runner: maybe(name),
    group: maybe(name),
  }),
]);

/** One event, after `parseEvent`. */
export type TimelineEvent = v.InferOutput<typeof timelineEventSchema>;

/** A source cannot be read. The message names the place and what to do. */
export class SourceError extends Error {
  override readonly name = 'SourceError';
}

/**
 * Checks one event and cleans its texts.
 *
 * @param place for the error, for example `day.jsonl line 3`
 * @throws {SourceError} if it is no event
 */
export function parseEvent(value: unknown, place: string): TimelineEvent {
  const parsed = v.safeParse(timelineEventSchema, value);
  if (parsed.success) return parsed.output;
  const [issue] = parsed.issues;
  throw new SourceError(
    `${place} is no event of the timeline: ${v.getDotPath(issue) ?? 'event'}: ${issue.message}`,
  );
}

/**
 * The JSON values of a file with one per line. Empty lines are passed over.
 *
 * @throws {SourceError} with the line that is not JSON
 */
export async function* jsonLines(file: string): AsyncGenerator<{ value: unknown; place: string }> {
  let number = 0;
  for await (const line of createInterface({
    input: createReadStream(file, 'utf8'),
    crlfDelay: Number.POSITIVE_INFINITY,
  })) {
    number += 1;
    if (line.trim() === '') continue;
    const place = `${file} line ${number}`;
    try {
      yield { value: JSON.parse(line) as unknown, place };
    } catch {
      throw new SourceError(`${place} is not JSON: a source has one JSON object per line`);
    }
  }
}
