import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import * as v from 'valibot';
import type { Clock } from '../runtime/clock.ts';
import type { RateLimit } from './provider.ts';

/**
 * One record per installation, shared by all execution environments: how many writes went to the provider in each second of the
 * last minute. GitHub allows 900 points per minute, of which a write costs 5 (REST API, "About secondary rate limits"): 180.
 */

/** Folder of the budgets in the bucket of the deployment. */
const BUDGETS = 'registrations/budgets/';

/** Writes per minute. */
const PER_MINUTE = 150;

/** Share that releases and clean-ups may use up: the rest is for instances that wait for a registration. */
const LOW_PRIORITY_SHARE = 0.6;

/**
 * Reads that polls always may make, in writes: together with `PER_MINUTE` still below GitHub's limit. Without them, instances that take
 * registrations use up the budget, and the groups of the installation stop growing in the hour in which they have to.
 */
const READS_PER_MINUTE = 28;

const WINDOW_SECONDS = 60;

/** GitHub counts `generate-jitconfig` in a limit of its own, 10,000 per hour, which its headers call this. */
const REGISTRATION_LIMIT = 'actions_runner_registration';

/** Share of another limit below which writes are slowed down: lists, polls and removals share those of the whole API. */
const LOW_SHARE = 0.1;

/** Attempts of a conditional write. Ten requests run at once, or ten records of a batch. */
const ATTEMPTS = 8;

/** Longest wait after which a refused caller comes back, in seconds. */
const MAX_WAIT_SECONDS = 60;

const budgetSchema = v.object({
  version: v.literal(1),
  /** Second since 1970 and number of writes in it, oldest first. */
  recent: v.array(v.tuple([v.number(), v.number()])),
  /** The same for reads of polls, in writes. */
  reads: v.optional(v.array(v.tuple([v.number(), v.number()]))),
  /** Second since 1970 until which the provider refuses calls. */
  blockedUntil: v.optional(v.number()),
  /** A lower limit than the default, until the provider's limit is reset. */
  lowered: v.optional(
    v.object({
      perMinute: v.number(),
      until: v.number(),
      /** Whether the limit is the one of registrations, which reads have no part in. */
      isOfRegistrations: v.optional(v.boolean()),
    }),
  ),
});
type BudgetState = v.InferOutput<typeof budgetSchema>;

const EMPTY: BudgetState = { version: 1, recent: [] };

/** `issue` comes first. `low`: releases and clean-ups. `read`: polls, which have a part of their own besides what is free. */
export type Priority = 'issue' | 'low' | 'read';

/** The bucket, as far as budgets need it. */
type BudgetStore = {
  read(key: string): Promise<{ text: string; etag: string } | undefined>;
  write(
    key: string,
    value: unknown,
    precondition: { ifNoneMatch: true } | { ifMatch: string },
  ): Promise<string | undefined>;
};

type Deps = {
  store: BudgetStore;
  clock: Clock;
  /** In [0, 1): spreads the callers that are sent away. */
  random: () => number;
};

/** `waitSeconds`: the budget is spent, and the caller comes back after about that long. */
export type Taken = 'taken' | { waitSeconds: number };

/** Takes `writes` from the budget of an installation. Without an installation there is nothing to save. */
export async function takeBudget(
  installation: string | undefined,
  writes: number,
  priority: Priority,
  { store, clock, random }: Deps,
): Promise<Taken> {
  if (installation === undefined) return 'taken';
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    const now = Math.floor(clock.now().getTime() / 1000);
    const { state, etag } = await read(store, installation);
    const waitSeconds = waitFor(state, writes, priority, now);
    // Spread over as long again: callers that were refused together do not come back together.
    if (waitSeconds > 0)
      return { waitSeconds: Math.ceil(Math.min(MAX_WAIT_SECONDS, waitSeconds) * (1 + random())) };
    const written = await write(store, installation, spend(state, writes, priority, now), etag);
    if (written !== undefined) return 'taken';
    await sleep(10 + 40 * random());
  }
  return { waitSeconds: 1 + Math.ceil(2 * random()) };
}

/** Writes down that the provider refuses calls for some time. */
export async function blockBudget(
  installation: string | undefined,
  seconds: number,
  deps: Deps,
): Promise<void> {
  const until = Math.ceil(deps.clock.now().getTime() / 1000 + seconds);
  await change(installation, deps, (state) =>
    (state.blockedUntil ?? 0) >= until ? undefined : { ...state, blockedUntil: until },
  );
}

/**
 * Lowers the limit if the provider's own would not last until its reset at the present one. Another limit than that of registrations
 * counts only when little is left of it. A limit that lasts changes nothing, so the usual answer costs no write.
 */
