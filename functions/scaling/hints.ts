import { type BacklogHint, concerns } from '../../shared/fleet/backlog-hint.ts';
import type { Message } from '../../shared/runtime/message.ts';
import { done, type Outcome, retryLater, skipped } from '../../shared/runtime/outcome.ts';
import { poll } from './poll.ts';
import type { ScalingDeps } from './ports.ts';
import { HeldRecord } from './record.ts';
import { sourcesOf } from './sources.ts';
import { withTimeLimit } from './time-limit.ts';

/** Age from which a hint is worth nothing, in milliseconds: the poll of the minute has read its source. */
const STALE_MS = 55_000;

/** Least time from the start of a read of a source to that of the next one because of a hint, in milliseconds. */
const EVERY_MS = 10_000;

/** Time for which the hints of a batch meet, in milliseconds. */
const COLLECT_MS = 20;

/** Least time between two polls because of hints, in milliseconds: the poll of the minute has its place in between. */
const PAUSE_MS = 3_000;

/** Time limit of such a poll, in milliseconds. */
const LIMIT_MS = 20_000;

/** Wait while another invocation polls, in seconds. */
const BUSY_SECONDS = 5;

/**
 * Polls the sources that a hint names, unless they were read since. The hint decides no more than that: what the groups need follows
 * from the read. All hints of a batch share one poll.
 *
 * @param dueAt milliseconds since 1970: a read that begins at this time or later is enough
 */
export async function handleHint(
  about: BacklogHint,
  dueAt: number,
  message: Message,
  deps: ScalingDeps,
): Promise<Outcome> {
  const { clock, groups, memory } = deps;
  const now = clock.now().getTime();
  if (now - dueAt >= STALE_MS) return skipped('stale');
  const sources = sourcesOf((await groups.all()).filter(({ settings }) => concerns(about, settings)));
  if (sources.length === 0) return skipped('no-group');
  const unread = sources.map(({ name }) => name).filter((name) => readAt(name, deps) < dueAt);
  if (unread.length === 0) return skipped('already-read');
  const earliest = unread.map((name) =>
    Math.max(readAt(name, deps) + EVERY_MS, memory.notBefore.get(name)?.at ?? 0),
  );
  const waitMs = Math.max(...earliest, memory.hints.present ? 0 : memory.hints.notBefore) - now;
  if (waitMs > 0) return retryLater('read-recently', { afterSeconds: Math.ceil(waitMs / 1000) });
  memory.hints.present ??= begin(message, deps);
  for (const name of unread) memory.hints.present.sources.add(name);
  return memory.hints.present.outcome;
}

function readAt(name: string, { memory }: ScalingDeps): number {
  return memory.readAt.get(name) ?? Number.NEGATIVE_INFINITY;
}

/** A poll that begins when the hints of the batch have met. */
function begin(message: Message, deps: ScalingDeps) {
  const sources = new Set<string>();
  return { sources, outcome: pollTogether(sources, message, deps) };
}

async function pollTogether(
  sources: ReadonlySet<string>,
  message: Message,
  deps: ScalingDeps,
): Promise<Outcome> {
  const pause = () => ({ notBefore: deps.clock.now().getTime() + PAUSE_MS });
  try {
    await deps.sleep(COLLECT_MS, message.signal);
    deps.memory.hints = pause();
    return await withTimeLimit(LIMIT_MS, message.signal, deps, (signal, limited) =>
      pollSources(sources, message.id, signal, limited),
    );
  } finally {
    deps.memory.hints = pause();
  }
}

async function pollSources(
  names: ReadonlySet<string>,
  id: string,
  signal: AbortSignal,
  deps: ScalingDeps,
): Promise<Outcome> {
  const until = new Date(deps.clock.now().getTime() + LIMIT_MS);
  const record = await HeldRecord.take({ id, until, isHint: true }, deps);
  if (typeof record === 'string') return retryLater('poll-in-progress', { afterSeconds: BUSY_SECONDS });
  const groups = await deps.groups.all();
  const sources = sourcesOf(groups).filter(({ name }) => names.has(name));
  const result = await poll(sources, record, signal, deps);
  await record.save(new Set(groups.map((group) => group.id)), true);
  return done({ hinted: sources.length, ...result });
}
