import type { JobList, QueueCounts } from '../../shared/ci/backlog.ts';
import type { CallOptions, SettingsOf } from '../../shared/ci/provider.ts';
import type { Groups, RunnerGroup } from '../../shared/fleet/declared-groups.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { MetricSink } from '../../shared/runtime/metrics.ts';
import type { Outcome } from '../../shared/runtime/outcome.ts';
import type { ObjectStore } from '../../shared/snapshot/store.ts';

export type { RunnerGroup };

/** An Auto Scaling group with its instances. */
export type FleetGroup = {
  name: string;
  max: number;
  desired: number;
  instances: readonly { instanceId: string; lifecycleState: string }[];
};

/** The part of Auto Scaling that this function uses. */
export interface AutoScalingPort {
  /** The groups of the deployment, by name. */
  list(): Promise<Map<string, FleetGroup>>;
  describe(name: string): Promise<Pick<FleetGroup, 'desired' | 'max'> | undefined>;
  setDesired(name: string, desired: number): Promise<void>;
  /** Why the latest launch of the group failed, if it did since this time. */
  failedLaunch(name: string, since: Date): Promise<string | undefined>;
}

/** Reads a backlog. `reserve` is called with a number of calls before they are made, and throws if they must not be made. */
export type BacklogReader<T> = {
  /** The account that limits are counted for; undefined: nothing is limited. */
  installation: string | undefined;
  read(reserve: (calls: number) => Promise<void>): Promise<T>;
};

/** Opens the backlogs of the CI providers. */
export interface Backlogs {
  /**
   * @param workflows ids or file names of the workflows whose jobs count; undefined: all
   * @throws {ProviderError}
   */
  github(
    settings: SettingsOf<'gha'>,
    workflows: ReadonlySet<string> | undefined,
    options: CallOptions,
  ): Promise<BacklogReader<JobList>>;
  /** Every queue of the cluster of the group, and the least time until the next read in seconds. */
  buildkite(
    settings: SettingsOf<'bk'>,
    options: CallOptions,
  ): Promise<{ queues: ReadonlyMap<string, QueueCounts>; pollSeconds: number }>;
  circleci(settings: SettingsOf<'cci'>, options: CallOptions): Promise<QueueCounts>;
}

/** The dependencies of this function. */
export type ScalingDeps = {
  prefix: string;
  groups: Pick<Groups, 'all'>;
  backlogs: Backlogs;
  autoScaling: AutoScalingPort;
  store: Pick<ObjectStore, 'read' | 'write'>;
  memory: Memory;
  metrics: MetricSink;
  logger: Pick<Logger, 'info' | 'warn' | 'error'>;
  clock: Clock;
  /** Ends early when `signal` aborts. */
  sleep: (milliseconds: number, signal: AbortSignal) => Promise<void>;
  /** In [0, 1): spreads callers that meet. */
  random: () => number;
};

/** What one execution environment remembers. Without it, unmatched and old jobs are found some minutes later. */
export type Memory = {
  /** Since when each instance without a job is so, by group and instance; milliseconds since 1970. */
  idleSince: Map<string, ReadonlyMap<string, number>>;
  /** When each of these instances was last seen with a job, if it was, in the same form. */
  busyAt: Map<string, ReadonlyMap<string, number>>;
  /**
   * By group in which a job waits for minutes: the runner without a job that is there, and from when to when those were that have ended; in
   * milliseconds since 1970.
   */
  idled: Map<
    string,
    {
      present: { instanceId: string; from: number } | undefined;
      ended: readonly { from: number; until: number }[];
    }
  >;
  /** Since when each instance in service is known to be so, in the same form. */
  inServiceSince: Map<string, ReadonlyMap<string, number>>;
  /** By queue: the last numbers of a queue without a list, and since when each of its jobs waits without progress. */
  counted: Map<string, { counts: QueueCounts; since: readonly number[] }>;
  /** Until when a source is not read, in milliseconds since 1970; with the provider's refusal, if it is one. */
  notBefore: Map<string, { at: number; refusal?: string }>;
  /** Groups that the last line with their backlog named. */
  logged: Set<string>;
  /** When the latest read of a source began, in milliseconds since 1970. */
  readAt: Map<string, number>;
  /** The poll that the hints of the present batch share, and when the next one may begin. */
  hints: { present?: { sources: Set<string>; outcome: Promise<Outcome> }; notBefore: number };
};

export function freshMemory(): Memory {
  return {
    idleSince: new Map(),
    busyAt: new Map(),
    idled: new Map(),
    inServiceSince: new Map(),
    counted: new Map(),
    notBefore: new Map(),
    logged: new Set(),
    readAt: new Map(),
    hints: { notBefore: 0 },
  };
}
