import { gunzipSync } from 'node:zlib';
import * as v from 'valibot';
import { type Answer, type Incoming, parseBody, Refused } from '../http.ts';
import type { Agent, BuildkiteBehaviour, BuildkiteJob, BuildkiteModel } from './model.ts';

/** The Agent API v3, as far as buildkite-agent v3.138 uses it to run jobs, and the two endpoints of metrics. */

const registration = v.object({
  /** An agent that was given no name sends none. */
  name: v.optional(v.string(), ''),
  hostname: v.optional(v.string(), ''),
  version: v.optional(v.string(), ''),
  meta_data: v.optional(v.nullable(v.array(v.string())), []),
  priority: v.optional(v.string(), '0'),
  ignore_in_dispatches: v.optional(v.boolean(), false),
});

const finishRequest = v.object({
  exit_status: v.string(),
  signal: v.optional(v.string()),
  signal_reason: v.optional(v.string()),
  ignore_agent_in_dispatches: v.optional(v.boolean(), false),
});

/** Limits of a job's log, part of the answer to `accept`. */
const CHUNK_BYTES = 102_400;
const LOG_BYTES = 1_073_741_824;

export function agentApi(
  model: BuildkiteModel,
  organization: string,
  cluster: string,
  agentTokens: readonly string[],
  settings: () => BuildkiteBehaviour,
  url: () => string,
) {
  const { state } = model;

  function handle(request: Incoming): Answer | undefined {
    if (!request.path.startsWith('/v3/')) return undefined;
    const [kind = '', id = '', action = ''] = request.path
      .slice('/v3/'.length)
      .split('/')
      .map(decodeURIComponent);
    const token = /^Token (\S+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
    const call = [request.method, kind, action].filter(Boolean).join(' ');
    if (call === 'POST register' || kind === 'metrics') {
      if (!agentTokens.includes(token)) throw new Refused(401, 'Unauthorized: invalid agent token');
      request.caller = 'agent token';
      return call === 'POST register' ? register(request) : metrics(request, id);
    }
    const agent = agentOf(token);
    const tokenJob = state.jobs.find((job) => job.token === token && job.state === 'running');
    if (!agent && !tokenJob) throw new Refused(401, 'Unauthorized: invalid access token');
    request.caller = agent?.name ?? `job ${tokenJob?.id}`;
    if (kind === 'jobs') return jobCall(request, id, action, agent, tokenJob);
    // A job may stop or pause the agent that runs it.
    const target = agent ?? state.agents.find(({ jobId }) => jobId === tokenJob?.id);
    if (!target) throw new Refused(401, 'Unauthorized: invalid access token');
    if (!agent && !['stop', 'pause', 'resume'].includes(kind)) {
      throw new Refused(401, 'Unauthorized: this needs the access token of an agent');
    }
    return agentCall(request, call, target);
  }

  /** The agent with a session token that is still valid. */
  function agentOf(token: string): Agent | undefined {
    return state.agents.find(
      (agent) => agent.token === token && agent.state !== 'disconnected' && agent.state !== 'lost',
    );
  }

  function register(request: Incoming): Answer {
    const asked = parseBody(registration, request.json());
    const agent = model.register({
      name: asked.name || `${asked.hostname}-${state.agents.length + 1}`,
      hostname: asked.hostname,
      version: asked.version,
      tags: asked.meta_data ?? [],
      priority: Number(asked.priority) || 0,
      ignored: asked.ignore_in_dispatches,
    });
    const { pingSeconds, heartbeatSeconds, jobStatusSeconds, endpoint } = settings();
    return {
      status: 200,
      body: {
        id: agent.id,
        name: agent.name,
        access_token: agent.token,
        endpoint: endpoint ?? `${url()}/v3`,
        ping_interval: pingSeconds,
        job_status_interval: jobStatusSeconds,
        heartbeat_interval: heartbeatSeconds,
        meta_data: agent.tags,
      },
    };
  }

  function agentCall(request: Incoming, call: string, agent: Agent): Answer | undefined {
    switch (call) {
      case 'POST connect':
        model.connect(agent);
        return { status: 200, body: {} };
      case 'GET ping':
        return { status: 200, body: ping(agent) };
      case 'POST heartbeat': {
        agent.lastHeartbeatAt = Date.now();
        const { sent_at } = parseBody(v.object({ sent_at: v.optional(v.string()) }), request.json());
        return { status: 200, body: { sent_at, received_at: new Date().toISOString() } };
      }
      case 'POST stop':
        model.stop(agent);
        return { status: 200, body: {} };
      case 'POST disconnect':
        model.disconnect(agent);
        return { status: 200, body: {} };
      case 'POST pause':
        if (agent.state === 'connected') agent.state = 'paused';
        return { status: 200, body: {} };
      case 'POST resume':
        if (agent.state === 'paused') agent.state = 'connected';
        return { status: 200, body: {} };
      default:
        return undefined;
    }
  }

  function ping(agent: Agent): object {
    const { pingAction } = settings();
    if (pingAction !== null) return { action: pingAction };
    if (agent.state === 'paused') return { action: 'pause' };
    const job = model.dispatch(agent);
    return job ? { job: { id: job.id, state: 'assigned' } } : {};
  }

  function jobCall(
    request: Incoming,
    id: string,
    action: string,
    agent: Agent | undefined,
    tokenJob: BuildkiteJob | undefined,
  ): Answer | undefined {
    const job = state.jobs.find((candidate) => candidate.id === id);
    if (!job || (agent ? job.agentId !== agent.id : job !== tokenJob)) throw new Refused(404, 'No job found');
    const call = `${request.method} ${action}`;
    if (call === 'PUT accept') {
      if (!agent) throw new Refused(401, 'Unauthorized: this needs the access token of an agent');
      model.accept(agent, job);
      return { status: 200, body: accepted(job, agent) };
    }
    if (call === 'GET ') return { status: 200, body: { id: job.id, state: stateOf(job) } };
    if (!tokenJob) throw new Refused(401, 'Unauthorized: this needs the token of the job');
    switch (call) {
      case 'PUT start':
        model.begin(job);
        return { status: 200, body: {} };
      case 'POST chunks':
        addChunk(job, request);
        return { status: 201, body: {} };
      case 'PUT finish': {
        const ended = parseBody(finishRequest, request.json());
        if (ended.signal !== undefined && ended.signal !== '') job.signal = ended.signal;
        if (ended.signal_reason !== undefined && ended.signal_reason !== '')
          job.signalReason = ended.signal_reason;
        const runner = state.agents.find(({ jobId }) => jobId === job.id);
        if (runner && ended.ignore_agent_in_dispatches) runner.ignored = true;
        const status = Number(ended.exit_status);
        model.end(job, job.canceling ? 'cancelled' : status === 0 ? 'succeeded' : 'failed', status);
        return { status: 200, body: {} };
      }
      case 'POST header_times':
      case 'PUT header_times':
        return { status: 200, body: {} };
      default:
        return undefined;
    }
  }

  /** Pieces of the log have a place of their own and may come twice. Their borders are between bytes, not characters. */
  function addChunk(job: BuildkiteJob, request: Incoming): void {
    const raw = request.headers['content-encoding'] === 'gzip' ? gunzipSync(request.body) : request.body;
    const offset = Number(request.query.get('offset') ?? 0);
    const before = Buffer.from(job.rawLog, 'latin1');
    const log = Buffer.alloc(Math.max(before.length, offset + raw.length));
    before.copy(log);
    raw.copy(log, offset);
    job.rawLog = log.toString('latin1');
    job.log = log.toString();
  }

  function accepted(job: BuildkiteJob, agent: Agent): object {
    return {
      id: job.id,
      state: 'accepted',
      token: job.token,
      env: {
        BUILDKITE: 'true',
        CI: 'true',
        BUILDKITE_COMMAND: job.command,
        BUILDKITE_LABEL: job.name,
        BUILDKITE_REPO: 'https://example.com/repository.git',
        BUILDKITE_JOB_ID: job.id,
        BUILDKITE_BUILD_ID: job.id,
        BUILDKITE_BUILD_NUMBER: String(job.number),
        BUILDKITE_BUILD_URL: `${url()}/${organization}/${job.pipeline}/builds/${job.number}`,
        BUILDKITE_ORGANIZATION_SLUG: organization,
        BUILDKITE_PIPELINE_SLUG: job.pipeline,
        BUILDKITE_PIPELINE_PROVIDER: 'git',
        BUILDKITE_COMMIT: 'HEAD',
        BUILDKITE_BRANCH: 'main',
        BUILDKITE_AGENT_NAME: agent.name,
        BUILDKITE_AGENT_ID: agent.id,
        BUILDKITE_RETRY_COUNT: job.retryOf === undefined ? '0' : '1',
        ...job.env,
      },
      step: { command: job.command },
      chunks_max_size_bytes: CHUNK_BYTES,
      chunks_interval_seconds: 1,
      log_max_size_bytes: LOG_BYTES,
      runnable_at: new Date(job.queuedAt).toISOString(),
    };
  }

  function stateOf(job: BuildkiteJob): string {
    if (job.state === 'finished') return job.result === 'cancelled' ? 'canceled' : 'finished';
    if (job.canceling) return 'canceling';
    if (job.state === 'running') return job.startedAt === undefined ? 'accepted' : 'running';
    return job.state === 'assigned' ? 'assigned' : 'scheduled';
  }

  function metrics(request: Incoming, part: string): Answer | undefined {
    if (request.method !== 'GET' || (part !== '' && part !== 'queue')) return undefined;
    const headers = { 'buildkite-agent-metrics-poll-duration': String(settings().metricsPollSeconds) };
    const common = { organization: { slug: organization }, cluster: { name: cluster } };
    if (part === 'queue') {
      const name = request.query.get('name') ?? '';
      if (!model.queues.includes(name)) throw new Refused(404, `No queue ${name}`);
      const { agents, jobs } = countsOf((queue) => queue === name);
      return { status: 200, headers, body: { ...common, agents, jobs } };
    }
    const all = countsOf(() => true);
    // A queue with neither agents nor jobs is missing.
    const active = model.queues
      .map((name) => ({ name, ...countsOf((queue) => queue === name) }))
      .filter(({ agents, jobs }) => agents.total + jobs.total > 0);
    return {
      status: 200,
      headers,
      body: {
        ...common,
        agents: {
          ...all.agents,
          queues: Object.fromEntries(active.map(({ name, agents }) => [name, agents])),
        },
        jobs: { ...all.jobs, queues: Object.fromEntries(active.map(({ name, jobs }) => [name, jobs])) },
      },
    };
  }

  function countsOf(includes: (queue: string) => boolean) {
    const counted = settings().countStopping ? ['connected', 'paused', 'stopping'] : ['connected', 'paused'];
    const agents = state.agents.filter((agent) => includes(agent.queue) && counted.includes(agent.state));
    const jobs = state.jobs.filter((job) => includes(job.queue) && job.state !== 'finished');
    const busy = agents.filter(({ jobId }) => jobId !== undefined).length;
    const scheduled = jobs.filter((job) => job.state === 'queued').length;
    return {
      agents: { idle: agents.length - busy, busy, total: agents.length },
      jobs: { scheduled, running: jobs.length - scheduled, waiting: 0, total: jobs.length },
    };
  }

  return { handle };
}
