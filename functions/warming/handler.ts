import { autoScalingClient } from '../../shared/runtime/clients/auto-scaling.ts';
import { s3Client } from '../../shared/runtime/clients/s3.ts';
import { defineFunction } from '../../shared/runtime/define-function.ts';
import { s3Store } from '../../shared/snapshot/store.ts';
import { capacityPort } from './auto-scaling.ts';
import { warmingEnv } from './env.ts';
import { handleWarmingMessage } from './handle.ts';

export const handler = defineFunction({
  name: 'warming',
  env: warmingEnv,
  connect: (env, { clock, logger, metrics }) => ({
    bucket: env.BUCKET,
    context: {
      prefix: env.NAME_PREFIX,
      sets: env.WARMING_SETS,
      store: s3Store(s3Client(), env.BUCKET),
      capacity: capacityPort(autoScalingClient()),
      findings: { layers: new Map(), snapshots: new Map() },
      metrics,
      clock,
      warn: (message: string, detail: Record<string, unknown>) => logger.warn(message, detail),
    },
  }),
  handle: (message, { bucket, context }) => handleWarmingMessage(message, bucket, context),
});
