import { blockBudget, observeRateLimit } from '../../shared/ci/budget.ts';
import {
  type CallOptions,
  ProviderError,
  type RateLimit,
  type RegistrationClient,
} from '../../shared/ci/provider.ts';
import { errorText } from '../../shared/runtime/errors.ts';
import type { RegistrationDeps, RunnerGroup } from './ports.ts';

/**
 * Opens the provider of a group, makes the calls of `use`, and writes down what the answers showed about the provider's limits. A
 * secret that cannot be used is a metric and a log line that names it.
 *
 * @param key selects one of several GitHub Apps
 * @throws {ProviderError}
 */
export async function withProvider<T>(
  group: RunnerGroup,
  key: string,
  signal: AbortSignal,
  deps: RegistrationDeps,
  use: (client: RegistrationClient) => Promise<T>,
): Promise<T> {
  const rates = new Map<string, RateLimit>();
  const options: CallOptions = { signal, onRateLimit: (rate) => rates.set(rate.resource, rate) };
  let installation: string | undefined;
  try {
    const client = await deps.providers.open(group.settings, key, options);
    installation = client.installation;
    return await use(client);
  } catch (error) {
    if (error instanceof ProviderError) await noteRefusal(error, installation, group, deps);
    throw error;
  } finally {
    for (const rate of rates.values()) await noted(deps, () => observeRateLimit(installation, rate, deps));
  }
}

async function noteRefusal(
  error: ProviderError,
  installation: string | undefined,
  group: RunnerGroup,
  deps: RegistrationDeps,
): Promise<void> {
  if (error.kind === 'credential') {
    deps.metrics.add('CredentialFailures', 1, {});
    deps.logger.error('credential not usable', { group: group.id, error: error.message });
  }
  const { afterSeconds } = error;
  if (error.kind === 'rate-limited' && afterSeconds !== undefined)
    await noted(deps, () => blockBudget(installation, afterSeconds, deps));
}

/** What is noted about limits only saves calls. If S3 refuses it, the answer that is at hand counts for more. */
async function noted({ logger }: RegistrationDeps, note: () => Promise<void>): Promise<void> {
  try {
    await note();
  } catch (error) {
    logger.warn('rate limit not noted', { error: errorText(error) });
  }
}
