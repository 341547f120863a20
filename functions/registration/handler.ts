import { AutoScalingClient } from '@aws-sdk/client-auto-scaling';
import { S3Client } from '@aws-sdk/client-s3';
import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { declaredGroups } from '../../shared/fleet/declared-groups.ts';
import { MAX_REQUEST_BYTES } from '../../shared/fleet/registration.ts';
import { clientSettings } from '../../shared/runtime/client-settings.ts';
import { defineFunction, type Tools } from '../../shared/runtime/define-function.ts';
import { defineUrlFunction, urlOrInbox } from '../../shared/runtime/define-url-function.ts';
import type { Env } from '../../shared/runtime/env.ts';
import { s3Store } from '../../shared/snapshot/store.ts';
import { autoScalingPort } from './adapters/auto-scaling.ts';
import { ciProviders } from './adapters/providers.ts';
import { refusalBody } from './answers.ts';
import { registrationEnv } from './env.ts';
import { handleMessage, retryForMs } from './handle-message.ts';
import { handleRequest } from './handle-request.ts';
import type { RegistrationDeps } from './ports.ts';

let connected: RegistrationDeps | undefined;

/** The same clients and caches for requests and for messages of one execution environment. */
function connect(env: Env<typeof registrationEnv>, { clock, logger, metrics }: Tools): RegistrationDeps {
  if (connected) return connected;
  const store = s3Store(new S3Client(clientSettings('lambda')), env.BUCKET);
  connected = {
    prefix: env.NAME_PREFIX,
    account: env.ACCOUNT_ID,
    groups: declaredGroups(store, clock),
    providers: ciProviders(new SecretsManagerClient(clientSettings('lambda')), clock),
    autoScaling: autoScalingPort(new AutoScalingClient(clientSettings('lambda')), env.NAME_PREFIX),
    store,
    states: new Map(),
    turns: new Map(),
    lists: new Map(),
    metrics,
    logger,
    clock,
    random: Math.random,
  };
  return connected;
}

const shared = { name: 'registration', env: registrationEnv, connect };

export const handler = urlOrInbox(
  defineUrlFunction({
    ...shared,
    maxBodyBytes: MAX_REQUEST_BYTES,
    // Below the 30 s that aw-runner waits for an answer.
    limitMs: 25_000,
    handle: handleRequest,
    failureBody: ({ afterSeconds }) => refusalBody('unavailable', afterSeconds),
  }),
  defineFunction({ ...shared, retryFor: retryForMs, handle: handleMessage }),
);
