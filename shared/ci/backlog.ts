/** The work of a CI provider, as one read of one source shows it. */

/** A job that waits for a runner. */
export type QueuedJob = {
  /** The provider's identifier. */
  id: string;
  /** Labels that a runner must have, in lower case. */
  labels: readonly string[];
  /** Id and file name of the workflow of the job. */
  workflow: readonly string[];
  /** When it was queued; milliseconds since 1970. */
  since: number;
  /** When it was last seen to wait, if that was before this read; milliseconds since 1970. It may run by now. */
  seenAt?: number;
};

/** The numbers of jobs of a queue of Buildkite or of a resource class of CircleCI, which do not list them. */
export type QueueCounts = { queued: number; running: number };

/** The jobs of a repository of GitHub. */
export type JobList = {
  queued: readonly QueuedJob[];
  /** Jobs that run on instances of this deployment or of another one. Jobs on other runners are not in it. */
  running: readonly { id: string; instanceId: string }[];
  /**
   * Whether the read is complete. An incomplete one, for example of the first pages only, is a floor: it may raise a desired
   * capacity and shows nothing about the absence of work.
   */
  isComplete: boolean;
};
