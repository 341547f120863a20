/** The work of a CI provider, as one read of one source shows it. */

/** A job that waits for a runner. */
export type QueuedJob = {
  /** The provider's identifier. */
  id: string;
  /** Labels that a runner must have, in lower case. Buildkite and CircleCI: none, since their queues belong to one group. */
  labels: readonly string[];
  /** Milliseconds since 1970. */
  since: number;
};

/** What one source reports for its groups. */
export type Backlog = {
  queued: readonly QueuedJob[];
  /** Jobs that run, by the instance that runs each; `undefined` where the provider does not name it. */
  running: readonly { instanceId: string | undefined; group: string | undefined }[];
  /**
   * Whether the read is complete. An incomplete one, for example of the first pages only, is a floor: it may raise a desired
   * capacity and shows nothing about the absence of work.
   */
  isComplete: boolean;
};

/** A runner group at the moment of a decision. */
export type GroupState = {
  /** `<provider>/<name>`. */
  id: string;
  /** In lower case. */
  labels: readonly string[];
  min: number;
  max: number;
  /** Desired capacity, read just before the decision. */
  desired: number;
  /** Jobs that run on instances of the group that are in service. */
  running: number;
  /** Instances that are in service, have had a registration, and run no job. */
  idle: number;
  /** Instances that are launched and not in service yet. */
  booting: number;
};
