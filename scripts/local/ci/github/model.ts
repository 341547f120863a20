import { randomBytes, randomUUID } from 'node:crypto';
import * as v from 'valibot';
import { jobRequestFields } from '../control.ts';
import { faultSchema, Refused } from '../http.ts';
import { assign, finish, type Job, newJob, requeue, start } from '../stand-in.ts';

/** Jobs, runs and runners of GitHub Actions, and the assignment of jobs to runners. */

export const githubJobRequest = v.strictObject({
  ...jobRequestFields,
  /** `runs-on`. Compared in lower case with the labels of runners. */
  labels: v.pipe(
    v.array(v.pipe(v.string(), v.nonEmpty('must not be empty'))),
    v.minLength(1, 'must name a label'),
  ),
  /** `owner/name`. Default: the first repository of the stand-in. */
  repository: v.optional(v.string()),
  /** The run that the job belongs to. Default: a new run. */
  runId: v.optional(v.number()),
  workflow: v.optional(v.string()),
  /** A state before `queued`, in which no runner gets the job. */
  held: v.optional(v.picklist(['waiting', 'pending', 'requested'])),
  /** How long ago it was queued. */
  ageSeconds: v.optional(v.pipe(v.number(), v.minValue(0))),
});
export type GithubJobRequest = v.InferOutput<typeof githubJobRequest>;

const seconds = v.pipe(v.number(), v.minValue(0));
const count = v.pipe(v.number(), v.integer(), v.minValue(0));

/** What a test or a user can change while the stand-in runs. */
const settingsSchema = v.strictObject({
  faults: v.array(faultSchema),
  /** From the moment a job is queued until a runner gets it. */
  assignmentLagSeconds: seconds,
  /** A job that its runner has not picked up returns to the queue. GitHub: 60 s. */
  pickupSeconds: seconds,
  /** Without a renewal in this time a running job fails. GitHub: about 10 min. */
  lockSeconds: seconds,
  /** A runner whose listener does not poll is offline after this time. */
  offlineSeconds: seconds,
  /** How long a poll of the listener stays open. */
  pollSeconds: seconds,
  /** Idle runners are removed after this time, counted from their first connection; null: never. Reports name 2 to 6 min. */
  idleRemovalSeconds: v.nullable(seconds),
  /** `busy` is false and DELETE succeeds while a job runs. */
  busyLies: v.boolean(),
  /** `busy` is false for this time after a job has begun. Reports name 25 to 60 s. */
  busyLateSeconds: seconds,
  /** A new registration is not listed for this time. */
  listLagSeconds: seconds,
  /** So many next pick-ups are refused with 409: the listener continues without a registration. */
  lostPickups: count,
  /** An assignment uses the registration up, so it does not return when the job is requeued. */
  consumedAtAssignment: v.boolean(),
  /** PUT of labels is answered, and jobs are still assigned by the old ones. */
  labelChangesAct: v.boolean(),
  /** Listeners of an older version get no session. */
  minimumVersion: v.string(),
  /** The newest version of the runner. With `updates`, listeners of an older one get a message to update. */
  latestVersion: v.string(),
  updates: v.boolean(),
  /** Requests per hour and installation. */
  coreLimit: count,
  /** Just-in-time configurations per hour and installation. */
  registrationLimit: count,
  /** Points per minute, installation and endpoint: 1 per GET, 5 per other request. */
  secondaryPoints: count,
  /** Status of a refusal for a rate limit. GitHub uses both. */
  limitStatus: v.picklist([403, 429]),
  /** Whether a refusal for the secondary limit has `retry-after`. */
  retryAfter: v.boolean(),
  /** Life of an installation token. GitHub: 3,600 s. */
  tokenSeconds: seconds,
  /** How often each webhook is delivered. 0: lost, 2: doubled. */
  webhookDeliveries: count,
  /** How long a listener tries to get a session that another one has. The real one: 4 min. */
  sessionRetrySeconds: seconds,
});
export const githubBehaviour = v.partial(settingsSchema);
export type GithubBehaviour = v.InferOutput<typeof settingsSchema>;

export const githubDefaults: GithubBehaviour = {
  faults: [],
  assignmentLagSeconds: 0.2,
  pickupSeconds: 60,
  lockSeconds: 600,
  offlineSeconds: 60,
  pollSeconds: 50,
  idleRemovalSeconds: null,
  busyLies: false,
  busyLateSeconds: 0,
  listLagSeconds: 0,
  lostPickups: 0,
  consumedAtAssignment: true,
  labelChangesAct: true,
  minimumVersion: '2.329.0',
  latestVersion: '2.336.0',
  updates: false,
  coreLimit: 5_000,
  registrationLimit: 10_000,
  secondaryPoints: 900,
  limitStatus: 403,
  retryAfter: true,
  tokenSeconds: 3_600,
  webhookDeliveries: 1,
  sessionRetrySeconds: 240,
};

