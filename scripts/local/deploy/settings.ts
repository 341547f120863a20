import type { Group } from '../../../shared/fleet/names.ts';
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
  /** The queue of its agents at the simulated CI provider; `<provider>/<name>` if absent. */
  queue?: string;
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
  /** `driver` and the settings of the driver; the simulated agent if absent. */
  agent?: { driver: string } & Record<string, unknown>;
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
  replicaRegions: readonly string[];
  alarms: readonly AlarmSettings[];
  /** Origin of PagerDuty's Events API. */
  pagerDutyUrl: string;
};

/** Name of the secret with the PagerDuty routing key; the module makes it empty. */
export const ROUTING_SECRET = 'aw_pd_routing_key_local';
