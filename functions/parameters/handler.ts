import { AutoScalingClient } from '@aws-sdk/client-auto-scaling';
import { S3Client } from '@aws-sdk/client-s3';
import { SSMClient } from '@aws-sdk/client-ssm';
import { clientSettings } from '../../shared/runtime/client-settings.ts';
import { defineFunction } from '../../shared/runtime/define-function.ts';
import { s3Store } from '../../shared/snapshot/store.ts';
import { parametersEnv } from './env.ts';
import { autoScalingGroups } from './groups.ts';
import { handleParametersMessage, RETRY_FOR_MS } from './handle.ts';
import { looker } from './looker.ts';
import { parameterStore } from './parameter-store.ts';
import { type ParametersContext, reconcile } from './reconcile.ts';

export const handler = defineFunction({
  name: 'parameters',
  env: parametersEnv,
  retryFor: RETRY_FOR_MS,
  connect: (env, { clock, logger, metrics }) => {
    const context: ParametersContext = {
      prefix: env.NAME_PREFIX,
      root: env.PARAMETER_ROOT,
      store: s3Store(new S3Client(clientSettings('lambda')), env.BUCKET),
      groups: autoScalingGroups(new AutoScalingClient(clientSettings('lambda')), env.NAME_PREFIX),
      regions: [
        { region: 'home', port: parameterStore(new SSMClient(clientSettings('lambda'))) },
        ...env.REPLICA_REGIONS.map((region) => ({
          region,
          port: parameterStore(new SSMClient(clientSettings('lambda', region))),
        })),
      ],
      removals: { told: new Set(), own: new Set() },
      clock,
      countDrift: (count) => metrics.add('ParameterDrift', count, {}),
      warn: (message, detail) => logger.warn(message, detail),
    };
    return {
      prefix: env.NAME_PREFIX,
      root: env.PARAMETER_ROOT,
      bucket: env.BUCKET,
      removals: context.removals,
      looker: looker(
        () => reconcile(context),
        ({ outcome }) => outcome.outcome === 'done',
        clock,
      ),
    };
  },
  handle: handleParametersMessage,
});
