import { ownEvent, scheduleSource } from '../../shared/runtime/envelope.ts';
import type { Message } from '../../shared/runtime/message.ts';
import { dead, done, type Outcome, skipped } from '../../shared/runtime/outcome.ts';
import { untilAborted } from '../../shared/runtime/until-aborted.ts';
import { type PollResult, poll } from './poll.ts';
import type { ScalingDeps } from './ports.ts';
import { HeldRecord } from './record.ts';
import { type Source, sourcesOf } from './sources.ts';

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

/** Handles the message of one minute: polls each source as often as its groups ask for. */
export async function handleScalingMessage(message: Message, allDeps: ScalingDeps): Promise<Outcome> {
  const { source, detailType } = ownEvent(message);
  if (`${source} ${detailType}` !== `${scheduleSource(allDeps.prefix)} Backlog Poll Due`) {
    return dead('unknown-event', { source, detailType });
  }
  const start = allDeps.clock.now().getTime();
  if (start - message.sentAt.getTime() >= STALE_MS) return skipped('stale');
  const signal = AbortSignal.any([message.signal, AbortSignal.timeout(LIMIT_MS)]);
  const deps: ScalingDeps = {
    ...allDeps,
    store: untilAborted(signal, allDeps.store, ['write']),
    autoScaling: untilAborted(signal, allDeps.autoScaling, ['setDesired']),
  };
  try {
    const record = await HeldRecord.take(message.id, new Date(start + LIMIT_MS), deps);
    return record ? await pollMinute(record, start, signal, deps) : skipped('poll-in-progress');
  } catch (error) {
    deps.metrics.add('ScalingFailures', 1, {});
    throw error;
  }
}

async function pollMinute(
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
