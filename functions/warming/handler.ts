import { AutoScalingClient } from '@aws-sdk/client-auto-scaling';
import { S3Client } from '@aws-sdk/client-s3';
import { clientSettings } from '../../shared/runtime/client-settings.ts';
import { defineFunction } from '../../shared/runtime/define-function.ts';
import { s3Store } from '../../shared/snapshot/store.ts';
import { capacityPort } from './adapters/capacity.ts';
import { warmingEnv } from './env.ts';
import { handleWarmingMessage, retryForMs } from './handle.ts';

export const handler = defineFunction({
  name: 'warming',
  env: warmingEnv,
  retryFor: retryForMs,
  connect: (env, { clock, logger, metrics }) => ({
    prefix: env.NAME_PREFIX,
    bucket: env.BUCKET,
    sets: env.WARMING_SETS,
    store: s3Store(new S3Client(clientSettings('lambda')), env.BUCKET),
    capacity: capacityPort(new AutoScalingClient(clientSettings('lambda'))),
    metrics,
    logger,
    clock,
  }),
  handle: handleWarmingMessage,
});
