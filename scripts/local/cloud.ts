import { randomBytes } from 'node:crypto';
import { type FunctionSpec, readFunctionSpecs } from '../functions/spec.ts';
import { type AutoScaling, createAutoScaling } from './autoscaling/service.ts';
import { type CiService, startCiService } from './ci/service.ts';
import { type Clients, createClients } from './clients.ts';
import { type CloudWatch, createCloudWatch } from './cloudwatch/service.ts';
import { type Deployed, deploy } from './deploy/deploy.ts';
import { queueNames } from './deploy/names.ts';
import type { AlarmSettings, Deployment, GroupSettings, WarmingSetSettings } from './deploy/settings.ts';
import type { Descriptor } from './descriptor.ts';
import { roleSender } from './gateway/callers.ts';
import { createFeed, type Feed } from './gateway/feed.ts';
import { type Gateway, startGateway } from './gateway/gateway.ts';
import { cleanRun } from './janitor/clean.ts';
import { guard } from './janitor/guard.ts';
import { openRunFolder } from './janitor/run-folder.ts';
import { startMetadataServer } from './metadata/server.ts';
import { type MiniStack, startMiniStack } from './ministack/start.ts';
import { createPagerDuty, type PagerDuty } from './pagerduty/receiver.ts';
import { pagerDutyService } from './pagerduty-service.ts';
import { parameterObserver } from './parameter-bridge.ts';
import { servicePublisher } from './publish.ts';
import { startQueueMetrics } from './queue-metrics.ts';
import { createRunners, type Runners } from './runners/supervisor.ts';
import type { Home, OutgoingEvent, PublishEvent } from './service.ts';

export type CloudOptions = {
  /** The repository. */
  root: string;
  groups?: readonly GroupSettings[];
  warmingSets?: Readonly<Record<string, WarmingSetSettings>>;
  replicaRegions?: readonly string[];
  alarms?: readonly AlarmSettings[];
  /** Which functions to deploy; all if absent. */
  functions?: readonly string[];
  /** What a launched machine is: a runner process, or nothing, for tests that speak for their machines themselves. */
  machines?: 'runners' | 'none';
  /** By how much CloudWatch's minutes are shortened; 60 makes them seconds, and is usual. */
  cloudWatchTimeScale?: number;
  /** Records a batch, instead of what each function.json says. */
  batchSize?: number;
  /** How often an Auto Scaling event is delivered; once if absent. */
  deliveries?(event: OutgoingEvent): number;
};

/** A lifecycle action that is over. */
export type EndedAction = { instanceId: string; hook: string; result: string; cause: string };

/** A whole local cloud with Hearth deployed in it. */
export type Cloud = Deployed & {
  /** `AWS_ENDPOINT_URL` of everything in it. */
  url: string;
  deployment: Deployment;
  /** Where it writes: logs, temporary files, the runners' disks. Gone after `stop`. */
  folder: string;
  /** The operator's clients. */
  clients: Clients;
  gateway: Gateway;
  autoScaling: AutoScaling;
  /** Every lifecycle action that is over. */
  endedActions: Feed<EndedAction>;
  runners: Runners;
  /** The CI service whose jobs the runners' agents take. */
  ci: CiService;
  cloudWatch: CloudWatch;
  pagerDuty: PagerDuty;
  /** PagerDuty's integration keys, by route: what an operator puts into the routing secret. */
  routingKeys: Readonly<Record<'default' | 'critical', string>>;
  /** Puts an event on the bus as an AWS service would. */
  publish: PublishEvent;
  ministackPid: number;
  /** How another program reaches it; `writeDescriptor` opens it to them. */
  descriptor: Descriptor;
  /** Fulfilled with what happened if MiniStack ends by itself; the cloud is of no use then. */
  died: Promise<string>;
  /** Stops everything and removes what was written. May be called twice. */
  stop(): Promise<void>;
};

const HOME: Home = { account: '111122223333', region: 'us-west-2' };
const PREFIX = 'aw';
const BUCKET = 'aw-warming-local';

/** What has to be closed again, in the order in which it was started. */
type Closers = (() => unknown)[];

/**
 * Starts MiniStack, the emulated services and the gateway, and deploys the built functions.
 *
 * @throws if anything does not start; nothing is left running then
 */
