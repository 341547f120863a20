import type { Clock } from '../../shared/runtime/clock.ts';
import type { MetricSink } from '../../shared/runtime/metrics.ts';
import type { ObjectStore } from '../../shared/snapshot/store.ts';
import type { WarmingSet } from './env.ts';

/** Sizes of an Auto Scaling group. */
export type Capacity = { min: number; max: number; desired: number };

/** The part of Auto Scaling that this function uses: how many machines a warming group has. */
export interface CapacityPort {
  /** Undefined if there is no such group. */
  describe(autoScalingGroup: string): Promise<Capacity | undefined>;
  set(autoScalingGroup: string, desired: number): Promise<void>;
}

/** What every step of this function works with. */
export type WarmingContext = {
  prefix: string;
  sets: Readonly<Record<string, WarmingSet>>;
  store: ObjectStore;
  capacity: CapacityPort;
  metrics: MetricSink;
  clock: Clock;
  warn: (message: string, detail: Record<string, unknown>) => void;
};

/** One set, with its name. */
export type NamedSet = WarmingSet & { name: string };
