import type { AutoScaling } from './autoscaling/service.ts';
import type { CiProviders } from './ci-providers.ts';
import type { Clients } from './clients.ts';
import type { CloudWatch } from './cloudwatch/service.ts';
import type { Deployed } from './deploy/deploy.ts';
import type { AlarmSettings, Deployment, GroupSettings, WarmingSetSettings } from './deploy/settings.ts';
import type { Descriptor } from './descriptor.ts';
import type { FunctionUrls } from './function-urls/service.ts';
import type { Feed } from './gateway/feed.ts';
import type { Gateway } from './gateway/gateway.ts';
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
  /** Whether the backlog scales the groups each minute; otherwise their capacities are the caller's. */
  isScaled?: boolean;
  /** Whether the CI providers send webhooks to the function `webhooks`, and Buildkite its partner events. */
  webhooks?: boolean;
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
  functionUrls: FunctionUrls;
  /** Every lifecycle action that is over. */
  endedActions: Feed<EndedAction>;
  runners: Runners;
  /** The stand-ins of GitHub, Buildkite and CircleCI. */
  providers: CiProviders;
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
