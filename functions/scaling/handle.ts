import * as v from 'valibot';
import { hintMessageSchema } from '../../shared/fleet/backlog-hint.ts';
import { ownEvent, scheduleSource } from '../../shared/runtime/envelope.ts';
import type { Message } from '../../shared/runtime/message.ts';
import { dead, done, type Outcome, retryLater, skipped } from '../../shared/runtime/outcome.ts';
import { handleHint } from './hints.ts';
import { type PollResult, poll } from './poll.ts';
import type { ScalingDeps } from './ports.ts';
import { HeldRecord } from './record.ts';
import { type Source, sourcesOf } from './sources.ts';
import { withTimeLimit } from './time-limit.ts';

/** Retry time of a message, in milliseconds. A message is stale much earlier, and the next one replaces it. */
export const RETRY_FOR_MS = 5 * 60_000;

/** Age from which the message of the next minute is due, in milliseconds. */
const STALE_MS = 55_000;

/** Time of one invocation, in milliseconds: it ends before the next one begins. */
const LIMIT_MS = 50_000;

/** Times of the polls of a minute, in milliseconds, by polls per minute. */
const OFFSETS_MS: Readonly<Record<number, readonly number[]>> = {
  1: [0],
  2: [0, 30_000],
  3: [0, 20_000, 40_000],
};

/** Handles one message: polls all sources as often in a minute as their groups ask for, or the source of a hint. */
export async function handleScalingMessage(message: Message, deps: ScalingDeps): Promise<Outcome> {
  const hint = v.safeParse(hintMessageSchema, message.body);
  if (hint.success) return handleHint(hint.output.about, Date.parse(hint.output.at), message, deps);
  const { source, detailType } = ownEvent(message);
  // The rule of the partner event bus is the only way of such an event into the inbox. The event decides nothing either.
  if (source.startsWith('aws.partner/buildkite.com/') && detailType === 'Job Scheduled') {
    return handleHint({ provider: 'bk' }, message.sentAt.getTime(), message, deps);
  }
  if (`${source} ${detailType}` !== `${scheduleSource(deps.prefix)} Backlog Poll Due`) {
    return dead('unknown-event', { source, detailType });
  }
  const start = deps.clock.now().getTime();
  if (start - message.sentAt.getTime() >= STALE_MS) return skipped('stale');
  return withTimeLimit(LIMIT_MS, message.signal, deps, (signal, limited) =>
    pollMinute(message, start, signal, limited),
  );
}

async function pollMinute(
  message: Message,
  start: number,
  signal: AbortSignal,
  deps: ScalingDeps,
): Promise<Outcome> {
  const until = new Date(start + LIMIT_MS);
  const record = await HeldRecord.take({ id: message.id, until, isHint: false }, deps);
  // A poll because of hints takes seconds and reads a few sources.
  if (record === 'hint') return retryLater('hint-in-progress', { afterSeconds: 2 });
  return record === 'minute' ? skipped('poll-in-progress') : pollSources(record, start, signal, deps);
}

async function pollSources(
  record: HeldRecord,
  start: number,
  signal: AbortSignal,
  deps: ScalingDeps,
): Promise<Outcome> {
  const groups = await deps.groups.all();
  const declared = new Set(groups.map(({ id }) => id));
  const sources = sourcesOf(groups);
  const polls = pollsOf(sources);
  const total: PollResult = { raised: {}, held: {} };
  for (const [index, { offsetMs, due }] of polls.entries()) {
    const waitMs = start + offsetMs - deps.clock.now().getTime();
    if (waitMs > 0) await deps.sleep(waitMs, signal);
    const { raised, held } = await poll(due, record, signal, deps);
    Object.assign(total.raised, raised);
    Object.assign(total.held, held);
    await record.save(declared, index === polls.length - 1);
  }
  return done({ sources: sources.length, polls: polls.length, ...total });
}

/** The polls of a minute, each with the sources that are due. There is always one, which also shows that the function runs. */
function pollsOf(sources: readonly Source[]): { offsetMs: number; due: Source[] }[] {
  const offsetsOf = ({ pollsPerMinute }: Source) => OFFSETS_MS[pollsPerMinute] ?? [0];
  const offsets = new Set([0, ...sources.flatMap(offsetsOf)]);
  return [...offsets]
    .sort((a, b) => a - b)
    .map((offsetMs) => ({
      offsetMs,
      due: sources.filter((source) => offsetsOf(source).includes(offsetMs)),
    }));
}
