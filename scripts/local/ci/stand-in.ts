import type { RecordedRequest } from './http.ts';

/** What the stand-ins of the three CI providers have in common. Each adds the settings and faults of its own provider. */

/** One job of a stand-in. Times are milliseconds since the epoch. */
export type Job = {
  id: string;
  name: string;
  /** What an agent needs to get it: labels (GitHub), agent query rules (Buildkite) or the resource class (CircleCI). */
  target: string[];
  /** The command that the agent runs in a shell. */
  command: string;
  /** `assigned`: given to an agent that has not confirmed it. It returns to `queued` if no confirmation follows. */
  state: 'queued' | 'assigned' | 'running' | 'finished';
  /** Absent until it is finished. `lost`: the provider has ended it, because its agent sent nothing for too long. */
  result?: 'succeeded' | 'failed' | 'cancelled' | 'lost';
  /** As the agent reported it. */
  exitStatus?: number;
  /** Name of the agent that has it or had it last. */
  agent?: string;
  /** How often it was given to an agent. */
  assignments: number;
  /** How often an agent started it. More than 1 means that it ran twice. */
  starts: number;
  queuedAt: number;
  assignedAt?: number;
  startedAt?: number;
  finishedAt?: number;
  /** What the job printed, as far as the agent sent it. */
  log: string;
};

/** What every request for a job has. */
export type JobRequest = {
  /** Run with `bash -e` by GitHub's and Buildkite's agents, and with `bash -eo pipefail` by CircleCI's. */
  command: string;
  name?: string | undefined;
  /** Added to the environment of the job. */
  env?: Record<string, string> | undefined;
};

/** A stand-in that serves. `Request` is its job request, `Registration` one registered agent. */
export type StandIn<Request extends JobRequest, Registration, Behaviour> = {
  /** Without a slash at the end. */
  readonly url: string;
  /** @throws {Refused} if the request is not valid. */
  queueJob(request: Request): Job;
  /** Cancels a job as a user does in the web page of the provider. */
  cancelJob(id: string): void;
  /** All jobs in the order in which they were queued. */
  jobs(): readonly Job[];
  /** The registered agents. */
  registrations(): readonly Registration[];
  /** Changes the behaviour from now on. What is not named stays. */
  behave(change: Change<Behaviour>): void;
  /** All requests so far, without bodies and credentials. */
  requests(): readonly RecordedRequest[];
  /** Path and sha256 of an archive with the fake agent, which the stand-in serves. Default: the newest version. */
  download(version?: string): { path: string; sha256: string };
  close(): Promise<void>;
};

/** Some of the settings of a behaviour. */
export type Change<Behaviour> = { [Key in keyof Behaviour]?: Behaviour[Key] | undefined };

/** Settings that every stand-in has. */
export type StandInOptions = {
  /** Default: any free port. */
  port?: number;
  /** Address to listen on. Default: `127.0.0.1`. */
  address?: string;
  /**
   * File that keeps jobs, registrations and credentials, so that a stand-in that was killed continues where it was. Without it
   * everything is in memory.
   */
  stateFile?: string;
};

/** The job of a request, as it is before an agent gets it. */
export function newJob(id: string, request: JobRequest, target: string[]): Job {
  return {
    id,
    name: request.name ?? `job-${id}`,
    target,
    command: request.command,
    state: 'queued',
    assignments: 0,
    starts: 0,
    queuedAt: Date.now(),
    log: '',
  };
}

/** Gives a job to an agent. */
export function assign(job: Job, agent: string): void {
  Object.assign(job, { state: 'assigned', agent, assignedAt: Date.now(), assignments: job.assignments + 1 });
}

/** Takes a job back that its agent has not started. */
export function requeue(job: Job): void {
  job.state = 'queued';
  delete job.agent;
  delete job.assignedAt;
}

export function start(job: Job): void {
  Object.assign(job, { state: 'running', startedAt: Date.now(), starts: job.starts + 1 });
}

export function finish(job: Job, result: NonNullable<Job['result']>, exitStatus?: number): void {
  Object.assign(job, { state: 'finished', result, finishedAt: Date.now() });
  if (exitStatus !== undefined) job.exitStatus = exitStatus;
}

/** Applies a change to a behaviour. */
export function change<Behaviour extends object>(behaviour: Behaviour, by: Change<Behaviour>): void {
  for (const [name, value] of Object.entries(by)) {
    if (value !== undefined) Object.assign(behaviour, { [name]: value });
  }
}
