import type { InstanceState } from '../../shared/aws/auto-scaling.ts';
import type { CallOptions, KnownRegistration, RegistrationClient } from '../../shared/ci/provider.ts';
import type { Groups, RunnerGroup } from '../../shared/fleet/declared-groups.ts';
import type { GroupSettings } from '../../shared/fleet/group-settings.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { MetricSink } from '../../shared/runtime/metrics.ts';
import type { ObjectStore } from '../../shared/snapshot/store.ts';
import type { Turns } from './caller-limit.ts';

export type { InstanceState, RunnerGroup };

/** The part of Auto Scaling that this function uses. */
export interface AutoScalingPort {
  /** Undefined if no group contains the instance, or none contains it any more. */
  describeInstance(instanceId: string): Promise<InstanceState | undefined>;
  /** Every instance of every group of the deployment, with its lifecycle state, by instance id. */
  listInstances(): Promise<Map<string, InstanceState>>;
}

/** Opens the registrations of a group at its provider. */
export interface Providers {
  /**
   * @param key the instance; it selects one of several GitHub Apps
   * @throws {ProviderError} `credential`
   */
  open(settings: GroupSettings, key: string, options: CallOptions): Promise<RegistrationClient>;
}

/** The dependencies of this function. */
export type RegistrationDeps = {
  prefix: string;
  account: string;
  groups: Groups;
  providers: Providers;
  autoScaling: AutoScalingPort;
  store: ObjectStore;
  /** States of instances, with the time of their reading in milliseconds since 1970. Undefined: no group contains it. */
  states: Map<string, { state: InstanceState | undefined; at: number }>;
  /** The requests that each instance may still make. */
  turns: Turns;
  /** Registrations of each instance in the lists of providers, by scope; and until when they count, in milliseconds since 1970. */
  lists: Map<string, { until: number; ofInstances: Promise<ReadonlyMap<string, KnownRegistration[]>> }>;
  metrics: MetricSink;
  logger: Pick<Logger, 'warn' | 'error'>;
  clock: Clock;
  /** In [0, 1): spreads the callers that are sent away. */
  random: () => number;
};
