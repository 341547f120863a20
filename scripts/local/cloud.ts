import type { AutoScaling } from './autoscaling/service.ts';
import type { CiService } from './ci/service.ts';
import { cleanRun } from './cleanup/clean.ts';
import { guard } from './cleanup/guard.ts';
import { openRunFolder } from './cleanup/run-folder.ts';
import type { Clients } from './clients.ts';
import type { CloudWatch } from './cloudwatch/service.ts';
import { composeServices, HOME } from './compose-services.ts';
import type { Deployed } from './deploy/deploy.ts';
import type { AlarmSettings, Deployment, GroupSettings, WarmingSetSettings } from './deploy/settings.ts';
import type { Descriptor } from './descriptor.ts';
import type { Feed } from './gateway/feed.ts';
import { type Gateway, startGateway } from './gateway/gateway.ts';
import { startMiniStack } from './ministack/start.ts';
import type { PagerDuty } from './pagerduty/receiver.ts';
import type { Runners } from './runners/supervisor.ts';
import type { OutgoingEvent, PublishEvent } from './service.ts';

export type CloudOptions = {
  /** The repository. */
  root: string;
  groups?: readonly GroupSettings[];
  warmingSets?: Readonly<Record<string, WarmingSetSettings>>;
  replicaRegions?: readonly string[];
  alarms?: readonly AlarmSettings[];
  /** Which functions to deploy; all if absent. */
  functions?: readonly string[];
  /** Whether a launched instance is a runner process, or nothing, for tests that send the reports themselves. */
  instances?: 'runners' | 'none';
  /** By how much CloudWatch's minutes are shortened; 60 makes them seconds, and is usual. */
  cloudWatchTimeScale?: number;
  /** Records per batch, instead of the value in function.json. */
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
  /** The simulated CI provider. */
  ci: CiService;
  cloudWatch: CloudWatch;
  pagerDuty: PagerDuty;
  /** PagerDuty's integration keys, by route: what an operator puts into the routing secret. */
  routingKeys: Readonly<Record<'default' | 'critical', string>>;
  /** Puts an event on the bus as an AWS service would. */
  publish: PublishEvent;
  ministackPid: number;
  /** The address for other programs; `writeDescriptor` publishes it. */
  descriptor: Descriptor;
  /** Resolves with the cause if MiniStack ends by itself. */
  died: Promise<string>;
  /** Stops everything and removes what was written. May be called twice. */
  stop(): Promise<void>;
};

/** What `stop` closes, in the order of starting. */
export type Disposables = (() => unknown)[];

/**
 * Starts MiniStack, the emulated services and the gateway, and deploys the built functions.
 *
 * @throws if anything does not start; nothing is left running then
 */
export async function startCloud(options: CloudOptions): Promise<Cloud> {
  const folder = await openRunFolder(options.root);
  guard(options.root, folder);
  const disposables: Disposables = [];
  let stopped: Promise<void> | undefined;
  const stop = () => {
    stopped ??= stopAll(disposables, folder);
    return stopped;
  };
  try {
    const ministack = await startMiniStack({ root: options.root, folder, home: HOME });
    disposables.push(() => ministack.stop());
    const gateway = await startGateway(ministack.url);
    disposables.push(() => gateway.close());
    return { ...(await composeServices(options, { folder, ministack, gateway, disposables })), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Stops everything in reverse order, continues after errors, and cleans up at the end. */
async function stopAll(disposables: Disposables, folder: string): Promise<void> {
  const failures: unknown[] = [];
  for (const close of [...disposables].reverse()) {
    try {
      await close();
    } catch (error) {
      failures.push(error);
    }
  }
  await cleanRun(folder);
  if (failures.length > 0) throw new AggregateError(failures, 'the local cloud did not stop cleanly');
}
