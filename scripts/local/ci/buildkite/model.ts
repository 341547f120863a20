import { randomBytes, randomUUID } from 'node:crypto';
import * as v from 'valibot';
import { jobRequestFields } from '../control.ts';
import { faultSchema, Refused } from '../http.ts';
import { assign, finish, type Job, newJob, requeue, start } from '../stand-in.ts';

/** Jobs and agents of one Buildkite organization, and the dispatch of jobs to agents that ping. */

export const buildkiteJobRequest = v.strictObject({
  ...jobRequestFields,
  /** Key of the queue. Default: the first queue of the stand-in. */
  queue: v.optional(v.string()),
  /** Further agent query rules, `key=value`. */
  rules: v.optional(v.array(v.pipe(v.string(), v.regex(/^[^=]+=.*$/, 'must have the form key=value')))),
  priority: v.optional(v.pipe(v.number(), v.integer())),
  /** How often the job is queued again when it ends with exit status -1, as `retry.automatic` does. */
  retries: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0))),
  pipeline: v.optional(v.string()),
});
export type BuildkiteJobRequest = v.InferOutput<typeof buildkiteJobRequest>;

const seconds = v.pipe(v.number(), v.minValue(0));

const settingsSchema = v.strictObject({
  faults: v.array(faultSchema),
  /** Whole seconds: agents read these three from the answer to their registration. */
  pingSeconds: v.pipe(v.number(), v.integer(), v.minValue(1)),
  heartbeatSeconds: v.pipe(v.number(), v.integer(), v.minValue(1)),
  jobStatusSeconds: v.pipe(v.number(), v.integer(), v.minValue(1)),
  /** An agent without a heartbeat is lost after this time, and its job ends with -1. Buildkite: 180 s, within 60 s more. */
  lostSeconds: seconds,
  /** A job whose agent has not accepted it is given to another one after this time. Buildkite's own time is not documented. */
  acceptSeconds: seconds,
  /** Header of the metrics endpoints: least time between two polls. */
  metricsPollSeconds: seconds,
  /** Agents that stop count in `agents.total`. Whether they do at Buildkite is not documented. */
  countStopping: v.boolean(),
  /** Every ping is answered with this action. */
  pingAction: v.nullable(v.picklist(['disconnect', 'pause'])),
  /** The endpoint that the answer to a registration names; null: that of the stand-in. */
  endpoint: v.nullable(v.string()),
  /** The header that authenticates webhooks: the token itself, or a signature made with it. */
  webhookHeader: v.picklist(['token', 'signature']),
  /** How often each webhook is delivered. 0: lost, 2: doubled. */
  webhookDeliveries: v.pipe(v.number(), v.integer(), v.minValue(0)),
});
export const buildkiteBehaviour = v.partial(settingsSchema);
export type BuildkiteBehaviour = v.InferOutput<typeof settingsSchema>;

export const buildkiteDefaults: BuildkiteBehaviour = {
  faults: [],
  pingSeconds: 1,
  heartbeatSeconds: 3,
  jobStatusSeconds: 1,
  lostSeconds: 180,
  acceptSeconds: 30,
  metricsPollSeconds: 10,
  countStopping: true,
  pingAction: null,
  endpoint: null,
  webhookHeader: 'token',
  webhookDeliveries: 1,
};

export type BuildkiteJob = Job & {
  queue: string;
  rules: string[];
  priority: number;
  retries: number;
  pipeline: string;
  env: Record<string, string>;
  number: number;
  agentId?: string;
  /** Of its agent while it runs. */
  token: string;
  canceling: boolean;
  /** The bytes of the log, one per character. */
  rawLog: string;
  /** Of the end, as the agent reported them. */
  signal?: string;
  signalReason?: string;
  /** The job that this one repeats. */
  retryOf?: string;
};

