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
  /** @throws {RetryableError} `scaling-in-progress` if the group cannot take it now */
  set(autoScalingGroup: string, desired: number): Promise<void>;
}

/**
 * What this execution environment has read back from S3 and found sound, and when, in milliseconds since 1970. Forgetting it
 * costs time and nothing else.
 */
export type Findings = {
  /** By `<set>/<sha256>`. */
  layers: Map<string, number>;
  /** By `<set>/<snapshot>`. */
  snapshots: Map<string, number>;
};

/** What every step of this function works with. */
export type WarmingContext = {
  prefix: string;
  sets: Readonly<Record<string, WarmingSet>>;
  store: ObjectStore;
  capacity: CapacityPort;
  findings: Findings;
  metrics: MetricSink;
  clock: Clock;
  warn: (message: string, detail: Record<string, unknown>) => void;
};

/** One set, with its name. */
export type NamedSet = WarmingSet & { name: string };