export type GithubJob = Job & {
  runId: number;
  repository: string;
  held?: 'waiting' | 'pending' | 'requested';
  env: Record<string, string>;
  runnerId?: number;
  groupId?: number;
  /** Of the worker that runs it. */
  token: string;
  lockedUntil: number;
  cancelRequested: boolean;
  cancelSent: boolean;
};

export type Run = { id: number; repository: string; workflow: string; createdAt: number };

export type Runner = {
  id: number;
  name: string;
  labels: string[];
  /** The labels that jobs are assigned by. */
  matched: string[];
  groupId: number;
  workFolder: string;
  /** `owner/name`, or `owner` for a runner of an organization. */
  scope: string;
  /** Null until the first connection. */
  version: string | null;
  token: string;
  createdAt: number;
  /** Of the last connection. */
  idleSince: number;
  session?: { id: string; lastPollAt: number };
  jobId?: string;
  jobDelivered: boolean;
  /** Its registration is used up; the listener still polls. */
  ghost: boolean;
  /** Its job has ended, and its registration with it. The listener ends by itself. */
  done: boolean;
};

export type GithubState = { nextId: number; jobs: GithubJob[]; runs: Run[]; runners: Runner[] };

export function freshState(): GithubState {
  return { nextId: 101, jobs: [], runs: [], runners: [] };
}

/** What happened to a job; webhooks report it. */
export type JobAction = 'waiting' | 'queued' | 'in_progress' | 'completed';

export type GithubModel = ReturnType<typeof githubModel>;

/**
 * @param repositories `owner/name` of each
 * @param settings the present behaviour
 * @param changed called after each change of a job
 */
