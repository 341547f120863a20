import { readFunctionSpecs } from '../functions/spec.ts';
import { type AutoScaling, createAutoScaling } from './autoscaling/service.ts';
import { type Clients, createClients } from './clients.ts';
import { type Deployed, deploy } from './deploy/deploy.ts';
import type { AlarmSettings, Deployment, GroupSettings, WarmingSetSettings } from './deploy/settings.ts';
import { roleSender } from './gateway/callers.ts';
import { type Gateway, startGateway } from './gateway/gateway.ts';
import { cleanRun } from './janitor/clean.ts';
import { guard } from './janitor/guard.ts';
import { openRunFolder } from './janitor/run-folder.ts';
import { startMiniStack } from './ministack/start.ts';
import { servicePublisher } from './publish.ts';
import type { Home, PublishEvent } from './service.ts';

export type CloudOptions = {
  /** The repository. */
  root: string;
  groups?: readonly GroupSettings[];
  warmingSets?: Readonly<Record<string, WarmingSetSettings>>;
  replicaRegions?: readonly string[];
  alarms?: readonly AlarmSettings[];
  /** Which functions to deploy; all if absent. */
  functions?: readonly string[];
};

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
  /** Puts an event on the bus as an AWS service would. */
  publish: PublishEvent;
  /** Fulfilled with what happened if MiniStack ends by itself; the cloud is of no use then. */
  died: Promise<string>;
  /** Stops everything and removes what was written. May be called twice. */
  stop(): Promise<void>;
};

const HOME: Home = { account: '111122223333', region: 'us-west-2' };
const PREFIX = 'aw';
const BUCKET = 'aw-warming-local';

/**
 * Starts MiniStack, the emulated services and the gateway, and deploys the built functions.
 *
 * @throws if anything does not start; nothing is left running then
 */
export async function startCloud(options: CloudOptions): Promise<Cloud> {
  const folder = await openRunFolder(options.root);
  guard(options.root, folder);
  const closers: (() => unknown)[] = [];
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
    const publish = servicePublisher(ministack.url, HOME);
    const autoScaling = createAutoScaling({
      home: HOME,
      publish,
      onLaunch() {},
      onTerminate() {},
      onError: (error) => console.error(error),
    });
    closers.push(() => autoScaling.stop());
    gateway.mount(autoScaling);
    const deployment: Deployment = {
      home: HOME,
      prefix: PREFIX,
      bucket: BUCKET,
      groups: options.groups ?? [],
      warmingSets: options.warmingSets ?? {},
      replicaRegions: options.replicaRegions ?? [],
      alarms: options.alarms ?? [],
      pagerDutyUrl: gateway.url,
    };
    const operator = gateway.callers.issue({
      name: 'operator',
      senderId: roleSender('operator', 'operator'),
    });
    const clients = createClients(gateway.url, HOME.region, operator);
    const specs = (await readFunctionSpecs(options.root)).filter(
      ({ name }) => options.functions?.includes(name) ?? true,
    );
    const deployed = await deploy(clients, specs, deployment, {
      root: options.root,
      gatewayUrl: gateway.url,
    });
    return {
      ...deployed,
      url: gateway.url,
      deployment,
      folder,
      clients,
      gateway,
      autoScaling,
      publish,
      died: ministack.died,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Stops in the reverse order of starting, whatever fails on the way, and cleans up at the end. */
async function stopAll(closers: readonly (() => unknown)[], folder: string): Promise<void> {
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
