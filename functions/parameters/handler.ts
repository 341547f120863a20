import { AutoScalingClient } from '@aws-sdk/client-auto-scaling';
import { S3Client } from '@aws-sdk/client-s3';
import { SSMClient } from '@aws-sdk/client-ssm';
import { clientSettings } from '../../shared/runtime/client-settings.ts';
import { defineFunction } from '../../shared/runtime/define-function.ts';
import { s3Store } from '../../shared/snapshot/store.ts';
import { autoScalingGroups } from './adapters/auto-scaling-groups.ts';
import { parameterStore } from './adapters/parameter-store.ts';
import { singleFlight } from './coalesce.ts';
import { parametersEnv } from './env.ts';
import { handleParametersMessage, RETRY_FOR_MS } from './handle.ts';
import { treeRegions } from './names.ts';
import type { ReconcileDeps } from './ports.ts';
import { reconcile } from './reconcile.ts';

export const handler = defineFunction({
  name: 'parameters',
  env: parametersEnv,
  retryFor: RETRY_FOR_MS,
  connect: (env, { clock, logger, metrics }) => {
    const deps: ReconcileDeps = {
      prefix: env.NAME_PREFIX,
      root: env.PARAMETER_ROOT,
      store: s3Store(new S3Client(clientSettings('lambda')), env.BUCKET),
      groups: autoScalingGroups(new AutoScalingClient(clientSettings('lambda')), env.NAME_PREFIX),
      // Lambda sets AWS_REGION.
      regions: treeRegions(process.env.AWS_REGION ?? '', env.REPLICA_REGIONS).map((region, index) => ({
        region: index === 0 ? 'home' : region,
        port: parameterStore(
          new SSMClient(index === 0 ? clientSettings('lambda') : clientSettings('lambda', region)),
        ),
      })),
      deletions: { external: new Set(), own: new Set() },
      clock,
      metrics,
      logger,
    };
    const passes = singleFlight(
      (signal) => reconcile(deps, signal),
      ({ outcome }) => outcome.outcome === 'done',
      clock,
    );
    return { ...deps, bucket: env.BUCKET, passes };
  },
  handle: handleParametersMessage,
});
