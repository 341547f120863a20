import type { JobList, QueueCounts, QueuedJob } from '../../shared/ci/backlog.ts';
import { blockBudget, observeRateLimit, takeBudget } from '../../shared/ci/budget.ts';
import { type CallOptions, ProviderError, type RateLimit } from '../../shared/ci/provider.ts';
import { errorText } from '../../shared/runtime/errors.ts';
import { countedJobs } from './counted.ts';
import type { BacklogReader, RunnerGroup, ScalingDeps } from './ports.ts';
import type { Source } from './sources.ts';

/**
 * Calls that cost as much as one write of the budget: of GitHub's points per minute a write costs 5, and a read 1 (REST API, "About
 * secondary rate limits").
 */
const READS_PER_WRITE = 5;

/** The work of one source. */
export type Work = {
  queued: readonly QueuedJob[];
  /** Jobs that run, one by one, or their number by label of the group, with the labels whose jobs were taken since the last read. */
  running:
    | { kind: 'listed'; jobs: JobList['running'] }
    | { kind: 'counted'; byQueue: Map<string, number>; progress: ReadonlySet<string> };
  /** Whether a job that is not there does not exist. */
  isComplete: boolean;
};

/**
 * Reads the backlog of a source, and notes until when the provider wants no further read.
 *
 * @throws {ProviderError}
 */
export async function readSource(source: Source, signal: AbortSignal, deps: ScalingDeps): Promise<Work> {
  const [{ settings }] = source.groups;
  const { backlogs, clock, memory } = deps;
  const waitFor = (seconds: number, refusal?: string) => {
    const at = clock.now().getTime() + seconds * 1000;
    memory.notBefore.set(source.name, { at, ...(refusal !== undefined && { refusal }) });
  };
  try {
    switch (settings.provider) {
      case 'gha': {
        const open = (options: CallOptions) => backlogs.github(settings, workflowsOf(source), options);
        const { queued, running, isComplete } = await readWithinBudget(open, signal, deps);
        return { queued, running: { kind: 'listed', jobs: running }, isComplete };
      }
      case 'bk': {
        const { queues, pollSeconds } = await backlogs.buildkite(settings, { signal });
        waitFor(pollSeconds);
        return countedWork(source, (group) => group.provider === 'bk' && queues.get(group.queue), deps);
      }
      case 'cci': {
        const counts = await backlogs.circleci(settings, { signal });
        return countedWork(source, () => counts, deps);
      }
    }
  } catch (error) {
    if (error instanceof ProviderError && error.status !== undefined && error.afterSeconds !== undefined)
      waitFor(error.afterSeconds, error.message);
    throw error;
  }
}

/** @param countsOf of the queue of a group; a queue without jobs can be missing */
function countedWork(
  { name, groups }: Source,
  countsOf: (settings: RunnerGroup['settings']) => QueueCounts | false | undefined,
  deps: ScalingDeps,
): Work {
  const queued: QueuedJob[] = [];
  const byQueue = new Map<string, number>();
  const progress = new Set<string>();
  for (const group of groups) {
    const [queue = ''] = labelsOf(group);
    if (byQueue.has(queue)) continue;
    const counts = countsOf(group.settings) || { queued: 0, running: 0 };
    byQueue.set(queue, counts.running);
    const { jobs, isProgress } = countedJobs(name, queue, counts, deps);
    queued.push(...jobs);
    if (isProgress) progress.add(queue);
  }
  return { queued, running: { kind: 'counted', byQueue, progress }, isComplete: true };
}

/** What a job needs of a group, in lower case. Queues of Buildkite and resource classes of CircleCI are one label each. */
export function labelsOf({ id, settings }: RunnerGroup): string[] {
  switch (settings.provider) {
    case 'gha':
      return settings.labels.map((label) => label.toLowerCase());
    case 'bk':
      return [settings.queue];
    case 'cci':
      return [id];
  }
}

/** The workflows whose jobs count for a group; none: those of all. */
export function workflowIds({ settings }: RunnerGroup): readonly string[] {
  return (settings.provider === 'gha' && settings.workflowIds) || [];
}

/** The workflows of a source, if each group of it names its own; undefined: all. */
function workflowsOf({ groups }: Source): ReadonlySet<string> | undefined {
  const named = groups.map((group) => workflowIds(group));
  return named.every((ids) => ids.length > 0) ? new Set(named.flat()) : undefined;
}

/**
 * Reads a backlog with calls from the budget of its installation, which registrations use too, and writes down what the answers
 * showed about the provider's limits.
 *
 * @throws {ProviderError} `rate-limited` also if the budget is spent
 */
async function readWithinBudget<T>(
  open: (options: CallOptions) => Promise<BacklogReader<T>>,
  signal: AbortSignal,
  deps: ScalingDeps,
): Promise<T> {
  const rates = new Map<string, RateLimit>();
  let installation: string | undefined;
  // One write stands for the next five reads.
  let paid = 0;
  const reserve = async (calls: number) => {
    const writes = Math.ceil((calls - paid) / READS_PER_WRITE);
    if (writes > 0) {
      const taken = await takeBudget(installation, writes, 'read', deps);
      if (taken !== 'taken') {
        throw new ProviderError('rate-limited', 'the budget of the installation is spent', {
          afterSeconds: taken.waitSeconds,
        });
      }
      paid += writes * READS_PER_WRITE;
    }
    paid -= calls;
  };
  try {
    const reader = await open({ signal, onRateLimit: (rate) => rates.set(rate.resource, rate) });
    installation = reader.installation;
    return await reader.read(reserve);
  } catch (error) {
    const isRefusal =
      error instanceof ProviderError && error.kind === 'rate-limited' && error.status !== undefined;
    const seconds = isRefusal ? error.afterSeconds : undefined;
    if (seconds !== undefined) await noted(deps, () => blockBudget(installation, seconds, deps));
    throw error;
  } finally {
    for (const rate of rates.values()) await noted(deps, () => observeRateLimit(installation, rate, deps));
  }
}

/** What is noted about limits only saves calls. If S3 refuses it, the backlog that is at hand counts for more. */
async function noted({ logger }: ScalingDeps, note: () => Promise<void>): Promise<void> {
  try {
    await note();
  } catch (error) {
    logger.warn('rate limit not noted', { error: errorText(error) });
  }
}