export async function startCloud(options: CloudOptions): Promise<Cloud> {
  const folder = await openRunFolder(options.root);
  guard(options.root, folder);
  const closers: Closers = [];
  let stopped: Promise<void> | undefined;
  const stop = () => {
    stopped ??= stopAll(closers, folder);
    return stopped;
  };
  try {
    const ministack = await startMiniStack({ root: options.root, folder, home: HOME });
    closers.push(() => ministack.stop());
    const gateway = await startGateway(ministack.url);
    closers.push(() => gateway.close());
    return { ...(await furnish(options, { folder, ministack, gateway, closers })), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Puts the emulated services and the deployment into an empty cloud. */
async function furnish(
  options: CloudOptions,
  empty: { folder: string; ministack: MiniStack; gateway: Gateway; closers: Closers },
): Promise<Omit<Cloud, 'stop'>> {
  const { folder, ministack, gateway, closers } = empty;
  const deployment = deploymentOf(options, gateway.url);
  const publish = servicePublisher(ministack.url, HOME);
  const routingKeys = { default: routingKey(), critical: routingKey() };
  const pagerDuty = createPagerDuty({ routingKeys });
  gateway.mount(pagerDutyService(pagerDuty));
  gateway.observe(parameterObserver(HOME, publish, onError));
  const cloudWatch = addCloudWatch(options, empty, publish);

  const metadata = await startMetadataServer((instanceId) => autoScaling.facts(instanceId));
  closers.push(() => metadata.close());
  const ci = await startCiService();
  closers.push(() => ci.close());
  const runners = createRunners({
    root: options.root,
    folder,
    deployment,
    callers: gateway.callers,
    gatewayUrl: gateway.url,
    reportsUrl: queueNames(deployment, gateway.url).url(`${PREFIX}-reports`),
    ciUrl: ci.url,
    metadataEndpointOf: metadata.endpointOf,
    onError,
  });
  closers.push(() => runners.stop());
  const withRunners = options.machines !== 'none';
  const endedActions = createFeed<EndedAction>();
  const autoScaling = createAutoScaling({
    home: HOME,
    publish,
    onLaunch: (machine) => (withRunners ? runners.launch(machine) : undefined),
    onTerminate: (machine) => (withRunners ? runners.terminate(machine) : undefined),
    onError,
    onActionEnded(instanceId, { hook, ended }) {
      if (ended) endedActions.add({ instanceId, hook: hook.name, result: ended.result, cause: ended.cause });
    },
    ...(options.deliveries && { deliveries: options.deliveries }),
  });
  closers.push(() => autoScaling.stop());
  gateway.mount(autoScaling);

  const operator = gateway.callers.issue({ name: 'operator', senderId: roleSender('operator', 'operator') });
  const clients = createClients(gateway.url, HOME.region, operator);
  const specs = await specsOf(options);
  const to = { root: options.root, gatewayUrl: gateway.url };
  const deployed = await deploy(clients, specs, deployment, to);
  return {
    ...deployed,
    url: gateway.url,
    deployment,
    folder,
    clients,
    gateway,
    autoScaling,
    endedActions,
    runners,
    ci,
    cloudWatch,
    pagerDuty,
    routingKeys,
    publish,
    ministackPid: ministack.pid,
    descriptor: { url: gateway.url, ...HOME, prefix: PREFIX, bucket: BUCKET, ...operator },
    died: ministack.died,
  };
}

/** Mounts CloudWatch and everything that it is fed from: the functions' logs, and SQS's own measuring. */
function addCloudWatch(
  options: CloudOptions,
  { ministack, gateway, closers }: { ministack: MiniStack; gateway: Gateway; closers: Closers },
  publish: PublishEvent,
): CloudWatch {
  const timeScale = options.cloudWatchTimeScale ?? 60;
  const cloudWatch = createCloudWatch({ home: HOME, publish, onError, timeScale });
  closers.push(() => cloudWatch.stop());
  gateway.mount(cloudWatch);
  gateway.functions.lines.follow(({ text }) => cloudWatch.ingest(text));
  const queueMetrics = startQueueMetrics({
    emulator: ministack.url,
    home: HOME,
    timeScale,
    ingest: cloudWatch.ingest,
    onError,
  });
  closers.push(() => queueMetrics.stop());
  return cloudWatch;
}

function deploymentOf(options: CloudOptions, gatewayUrl: string): Deployment {
  return {
    home: HOME,
    prefix: PREFIX,
    bucket: BUCKET,
    groups: options.groups ?? [],
    warmingSets: options.warmingSets ?? {},
    replicaRegions: options.replicaRegions ?? [],
    alarms: options.alarms ?? [],
    pagerDutyUrl: gatewayUrl,
  };
}

async function specsOf({ root, functions, batchSize }: CloudOptions): Promise<FunctionSpec[]> {
  const specs = await readFunctionSpecs(root);
  return specs
    .filter(({ name }) => functions?.includes(name) ?? true)
    .map((spec) => ({ ...spec, ...(batchSize !== undefined && { batchSize }) }));
}

/** Integration keys have 32 characters (PagerDuty Events API v2). */
function routingKey(): string {
  return randomBytes(16).toString('hex');
}

/** What went wrong where nobody waits for an answer. */
function onError(error: unknown): void {
  console.error(`local cloud: ${String(error)}`);
}

/** Stops in the reverse order of starting, whatever fails on the way, and cleans up at the end. */
async function stopAll(closers: Closers, folder: string): Promise<void> {
  const failures: unknown[] = [];
  for (const close of [...closers].reverse()) {
    try {
      await close();
    } catch (error) {
      failures.push(error);
    }
  }
  await cleanRun(folder);
  if (failures.length > 0) throw new AggregateError(failures, 'the local cloud did not stop cleanly');
}