export function githubModel(
  state: GithubState,
  repositories: readonly string[],
  settings: () => GithubBehaviour,
  changed: (job: GithubJob, action: JobAction) => void,
) {
  const nextId = () => state.nextId++;

  function queueJob(request: GithubJobRequest): GithubJob {
    const repository = request.repository ?? repositories[0] ?? '';
    if (!repositories.includes(repository)) {
      throw new Refused(422, `repository: there is no ${repository}; there are ${repositories.join(', ')}`);
    }
    let run = state.runs.find(({ id }) => id === request.runId);
    if (request.runId !== undefined && run?.repository !== repository) {
      throw new Refused(422, `runId: ${repository} has no run ${request.runId}`);
    }
    if (!run) {
      run = { id: nextId(), repository, workflow: request.workflow ?? 'ci', createdAt: Date.now() };
      state.runs.push(run);
    }
    const job: GithubJob = {
      ...newJob(String(nextId()), request, [...new Set(request.labels)]),
      runId: run.id,
      repository,
      ...(request.held && { held: request.held }),
      env: request.env ?? {},
      token: secret(),
      lockedUntil: 0,
      cancelRequested: false,
      cancelSent: false,
    };
    job.queuedAt -= (request.ageSeconds ?? 0) * 1000;
    run.createdAt = Math.min(run.createdAt, job.queuedAt);
    state.jobs.push(job);
    changed(job, job.held ? 'waiting' : 'queued');
    return job;
  }

  function cancelJob(id: string): void {
    const job = state.jobs.find((candidate) => candidate.id === id);
    if (!job || job.state === 'finished') return;
    if (job.state === 'running') job.cancelRequested = true;
    else end(job, 'cancelled');
  }

  /** The end of a job is the end of its runner: a just-in-time runner runs one job. */
  function end(job: GithubJob, result: NonNullable<Job['result']>, exitStatus?: number): void {
    finish(job, result, exitStatus);
    const runner = state.runners.find(({ jobId }) => jobId === job.id);
    if (runner) {
      delete runner.jobId;
      runner.done = true;
      // The registration of a job that was lost stays: its end was not reported.
      if (result !== 'lost') remove(runner);
    }
    changed(job, 'completed');
  }

  function register(runner: Pick<Runner, 'name' | 'labels' | 'groupId' | 'scope' | 'workFolder'>): Runner {
    const taken = state.runners.some(
      ({ name, scope, ghost }) => !ghost && name === runner.name && scope === runner.scope,
    );
    if (taken) throw new Refused(409, 'Already exists - A runner with the same name already exists.');
    const labels = [...new Set(runner.labels.map((label) => label.toLowerCase()))];
    const added: Runner = {
      ...runner,
      labels,
      matched: labels,
      id: nextId(),
      version: null,
      token: secret(),
      createdAt: Date.now(),
      idleSince: Date.now(),
      jobDelivered: false,
      ghost: false,
      done: false,
    };
    state.runners.push(added);
    return added;
  }

  function remove(runner: Runner): void {
    state.runners = state.runners.filter((candidate) => candidate !== runner);
  }

  function isOnline(runner: Runner): boolean {
    return (
      runner.session !== undefined &&
      Date.now() - runner.session.lastPollAt <= settings().offlineSeconds * 1000
    );
  }

  /** What REST answers, which is not always what is. */
  function reportedBusy(runner: Runner): boolean {
    const job = state.jobs.find(({ id }) => id === runner.jobId);
    if (!job || settings().busyLies) return false;
    return job.startedAt === undefined || Date.now() - job.startedAt >= settings().busyLateSeconds * 1000;
  }

  /** The registrations that REST shows for a scope. */
  function listed(scope: string): Runner[] {
    const newest = Date.now() - settings().listLagSeconds * 1000;
    return state.runners.filter(
      (runner) => !runner.ghost && runner.scope === scope && runner.createdAt <= newest,
    );
  }

  /** Takes the job of a runner back. The runner is a ghost afterwards if its registration was used up. */
  function takeBack(runner: Runner, job: GithubJob): void {
    requeue(job);
    delete job.runnerId;
    delete job.groupId;
    delete runner.jobId;
    runner.jobDelivered = false;
    if (settings().consumedAtAssignment) runner.ghost = true;
  }

  /** Confirms that the worker of `runner` starts the job. */
  function pickUp(runner: Runner, id: string): GithubJob {
    const job = state.jobs.find((candidate) => candidate.id === id);
    // A listener repeats a request whose answer was lost.
    if (job?.state === 'running' && runner.jobId === id) return job;
    if (job?.state !== 'assigned' || runner.jobId !== id)
      throw new Refused(409, `job ${id} is not assigned to you`);
    if (settings().lostPickups > 0) {
      settings().lostPickups -= 1;
      takeBack(runner, job);
      runner.ghost = true;
      throw new Refused(409, `job ${id} was given to another runner`);
    }
    start(job);
    job.lockedUntil = Date.now() + settings().lockSeconds * 1000;
    changed(job, 'in_progress');
    return job;
  }

  /** Applies everything that is due. */
  function advance(now = Date.now()): void {
    const { assignmentLagSeconds, pickupSeconds, idleRemovalSeconds } = settings();
    for (const job of state.jobs) {
      if (job.state === 'assigned' && now - (job.assignedAt ?? 0) > pickupSeconds * 1000) {
        const runner = state.runners.find(({ jobId }) => jobId === job.id);
        if (runner) takeBack(runner, job);
        else requeue(job);
      }
      if (job.state === 'running' && now > job.lockedUntil) end(job, 'lost');
      if (job.state === 'queued' && !job.held && now - job.queuedAt >= assignmentLagSeconds * 1000) give(job);
    }
    if (idleRemovalSeconds === null) return;
    for (const runner of state.runners) {
      const isIdle = runner.version !== null && runner.jobId === undefined && !runner.ghost;
      if (isIdle && now - runner.idleSince > idleRemovalSeconds * 1000) remove(runner);
    }
  }

  function give(job: GithubJob): void {
    const wanted = job.target.map((label) => label.toLowerCase());
    const runner = state.runners.find(
      (candidate) =>
        candidate.jobId === undefined &&
        !candidate.ghost &&
        isOnline(candidate) &&
        !mustUpdate(candidate) &&
        (candidate.scope === job.repository || candidate.scope === job.repository.split('/')[0]) &&
        wanted.every((label) => candidate.matched.includes(label)),
    );
    if (!runner) return;
    assign(job, runner.name);
    job.runnerId = runner.id;
    job.groupId = runner.groupId;
    runner.jobId = job.id;
    runner.jobDelivered = false;
  }

  function mustUpdate(runner: Runner): boolean {
    const { updates, latestVersion } = settings();
    return updates && runner.version !== null && compareVersions(runner.version, latestVersion) < 0;
  }

  return {
    state,
    repositories,
    queueJob,
    cancelJob,
    end,
    register,
    remove,
    isOnline,
    reportedBusy,
    listed,
    pickUp,
    advance,
    mustUpdate,
  };
}

/** Negative if `left` is the older version. */
export function compareVersions(left: string, right: string): number {
  return left.localeCompare(right, 'en', { numeric: true });
}

/** A secret without a form that could be mistaken for one of GitHub. */
export function secret(): string {
  return `stand-in-${randomUUID()}-${randomBytes(8).toString('hex')}`;
}
