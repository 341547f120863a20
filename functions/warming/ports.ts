import type { Clock } from '../../shared/runtime/clock.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { MetricSink } from '../../shared/runtime/metrics.ts';
import type { ObjectStore } from '../../shared/snapshot/store.ts';
import type { WarmingSet } from './env.ts';

/** Sizes of an Auto Scaling group. */
export type Capacity = { min: number; max: number; desired: number };

/** The part of Auto Scaling that this function uses: the capacity of a warming group. */
export interface CapacityPort {
  /** Undefined if there is no such group. */
  describe(autoScalingGroup: string): Promise<Capacity | undefined>;
  /** @throws {RetryableError} `scaling-in-progress` if the group does not accept the change now */
  setDesired(autoScalingGroup: string, desired: number): Promise<void>;
}

/** The dependencies of this function. */
export type WarmingDeps = {
  prefix: string;
  bucket: string;
  sets: Readonly<Record<string, WarmingSet>>;
  store: ObjectStore;
  capacity: CapacityPort;
  metrics: MetricSink;
  logger: Pick<Logger, 'warn'>;
  clock: Clock;
};

/** One set, with its name. */
export type NamedSet = WarmingSet & { name: string };
