import { autoScalingClient } from '../../shared/runtime/clients/auto-scaling.ts';
import { s3Client } from '../../shared/runtime/clients/s3.ts';
import { ssmClient } from '../../shared/runtime/clients/ssm.ts';
import { defineFunction } from '../../shared/runtime/define-function.ts';
import { s3Store } from '../../shared/snapshot/store.ts';
import { parametersEnv } from './env.ts';
import { autoScalingGroups } from './groups.ts';
import { handleParametersMessage } from './handle.ts';
import { looker } from './looker.ts';
import { parameterStore } from './parameter-store.ts';
import { type ParametersContext, reconcile } from './reconcile.ts';

export const handler = defineFunction({
  name: 'parameters',
  env: parametersEnv,
  connect: (env, { clock, logger, metrics }) => {
    const context: ParametersContext = {
      prefix: env.NAME_PREFIX,
      root: env.PARAMETER_ROOT,
      store: s3Store(s3Client(), env.BUCKET),
      groups: autoScalingGroups(autoScalingClient(), env.NAME_PREFIX),
      regions: [
        { region: 'home', port: parameterStore(ssmClient()) },
        ...env.REPLICA_REGIONS.map((region) => ({ region, port: parameterStore(ssmClient(region)) })),
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
