import { join } from 'node:path';
import type { FunctionSpec } from '../../../shared/runtime/function-spec.ts';
import type { Clients } from '../clients.ts';
import type { FunctionUrls } from '../function-urls/service.ts';
import { makeAlarm } from './alarms.ts';
import { environmentOf } from './environment.ts';
import { makeFunction } from './functions.ts';
import { makeGroup } from './groups.ts';
import { declareGroups } from './groups-file.ts';
import { lambdaName, type QueueNames, queueNames } from './names.ts';
import { makeQueues } from './queues.ts';
import type { Deployment } from './settings.ts';
import { declareParameters, makeBucket, makeSecrets } from './storage.ts';
import { type MadeSchedule, makeEventBus, makeSubscriptions } from './subscriptions.ts';
import { wrapperCode } from './wrapper-code.ts';

export type Deployed = { queues: QueueNames; schedules: readonly MadeSchedule[] };

/**
 * Makes in the local cloud what Terraform makes in an account, out of the same function.json files and the same zips.
 * The groups come last, since their instances begin to report at once.
 *
 * @throws if a bundle is missing, and every error of a service
 */
export async function deploy(
  clients: Clients,
  specs: readonly FunctionSpec[],
  deployment: Deployment,
  options: { root: string; gatewayUrl: string; functionUrls: FunctionUrls },
): Promise<Deployed> {
  const names = queueNames(deployment, options.gatewayUrl);
  const wrapper = await wrapperCode(options.root);
  const dist = join(options.root, 'dist');
  await makeBucket(clients.s3, deployment);
  await makeSecrets(clients.secrets, deployment);
  for (const spec of specs) await makeQueues(clients.sqs, spec, names);
  await makeEventBus(clients.events, deployment);
  const schedules: MadeSchedule[] = [];
  for (const spec of specs) {
    const environment = environmentOf(spec, deployment, names, options.gatewayUrl);
    await makeFunction(clients.lambda, spec, deployment, { names, environment, dist, wrapper });
    schedules.push(...(await makeSubscriptions(clients, spec, deployment, names)));
    for (const subscription of spec.subscriptions) {
      if (subscription.kind === 'url')
        options.functionUrls.add(lambdaName(deployment.prefix, spec.name), subscription.auth);
    }
  }
  await declareGroups(clients.s3, deployment);
  await declareParameters(clients.s3, deployment);
  for (const alarm of deployment.alarms) await makeAlarm(clients.cloudWatch, alarm, deployment);
  for (const group of deployment.groups) await makeGroup(clients.autoScaling, group, deployment);
  return { queues: names, schedules };
}
