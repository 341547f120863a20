import { randomBytes } from 'node:crypto';
import { LambdaClient } from '@aws-sdk/client-lambda';
import { CI_PROVIDERS } from '../../shared/fleet/names.ts';
import { type FunctionSpec, readFunctionSpecs } from '../../shared/runtime/function-spec.ts';
import { createAutoScaling } from './autoscaling/service.ts';
import { installFakeAgent } from './ci/agents/install.ts';
import { type CiProviders, type ProviderEvents, startCiProviders } from './ci-providers.ts';
import { createClients } from './clients.ts';
import type { Cloud, CloudOptions, Disposables, EndedAction } from './cloud.ts';
import { type CloudWatch, createCloudWatch } from './cloudwatch/service.ts';
import { deploy } from './deploy/deploy.ts';
import { lambdaName, queueNames } from './deploy/names.ts';
import type { Deployment } from './deploy/settings.ts';
import { servicePublisher } from './event-publisher.ts';
import { createFunctionUrls, type FunctionUrls, functionUrl } from './function-urls/service.ts';
import { createFeed } from './gateway/feed.ts';
import type { Gateway } from './gateway/gateway.ts';
import { startMetadataServer } from './metadata/server.ts';
import type { MiniStack } from './ministack/start.ts';
import { createPagerDuty } from './pagerduty/receiver.ts';
import { pagerDutyService } from './pagerduty-service.ts';
import { parameterObserver } from './parameter-bridge.ts';
import { startQueueMetrics } from './queue-metrics.ts';
import { agentDirectory } from './runners/runner-config.ts';
import { createRunners } from './runners/supervisor.ts';
import type { Home, PublishEvent } from './service.ts';

/** Account and region of every local cloud. */
export const HOME: Home = { account: '111122223333', region: 'us-west-2' };
const PREFIX = 'aw';
const BUCKET = 'aw-warming-local';
/** The event bus of a partner event source has the name of the source. */
const BUILDKITE_BUS = 'aws.partner/buildkite.com/acme/local';

/** A cloud with nothing in it yet. */
type EmptyCloud = { folder: string; ministack: MiniStack; gateway: Gateway; disposables: Disposables };

/** Puts the emulated services and the deployment into an empty cloud. */
export async function composeServices(
  options: CloudOptions,
  empty: EmptyCloud,
): Promise<Omit<Cloud, 'stop'>> {
  const { folder, ministack, gateway, disposables } = empty;
  const publish = servicePublisher(ministack.url, HOME);
  const providers = await startCiProviders(folder, options.groups ?? [], eventsOf(options, gateway, publish));
  disposables.push(() => providers.close());
  const deployment = deploymentOf(options, gateway.url, providers);
  const routingKeys = { default: routingKey(), critical: routingKey() };
  const pagerDuty = createPagerDuty({ routingKeys });
  gateway.mount(pagerDutyService(pagerDuty));
  gateway.observe(parameterObserver(HOME, publish, onError));
  const cloudWatch = addCloudWatch(options, empty, publish);

  const metadata = await startMetadataServer((instanceId) => autoScaling.facts(instanceId));
  disposables.push(() => metadata.close());
  for (const provider of CI_PROVIDERS) installFakeAgent(provider, agentDirectory(folder, provider));
  const runners = createRunners({
    root: options.root,
    folder,
    deployment,
    callers: gateway.callers,
    gatewayUrl: gateway.url,
    reportsUrl: queueNames(deployment, gateway.url).url(`${PREFIX}-reports`),
    registrationUrl: functionUrl(gateway.url, lambdaName(PREFIX, 'registration')),
    metadataEndpointOf: metadata.endpointOf,
    onError,
  });
  disposables.push(() => runners.stop());
  const withRunners = options.instances !== 'none';
  const endedActions = createFeed<EndedAction>();
  const autoScaling = createAutoScaling({
    home: HOME,
    publish,
    onLaunch: (instance) => (withRunners ? runners.launch(instance) : undefined),
    onTerminate: (instance) => (withRunners ? runners.terminate(instance) : undefined),
    onError,
    onActionEnded(instanceId, { hook, ended }) {
      if (ended) endedActions.add({ instanceId, hook: hook.name, result: ended.result, cause: ended.cause });
    },
    ...(options.deliveries && { deliveries: options.deliveries }),
  });
  disposables.push(() => autoScaling.stop());
  gateway.mount(autoScaling);

  const operator = gateway.callers.issue({ name: 'operator', role: 'operator', session: 'operator' });
  const clients = createClients(gateway.url, HOME.region, operator);
  const specs = await specsOf(options);
  const functionUrls = addFunctionUrls(empty);
  const to = { root: options.root, gatewayUrl: gateway.url, functionUrls };
  const deployed = await deploy(clients, specs, deployment, to);
  return {
    ...deployed,
    url: gateway.url,
    deployment,
    folder,
    clients,
    gateway,
    autoScaling,
    functionUrls,
    endedActions,
    runners,
    providers,
    cloudWatch,
    pagerDuty,
    routingKeys,
    publish,
    ministackPid: ministack.pid,
    descriptor: { url: gateway.url, ...HOME, prefix: PREFIX, bucket: BUCKET, ...operator },
    died: ministack.died,
  };
}

