import type { CiProvider, Group } from '../../../shared/fleet/names.ts';
import type { Home } from '../service.ts';

/** A runner group, as a user of the Terraform module writes it. */
export type GroupSettings = Group & {
  min: number;
  max: number;
  /** Instances at the start; `min` if absent. */
  desired?: number;
  /** Which warming set its runners restore. */
  warmingSet?: string;
  purchase?: 'spot' | 'on-demand';
  instanceType?: string;
  /** Seconds without a report until AWS lets a booting or draining runner go (30 to 7200). */
  heartbeatTimeout?: { boot: number; drain: number };
  /** Polls of its backlog per minute, 1 to 3; 1 if absent. */
  pollsPerMinute?: number;
  /** Age at which its instances are replaced, in seconds; none if absent. */
  maxInstanceLifetimeSeconds?: number;
  /** Whether instances of an older version of the launch template are replaced. */
  replaceOutdated?: boolean;
  /** The build cache of its jobs; none if absent. */
  cache?: { mode: 'read' | 'write'; scope: string; reads?: readonly string[] };
  /** What differs from `USUAL_RUNNER`. */
  runner?: Partial<RunnerSettings>;
};

/** Settings for the configuration of the runners (`infra/runner/src/config.ts`). */
export type RunnerSettings = {
  /** How an instance of a warming group makes the snapshot; absent elsewhere. */
  warming?: { command: readonly string[]; timeoutSeconds?: number };
  bootTimeoutSeconds: number;
  drainTimeoutSeconds: number;
  idleTimeoutMinutes: number;
  heartbeatSeconds: number;
  pollSeconds: number;
  /** `clean`: a tree, a root and namespaces of its own per job, where there is root. */
  jobs?: { isolation: 'clean' | 'shared' };
};

export type WarmingSetSettings = {
  /** `<host>/<name>` of the warming group. */
  group: string;
  /** An EventBridge Scheduler expression. */
  schedule: string;
  deadlineMinutes: number;
  /** Snapshots that pruning leaves. */
  keep: number;
};

/** Times of a group without its own. Boots and drains of the local cloud take seconds. */
export const USUAL_RUNNER: RunnerSettings = {
  bootTimeoutSeconds: 240,
  drainTimeoutSeconds: 240,
  idleTimeoutMinutes: 30,
  heartbeatSeconds: 30,
  pollSeconds: 0.25,
};

/** A metric alarm; names get the deployment's prefix. */
export type AlarmSettings = {
  name: string;
  namespace: string;
  metric: string;
  dimensions: Record<string, string>;
  statistic: 'Sum' | 'Maximum' | 'Minimum' | 'Average' | 'SampleCount';
  comparison: 'GreaterThanThreshold' | 'GreaterThanOrEqualToThreshold' | 'LessThanThreshold';
  threshold: number;
  /** Seconds; 10, 30, or a multiple of 60. */
  period: number;
  description?: string;
  tags?: Record<string, string>;
};

/** The parts of a deployment besides the functions. */
export type Deployment = {
  home: Home;
  prefix: string;
  bucket: string;
  groups: readonly GroupSettings[];
  warmingSets: Readonly<Record<string, WarmingSetSettings>>;
  /** Whether the schedule of the function `scaling` exists. It can be fired in both cases. */
  isScaled: boolean;
  /** The event bus of Buildkite's partner event source; undefined without webhooks and partner events. */
  buildkiteBus: string | undefined;
  replicaRegions: readonly string[];
  alarms: readonly AlarmSettings[];
  /** Origin of PagerDuty's Events API. */
  pagerDutyUrl: string;
  providers: ProviderSettings;
};

/** The CI providers, as a deployment is configured for them. */
export type ProviderSettings = {
  /** Base URLs of their APIs. */
  apiUrls: Readonly<Record<CiProvider, string>>;
  /** Values of the secrets, by name; empty for a secret that has none yet. */
  secrets: Readonly<Record<string, string>>;
};

/** Names of the secrets of the CI providers. All groups of GitHub use the same App, all of Buildkite the same agent token. */
export const PROVIDER_SECRETS = {
  githubApp: 'aw_gha_app_local',
  githubToken: 'aw_gha_token_local',
  buildkiteToken: 'aw_bk_agent_token_local',
} as const;

/** Names of the secrets that webhooks are signed with, by CI provider. */
export const WEBHOOK_SECRETS = { gha: 'aw_gha_webhook_local', bk: 'aw_bk_webhook_local' } as const;

/** Name of the secret with the credentials of one group of CircleCI: a token is for one resource class. */
export function circleciSecret(group: string): string {
  return `aw_cci_${group}_local`;
}

/** The repository whose jobs the runners of GitHub take. */
export const REPOSITORY = { owner: 'acme', repository: 'monorepo' } as const;

/** What a job names to run on a group: labels of GitHub, the queue of Buildkite, the resource class of CircleCI. */
export function targetOf({ provider, name }: Group): string {
  return { gha: `hearth-${name}`, bk: name, cci: `acme/${name}` }[provider];
}

/** Name of the secret with the PagerDuty routing key; the module makes it empty. */
export const ROUTING_SECRET = 'aw_pd_routing_key_local';