export async function observeRateLimit(
  installation: string | undefined,
  { resource, limit, remaining, resetAt }: RateLimit,
  deps: Deps,
): Promise<void> {
  if (resource !== REGISTRATION_LIMIT && remaining >= limit * LOW_SHARE) return;
  const now = deps.clock.now().getTime() / 1000;
  const until = Math.ceil(resetAt.getTime() / 1000);
  const minutes = Math.max(1, (until - now) / 60);
  const perMinute = Math.floor(remaining / minutes);
  if (perMinute >= PER_MINUTE) return;
  await change(installation, deps, (state) => {
    const current = state.lowered && state.lowered.until > now ? state.lowered.perMinute : PER_MINUTE;
    // Ten per cent less, so that not each answer is a write.
    if (perMinute >= current * 0.9) return undefined;
    const isOfRegistrations = resource === REGISTRATION_LIMIT;
    return { ...state, lowered: { perMinute, until, ...(isOfRegistrations && { isOfRegistrations }) } };
  });
}

async function change(
  installation: string | undefined,
  { store, random }: Deps,
  next: (state: BudgetState) => BudgetState | undefined,
): Promise<void> {
  if (installation === undefined) return;
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    const { state, etag } = await read(store, installation);
    const changed = next(state);
    if (!changed || (await write(store, installation, changed, etag)) !== undefined) return;
    await sleep(10 + 40 * random());
  }
}

/** Seconds until `writes` fit; 0 if they fit now. */
function waitFor(state: BudgetState, writes: number, priority: Priority, now: number): number {
  const blocked = (state.blockedUntil ?? 0) - now;
  if (blocked > 0) return blocked;
  const lowered = state.lowered && state.lowered.until > now ? state.lowered : undefined;
  const perMinute = lowered?.perMinute ?? PER_MINUTE;
  // One write per minute always gets through: its answer shows whether the limit still holds.
  const limit = Math.max(writes, Math.floor(perMinute * (priority === 'issue' ? 1 : LOW_PRIORITY_SHARE)));
  const recent = within(state.recent, now);
  const reads = within(state.reads ?? [], now);
  const hasOwnPart = lowered === undefined || lowered.isOfRegistrations === true;
  if (priority === 'read' && hasOwnPart && sumOf(reads) + writes <= READS_PER_MINUTE) return 0;
  // What polls read in their own part takes nothing from the others.
  const shared = hasOwnPart ? beyond(reads, READS_PER_MINUTE) : reads;
  return waitUntil(
    [...recent, ...shared].sort(([a], [b]) => a - b),
    writes,
    limit,
    now,
  );
}

type Counts = readonly (readonly [second: number, count: number])[];

function within(counts: Counts, now: number): Counts {
  return counts.filter(([second]) => second > now - WINDOW_SECONDS);
}

function sumOf(counts: Counts): number {
  return counts.reduce((sum, [, count]) => sum + count, 0);
}

/** What is left of counts without the first `part` of them. */
function beyond(counts: Counts, part: number): Counts {
  let left = part;
  return counts.flatMap(([second, count]) => {
    const rest = count - Math.min(left, count);
    left -= count - rest;
    return rest > 0 ? [[second, rest] as const] : [];
  });
}

function waitUntil(recent: Counts, writes: number, limit: number, now: number): number {
  let over = sumOf(recent) + writes - limit;
  if (over <= 0) return 0;
  for (const [second, count] of recent) {
    over -= count;
    if (over <= 0) return second + WINDOW_SECONDS - now;
  }
  return WINDOW_SECONDS;
}

function spend(state: BudgetState, writes: number, priority: Priority, now: number): BudgetState {
  const counted = (counts: Counts, more: number) => {
    const recent = within(counts, now).map(([second, count]): [number, number] => [second, count]);
    const last = recent.at(-1);
    if (last?.[0] === now) last[1] += more;
    else if (more > 0) recent.push([now, more]);
    return recent;
  };
  const isRead = priority === 'read';
  const reads = counted(state.reads ?? [], isRead ? writes : 0);
  const { reads: _, ...rest } = state;
  return {
    ...rest,
    recent: counted(state.recent, isRead ? 0 : writes),
    ...(reads.length > 0 && { reads }),
  };
}

async function read(store: Deps['store'], installation: string) {
  const stored = await store.read(budgetKey(installation));
  if (!stored) return { state: structuredClone(EMPTY), etag: undefined };
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), budgetSchema), stored.text);
  // A budget of another format counts nothing that matters for longer than a minute.
  return { state: parsed.success ? parsed.output : structuredClone(EMPTY), etag: stored.etag };
}

function write(store: Deps['store'], installation: string, state: BudgetState, etag: string | undefined) {
  const key = budgetKey(installation);
  return store.write(key, state, etag === undefined ? { ifNoneMatch: true } : { ifMatch: etag });
}

/** The name of the installation would not be a key: it contains a URL. */
function budgetKey(installation: string): string {
  return `${BUDGETS}${createHash('sha256').update(installation).digest('hex').slice(0, 32)}.json`;
}