/** Where the CI providers send what happens: nowhere, unless the cloud has webhooks. */
function eventsOf(
  { webhooks = false }: CloudOptions,
  gateway: Gateway,
  publish: PublishEvent,
): ProviderEvents | undefined {
  if (!webhooks) return undefined;
  return {
    webhookUrl: functionUrl(gateway.url, lambdaName(PREFIX, 'webhooks')),
    onPartnerEvent: ({ detailType, detail }) => {
      const event = { source: BUILDKITE_BUS, bus: BUILDKITE_BUS, detailType, detail, resources: [] };
      publish(event).catch(onError);
    },
  };
}

/** Function URLs invoke the functions in the emulator, past the gateway: an invocation of Lambda's own is no call. */
function addFunctionUrls({ ministack, gateway, disposables }: EmptyCloud): FunctionUrls {
  const credentials = { accessKeyId: 'LKIALAMBDA', secretAccessKey: 'local' };
  const lambda = new LambdaClient({
    endpoint: ministack.url,
    region: HOME.region,
    credentials,
    maxAttempts: 1,
  });
  disposables.push(() => lambda.destroy());
  const functionUrls = createFunctionUrls({ lambda, callers: gateway.callers, home: HOME });
  gateway.mount(functionUrls);
  return functionUrls;
}

/** Mounts CloudWatch and everything that it is fed from: the functions' logs, and SQS's own measuring. */
function addCloudWatch(
  options: CloudOptions,
  { ministack, gateway, disposables }: EmptyCloud,
  publish: PublishEvent,
): CloudWatch {
  const timeScale = options.cloudWatchTimeScale ?? 60;
  const cloudWatch = createCloudWatch({ home: HOME, publish, onError, timeScale });
  disposables.push(() => cloudWatch.stop());
  gateway.mount(cloudWatch);
  gateway.functions.lines.follow(({ text }) => cloudWatch.ingest(text));
  const queueMetrics = startQueueMetrics({
    emulator: ministack.url,
    home: HOME,
    timeScale,
    ingest: cloudWatch.ingest,
    onError,
  });
  disposables.push(() => queueMetrics.stop());
  return cloudWatch;
}

function deploymentOf(options: CloudOptions, gatewayUrl: string, providers: CiProviders): Deployment {
  return {
    home: HOME,
    prefix: PREFIX,
    bucket: BUCKET,
    groups: options.groups ?? [],
    warmingSets: options.warmingSets ?? {},
    isScaled: options.isScaled ?? false,
    buildkiteBus: options.webhooks ? BUILDKITE_BUS : undefined,
    replicaRegions: options.replicaRegions ?? [],
    alarms: options.alarms ?? [],
    pagerDutyUrl: gatewayUrl,
    providers: providers.settings,
  };
}

async function specsOf(options: CloudOptions): Promise<FunctionSpec[]> {
  const { functions, batchSize, webhooks = false } = options;
  const specs = await readFunctionSpecs(options.root);
  return specs
    .filter(({ name }) => (name === 'webhooks' ? webhooks : (functions?.includes(name) ?? true)))
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
