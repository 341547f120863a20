import { blockBudget, observeRateLimit, takeBudget } from '../../shared/ci/budget.ts';
import { type CallOptions, ProviderError, type RateLimit } from '../../shared/ci/provider.ts';
import { errorText } from '../../shared/runtime/errors.ts';
import type { BacklogReader, ScalingDeps } from './ports.ts';

/**
 * Calls that cost as much as one write of the budget: of GitHub's points per minute a write costs 5, and a read 1 (REST API, "About
 * secondary rate limits").
 */
const READS_PER_WRITE = 5;

/**
 * Reads a backlog with calls from the budget of its installation, which registrations use too, and writes down what the answers
 * showed about the provider's limits.
 *
 * @throws {ProviderError} `rate-limited` also if the budget is spent
 */
export async function readSource<T>(
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
      const taken = await takeBudget(installation, writes, 'low', deps);
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
