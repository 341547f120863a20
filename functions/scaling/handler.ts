import { setTimeout as sleep } from 'node:timers/promises';
import { AutoScalingClient } from '@aws-sdk/client-auto-scaling';
import { S3Client } from '@aws-sdk/client-s3';
import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { declaredGroups } from '../../shared/fleet/declared-groups.ts';
import { clientSettings } from '../../shared/runtime/client-settings.ts';
import { defineFunction } from '../../shared/runtime/define-function.ts';
import { s3Store } from '../../shared/snapshot/store.ts';
import { autoScalingPort } from './adapters/auto-scaling.ts';
import { backlogs } from './adapters/backlogs.ts';
import { scalingEnv } from './env.ts';
import { handleScalingMessage, RETRY_FOR_MS } from './handle.ts';
import { freshMemory } from './ports.ts';

export const handler = defineFunction({
  name: 'scaling',
  env: scalingEnv,
  retryFor: RETRY_FOR_MS,
  connect: (env, { clock, logger, metrics }) => {
    const store = s3Store(new S3Client(clientSettings('lambda')), env.BUCKET);
    return {
      prefix: env.NAME_PREFIX,
      groups: declaredGroups(store, clock),
      backlogs: backlogs(new SecretsManagerClient(clientSettings('lambda')), clock),
      autoScaling: autoScalingPort(new AutoScalingClient(clientSettings('lambda')), env.NAME_PREFIX),
      store,
      memory: freshMemory(),
      metrics,
      logger,
      clock,
      sleep: (milliseconds, signal) => sleep(milliseconds, undefined, { signal }),
      random: Math.random,
    };
  },
  handle: handleScalingMessage,
});
