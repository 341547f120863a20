import { randomBytes, randomUUID } from 'node:crypto';
import * as v from 'valibot';
import { jobRequestFields } from '../control.ts';
import { faultSchema, Refused } from '../http.ts';
import { assign, finish, type Job, newJob, requeue, start } from '../stand-in.ts';

/** Resource classes, their tokens, tasks and runners of CircleCI. A job here is one task. */

export const circleciJobRequest = v.strictObject({
  ...jobRequestFields,
  /** `namespace/name`. Default: the first class of the stand-in. */
  resourceClass: v.optional(v.string()),
  /** How often it is queued again after an infrastructure failure, as `max_auto_reruns` does. */
  reruns: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(5, 'is at most 5'))),
});
export type CircleciJobRequest = v.InferOutput<typeof circleciJobRequest>;

const seconds = v.pipe(v.number(), v.minValue(0));

const settingsSchema = v.strictObject({
  faults: v.array(faultSchema),
  /** How long a claim waits for a task. */
  pollSeconds: seconds,
  /** A task without a heartbeat fails after this time. CircleCI: more than 5 min. */
  lostSeconds: seconds,
  /** A task that its runner has claimed and not started fails after this time. CircleCI: 10 min. */
  startSeconds: seconds,
  /** Runners that are silent for this time leave the list. CircleCI: 12 h. */
  listSeconds: seconds,
  /** How often one task can be given back. The number at CircleCI is not documented. */
  unclaims: v.pipe(v.number(), v.integer(), v.minValue(0)),
});
export const circleciBehaviour = v.partial(settingsSchema);
export type CircleciBehaviour = v.InferOutput<typeof settingsSchema>;

export const circleciDefaults: CircleciBehaviour = {
  faults: [],
  pollSeconds: 20,
  lostSeconds: 300,
  startSeconds: 600,
  listSeconds: 43_200,
  unclaims: 3,
};

export type CircleciJob = Job & {
  resourceClass: string;
  env: Record<string, string>;
  /** Of the runner that has it. */
  token: string;
  heartbeatAt: number;
  canceling: boolean;
  unclaimed: number;
  reruns: number;
  /** The task that this one repeats. */
  rerunOf?: string;
};

/** A runner as the inventory lists it. It has no id and no busy flag. */
export type CircleciRunner = {
  name: string;
  resourceClass: string;
  hostname: string;
  version: string;
  ip: string;
  firstConnected: number;
  lastConnected: number;
  lastUsed?: number;
};

export type ClassToken = {
  id: string;
  resourceClass: string;
  nickname: string;
  value: string;
  createdAt: number;
};
export type ResourceClass = { id: string; name: string; description: string };

export type CircleciState = {
  jobs: CircleciJob[];
  runners: CircleciRunner[];
  classes: ResourceClass[];
  tokens: ClassToken[];
};

export type CircleciModel = ReturnType<typeof circleciModel>;

export function circleciModel(state: CircleciState, settings: () => CircleciBehaviour) {
  function queueJob(request: CircleciJobRequest): CircleciJob {
    const resourceClass = request.resourceClass ?? state.classes[0]?.name ?? '';
    if (!state.classes.some(({ name }) => name === resourceClass)) {
      throw new Refused(
        422,
        `resourceClass: there is no ${resourceClass}; there are ${state.classes.map(({ name }) => name).join(', ')}`,
      );
    }
    const job: CircleciJob = {
      ...newJob(randomUUID(), request, [resourceClass]),
      resourceClass,
      env: request.env ?? {},
      token: secret(),
      heartbeatAt: 0,
      canceling: false,
      unclaimed: 0,
      reruns: request.reruns ?? 0,
    };
    if (request.name === undefined) job.name = `task-${state.jobs.length + 1}`;
    state.jobs.push(job);
    return job;
  }

  function cancelJob(id: string): void {
    const job = state.jobs.find((candidate) => candidate.id === id);
    if (!job || job.state === 'finished') return;
    if (job.state === 'queued') end(job, 'cancelled');
    else job.canceling = true;
  }

  function end(job: CircleciJob, result: NonNullable<Job['result']>, exitStatus?: number): void {
    finish(job, result, exitStatus);
    if (result !== 'lost' || job.reruns === 0) return;
    const again = queueJob({ ...job, reruns: job.reruns - 1 });
    again.rerunOf = job.id;
  }

  /** Records a claim of a runner. */
  function connect(runner: Omit<CircleciRunner, 'firstConnected' | 'lastConnected'>): CircleciRunner {
    const known = state.runners.find(
      ({ name, resourceClass }) => name === runner.name && resourceClass === runner.resourceClass,
    );
    const now = Date.now();
    if (known) return Object.assign(known, runner, { lastConnected: now });
    const added = { ...runner, firstConnected: now, lastConnected: now };
    state.runners.push(added);
    return added;
  }

  /** The next task of the runner's class, now claimed. */
  function claim(runner: CircleciRunner): CircleciJob | undefined {
    runner.lastConnected = Date.now();
    const job = state.jobs.find(
      (candidate) => candidate.state === 'queued' && candidate.resourceClass === runner.resourceClass,
    );
    if (!job) return undefined;
    assign(job, runner.name);
    job.token = secret();
    runner.lastUsed = Date.now();
    return job;
  }

  function heartbeat(job: CircleciJob): void {
    job.heartbeatAt = Date.now();
    if (job.state === 'assigned') start(job);
  }

  /** Gives a task back to the queue. @throws {Refused} 409 once its retries are used up. */
  function unclaim(job: CircleciJob): void {
    if (job.unclaimed >= settings().unclaims) throw new Refused(409, 'the retries of this task are used up');
    job.unclaimed += 1;
    requeue(job);
  }

  /** Applies everything that is due. */
  function advance(now = Date.now()): void {
    const { lostSeconds, startSeconds } = settings();
    for (const job of state.jobs) {
      const isLost =
        (job.state === 'assigned' && now - (job.assignedAt ?? 0) > startSeconds * 1000) ||
        (job.state === 'running' && now - job.heartbeatAt > lostSeconds * 1000);
      if (isLost) end(job, 'lost');
    }
  }

  return { state, queueJob, cancelJob, end, connect, claim, heartbeat, unclaim, advance };
}

export function secret(): string {
  return `stand-in-${randomUUID()}-${randomBytes(8).toString('hex')}`;
}