export type Agent = {
  id: string;
  name: string;
  hostname: string;
  version: string;
  token: string;
  queue: string;
  tags: string[];
  priority: number;
  /** `registered` until it connects. Only these and `paused` and `stopping` agents are listed in metrics. */
  state: 'registered' | 'connected' | 'paused' | 'stopping' | 'disconnected' | 'lost';
  ignored: boolean;
  lastHeartbeatAt: number;
  /** When it last finished a job with success: ties go to the latest. */
  lastSuccessAt: number;
  jobId?: string;
};

export type BuildkiteState = { nextNumber: number; jobs: BuildkiteJob[]; agents: Agent[] };

/** Names of webhook events. */
export type EventName =
  | `job.${'scheduled' | 'started' | 'finished'}`
  | `agent.${'connected' | 'disconnected' | 'lost' | 'stopping'}`;

export type Announce = (event: EventName, about: { job?: BuildkiteJob; agent?: Agent }) => void;

export type BuildkiteModel = ReturnType<typeof buildkiteModel>;

export function buildkiteModel(
  state: BuildkiteState,
  queues: readonly string[],
  settings: () => BuildkiteBehaviour,
  announce: Announce,
) {
  function queueJob(request: BuildkiteJobRequest): BuildkiteJob {
    const queue = request.queue ?? queues[0] ?? '';
    if (!queues.includes(queue)) {
      throw new Refused(422, `queue: there is no ${queue}; there are ${queues.join(', ')}`);
    }
    const rules = [`queue=${queue}`, ...(request.rules ?? [])];
    const job: BuildkiteJob = {
      ...newJob(randomUUID(), request, rules),
      queue,
      rules,
      priority: request.priority ?? 0,
      retries: request.retries ?? 0,
      pipeline: request.pipeline ?? 'pipeline',
      env: request.env ?? {},
      number: state.nextNumber++,
      token: secret(),
      canceling: false,
      rawLog: '',
    };
    if (request.name === undefined) job.name = `job-${job.number}`;
    state.jobs.push(job);
    announce('job.scheduled', { job });
    return job;
  }

  function cancelJob(id: string): void {
    const job = state.jobs.find((candidate) => candidate.id === id);
    if (!job || job.state === 'finished') return;
    // The agent of a job that runs reads it, and reports the end.
    if (job.state === 'running') job.canceling = true;
    else end(job, 'cancelled');
  }

  function end(job: BuildkiteJob, result: NonNullable<Job['result']>, exitStatus?: number): void {
    finish(job, result, exitStatus);
    const agent = state.agents.find(({ jobId }) => jobId === job.id);
    if (agent) {
      delete agent.jobId;
      if (result === 'succeeded') agent.lastSuccessAt = Date.now();
    }
    announce('job.finished', { job, ...(agent && { agent }) });
    if (exitStatus !== -1 || job.retries === 0 || result === 'cancelled') return;
    const again = queueJob({
      command: job.command,
      name: job.name,
      env: job.env,
      queue: job.queue,
      rules: job.rules.slice(1),
      priority: job.priority,
      retries: job.retries - 1,
      pipeline: job.pipeline,
    });
    again.retryOf = job.id;
  }

  function register(
    agent: Pick<Agent, 'name' | 'hostname' | 'version' | 'tags' | 'priority' | 'ignored'>,
  ): Agent {
    const keys = agent.tags
      .filter((tag) => tag.startsWith('queue='))
      .map((tag) => tag.slice('queue='.length));
    if (keys.length > 1) throw new Refused(422, 'An agent can be in one queue of a cluster only');
    const queue = keys[0] ?? 'default';
    if (!queues.includes(queue)) throw new Refused(422, `Queue "${queue}" not found in the cluster`);
    const added: Agent = {
      ...agent,
      id: randomUUID(),
      token: secret(),
      queue,
      state: 'registered',
      lastHeartbeatAt: Date.now(),
      lastSuccessAt: 0,
    };
    state.agents.push(added);
    return added;
  }

  function connect(agent: Agent): void {
    agent.state = 'connected';
    agent.lastHeartbeatAt = Date.now();
    announce('agent.connected', { agent });
  }

  /** The job that the agent gets now, or has got already and not accepted. */
  function dispatch(agent: Agent): BuildkiteJob | undefined {
    const own = state.jobs.find((job) => job.id === agent.jobId && job.state === 'assigned');
    if (own) return own;
    if (agent.state !== 'connected' || agent.ignored || agent.jobId !== undefined) return undefined;
    const tags = new Set([...agent.tags, `queue=${agent.queue}`]);
    const job = state.jobs
      .filter(
        (candidate) => candidate.state === 'queued' && candidate.rules.every((rule) => matches(tags, rule)),
      )
      .sort((left, right) => right.priority - left.priority)
      .find((candidate) => !isBetterPlaced(agent, candidate));
    if (!job) return undefined;
    assign(job, agent.name);
    job.agentId = agent.id;
    agent.jobId = job.id;
    return job;
  }

  /** Whether an agent that waits too has a higher priority for this job. */
  function isBetterPlaced(agent: Agent, job: BuildkiteJob): boolean {
    return state.agents.some(
      (other) =>
        other.state === 'connected' &&
        !other.ignored &&
        other.jobId === undefined &&
        other.priority > agent.priority &&
        job.rules.every((rule) => matches(new Set([...other.tags, `queue=${other.queue}`]), rule)),
    );
  }

  function accept(agent: Agent, job: BuildkiteJob): void {
    // An agent repeats a request whose answer was lost.
    if (job.agentId === agent.id && job.state === 'running') return;
    if (job.agentId !== agent.id || job.state !== 'assigned') {
      throw new Refused(422, `Job ${job.id} is not assigned to this agent`);
    }
    // From here on the agent owns it; the job counts as started when the agent reports that.
    job.state = 'running';
  }

  function begin(job: BuildkiteJob): void {
    if (job.startedAt !== undefined) return;
    start(job);
    const agent = state.agents.find(({ jobId }) => jobId === job.id);
    announce('job.started', { job, ...(agent && { agent }) });
  }

  function giveBack(agent: Agent): void {
    const job = state.jobs.find(
      (candidate) => candidate.id === agent.jobId && candidate.state === 'assigned',
    );
    if (!job) return;
    requeue(job);
    delete job.agentId;
    delete agent.jobId;
  }

  /** The agent ends after its job. A job that it has not accepted is free at once. */
  function stop(agent: Agent): void {
    if (agent.state === 'disconnected' || agent.state === 'lost') return;
    agent.state = 'stopping';
    giveBack(agent);
    announce('agent.stopping', { agent });
  }

  function disconnect(agent: Agent): void {
    giveBack(agent);
    agent.state = 'disconnected';
    announce('agent.disconnected', { agent });
  }

  /** Applies everything that is due. */
  function advance(now = Date.now()): void {
    const { lostSeconds, acceptSeconds } = settings();
    for (const agent of state.agents) {
      if (agent.state === 'disconnected' || agent.state === 'lost') continue;
      if (now - agent.lastHeartbeatAt > lostSeconds * 1000) {
        giveBack(agent);
        agent.state = 'lost';
        announce('agent.lost', { agent });
        const job = state.jobs.find(({ id }) => id === agent.jobId);
        if (job) end(job, 'lost', -1);
      }
      const job = state.jobs.find(({ id }) => id === agent.jobId);
      if (job?.state === 'assigned' && now - (job.assignedAt ?? 0) > acceptSeconds * 1000) giveBack(agent);
    }
  }

  return {
    state,
    queues,
    queueJob,
    cancelJob,
    end,
    register,
    connect,
    dispatch,
    accept,
    begin,
    stop,
    disconnect,
    advance,
  };
}

function matches(tags: ReadonlySet<string>, rule: string): boolean {
  if (!rule.endsWith('=*')) return tags.has(rule);
  return [...tags].some((tag) => tag.startsWith(rule.slice(0, -1)));
}

function secret(): string {
  return `stand-in-${randomUUID()}-${randomBytes(8).toString('hex')}`;
}
