import type { Clock } from '../../shared/runtime/clock.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { MetricSink } from '../../shared/runtime/metrics.ts';
import type { ObjectStore } from '../../shared/snapshot/store.ts';

/** A parameter in Parameter Store. */
export type Parameter = { name: string; value: string; type: string; modifiedAt: Date };

/** Parameter Store of one region. */
export interface ParameterPort {
  /** Every parameter below `root`. The values of secure parameters stay encrypted. */
  list(root: string, signal: AbortSignal): Promise<Parameter[]>;
  put(name: string, value: string, signal: AbortSignal): Promise<void>;
  /** Deletes the parameters that exist. @param names at most `DELETE_BATCH` */
  remove(names: readonly string[], signal: AbortSignal): Promise<void>;
}

/** Most names per call of DeleteParameters. */
export const DELETE_BATCH = 10;

/** Sizes of a runner group, as Auto Scaling reports them. */
export type GroupCapacity = {
  name: string;
  min: number;
  max: number;
  desired: number;
  inService: number;
  draining: number;
};

/** Reads the groups of this deployment. */
export interface GroupReader {
  list(): Promise<GroupCapacity[]>;
}

/** A region that has the parameter tree. */
export type Region = { region: string; port: ParameterPort };

/** Names of deleted parameters, from change events. An event about a delete is the only trace of the parameter. */
export type Deletions = {
  /** Deleted by anybody but this function, and not yet counted as drift. */
  external: Set<string>;
  /** Deleted by this function. The event that follows is not about an edit by hand. */
  own: Set<string>;
};

/** What one pass over the tree needs. */
export type ReconcileDeps = {
  /** Prefix of the deployment's names. */
  prefix: string;
  /** Path of the tree, such as `/aw`. */
  root: string;
  store: ObjectStore;
  groups: GroupReader;
  /** The home region first, then each replica region. */
  regions: readonly Region[];
  deletions: Deletions;
  clock: Clock;
  metrics: MetricSink;
  logger: Logger;
  /** Pause between writes in milliseconds, for tests. */
  pauseMs?: number;
  /** Time limit of a pass in milliseconds, for tests. */
  passMs?: number;
};
