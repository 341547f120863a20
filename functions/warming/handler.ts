import { AutoScalingClient } from '@aws-sdk/client-auto-scaling';
import { S3Client } from '@aws-sdk/client-s3';
import { clientSettings } from '../../shared/runtime/client-settings.ts';
import { defineFunction } from '../../shared/runtime/define-function.ts';
import { s3Store } from '../../shared/snapshot/store.ts';
import { capacityPort } from './auto-scaling.ts';
import { warmingEnv } from './env.ts';
import { handleWarmingMessage, retryForMs } from './handle.ts';

export const handler = defineFunction({
  name: 'warming',
  env: warmingEnv,
  retryFor: retryForMs,
  connect: (env, { clock, logger, metrics }) => ({
    bucket: env.BUCKET,
    context: {
      prefix: env.NAME_PREFIX,
      sets: env.WARMING_SETS,
      store: s3Store(new S3Client(clientSettings('lambda')), env.BUCKET),
      capacity: capacityPort(new AutoScalingClient(clientSettings('lambda'))),
      findings: { layers: new Map(), snapshots: new Map() },
      metrics,
      clock,
      warn: (message: string, detail: Record<string, unknown>) => logger.warn(message, detail),
    },
  }),
  handle: handleWarmingMessage,
});
