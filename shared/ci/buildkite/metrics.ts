import * as v from 'valibot';
import type { Clock } from '../../runtime/clock.ts';
import { issuesText } from '../../runtime/validate.ts';
import type { QueueCounts } from '../backlog.ts';
import type { Secrets } from '../credential.ts';
import { type CallOptions, ProviderError, type SettingsOf } from '../provider.ts';
import { callProvider } from '../request.ts';
import { withAgentToken } from './token.ts';

const count = v.pipe(v.number(), v.integer(), v.minValue(0));

const metricsSchema = v.object({
  jobs: v.object({ queues: v.record(v.string(), v.object({ scheduled: count, running: count })) }),
});

/** Least time between two reads, in seconds, as the answer names it. */
const POLL_HEADER = 'buildkite-agent-metrics-poll-duration';

/**
 * The jobs of every queue of the cluster that the agent token belongs to, in one call. "Scheduled" jobs wait for an agent. Those that
 * wait for another step are "waiting" and do not count. A queue without jobs and agents is missing.
 *
 * @throws {ProviderError}
 */
export async function buildkiteMetrics(
  settings: Pick<SettingsOf<'bk'>, 'apiUrl' | 'tokenSecret'>,
  { secrets, clock }: { secrets: Secrets; clock: Clock },
  options: CallOptions,
): Promise<{ queues: ReadonlyMap<string, QueueCounts>; pollSeconds: number }> {
  const url = `${settings.apiUrl.replace(/\/+$/, '')}/metrics`;
  const { body, headers } = await withAgentToken(secrets, settings.tokenSecret, (token) =>
    callProvider(
      { provider: 'Buildkite', method: 'GET', url, headers: { authorization: `Token ${token}` } },
      { ...options, clock },
    ),
  );
  const parsed = v.safeParse(metricsSchema, body);
  if (!parsed.success) {
    throw new ProviderError(
      'unavailable',
      `Buildkite's metrics have another format: ${issuesText(parsed.issues)}`,
    );
  }
  const queues = Object.entries(parsed.output.jobs.queues).map(
    ([queue, { scheduled, running }]) => [queue, { queued: scheduled, running }] as const,
  );
  const pollSeconds = Number(headers.get(POLL_HEADER));
  return { queues: new Map(queues), pollSeconds: Number.isFinite(pollSeconds) ? pollSeconds : 0 };
}
