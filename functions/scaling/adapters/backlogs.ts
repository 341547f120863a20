import type { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { type SecretReader, secretReader } from '../../../shared/aws/secret-reader.ts';
import { buildkiteMetrics } from '../../../shared/ci/buildkite/metrics.ts';
import { circleciTasks } from '../../../shared/ci/circleci/tasks.ts';
import {
  type GithubBacklogShared,
  githubBacklog,
  withJobsRepository,
} from '../../../shared/ci/github/backlog.ts';
import type { Clock } from '../../../shared/runtime/clock.ts';
import type { Backlogs } from '../ports.ts';

/** The CI providers, with secrets of Secrets Manager. Tokens and answers are cached as long as the execution environment lives. */
export function backlogs(client: Pick<SecretsManagerClient, 'send'>, clock: Clock): Backlogs {
  const readers = new Map<string, SecretReader>();
  const secrets = (secretId: string) => {
    const reader = readers.get(secretId) ?? secretReader(client, secretId, clock);
    readers.set(secretId, reader);
    return reader;
  };
  const memory = { answers: new Map(), jobs: new Map() };
  const shared: GithubBacklogShared = { secrets, clock, tokens: new Map(), memory };
  return {
    github: async (settings, workflows, options) =>
      githubBacklog(withJobsRepository(settings), workflows, shared, options),
    buildkite: (settings, options) => buildkiteMetrics(settings, shared, options),
    circleci: (settings, options) => circleciTasks(settings, shared, options),
  };
}
