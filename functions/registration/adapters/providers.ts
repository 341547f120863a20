import type { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { type SecretReader, secretReader } from '../../../shared/aws/secret-reader.ts';
import { buildkiteAgents } from '../../../shared/ci/buildkite/agents.ts';
import { circleciAgents } from '../../../shared/ci/circleci/credentials.ts';
import { type GithubShared, githubRunners } from '../../../shared/ci/github/runners.ts';
import type { Clock } from '../../../shared/runtime/clock.ts';
import type { Providers } from '../ports.ts';

/** The three CI providers, with secrets of Secrets Manager. Tokens are cached as long as the execution environment lives. */
export function ciProviders(client: Pick<SecretsManagerClient, 'send'>, clock: Clock): Providers {
  const readers = new Map<string, SecretReader>();
  const secrets = (secretId: string) => {
    const reader = readers.get(secretId) ?? secretReader(client, secretId, clock);
    readers.set(secretId, reader);
    return reader;
  };
  const shared: GithubShared = { secrets, clock, tokens: new Map(), runnerGroups: new Map() };
  return {
    async open(settings, key, options) {
      switch (settings.provider) {
        case 'gha':
          return githubRunners(settings, key, shared, options);
        case 'bk':
          return buildkiteAgents(settings, shared, options);
        case 'cci':
          return circleciAgents(settings, secrets);
      }
    },
  };
}
