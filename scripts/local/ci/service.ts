import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import * as v from 'valibot';

/**
 * A simulated CI provider whose jobs take a given time and do nothing. It records everything, so that a test can
 * show that each job ran exactly once and that none was killed.
 */

export type Job = {
  id: string;
  queue: string;
  /** How long it takes. */
  seconds: number;
  state: 'queued' | 'running' | 'finished' | 'killed';
  /** Who ran it. */
  agent?: string;
  startedAt?: Date;
  endedAt?: Date;
};

type Agent = { name: string; queue: string; since: Date; job: Job | undefined; stopped: boolean };

export type CiService = {
  url: string;
  jobs: readonly Job[];
  /** Adds a job to a queue. */
  enqueue(queue: string, seconds: number): Job;
  /** Agents that are registered and take jobs. */
  agents(): { name: string; queue: string; job: string | undefined; stopped: boolean }[];
  close(): Promise<void>;
};

/** An agent asks for a job this often at least, in milliseconds: the service holds the question for so long. */
const LONG_POLL_MS = 1_000;
const LOOK_EVERY_MS = 20;

const registration = v.object({ name: v.string(), queue: v.string() });

/** Starts the service on a free loopback port. */
export async function startCiService(): Promise<CiService> {
  const jobs: Job[] = [];
  const agents = new Map<string, Agent>();

  const http = createServer((request, response) => {
    route(request, response).catch((error) => {
      response.writeHead(500).end(String(error));
    });
  });

  async function route(request: IncomingMessage, response: ServerResponse) {
    const [, kind, id = '', action = ''] = (request.url ?? '').split('/').map(decodeURIComponent);
    const what = `${request.method} ${kind} ${action}`.trim();
    if (what === 'POST agents') return register(await json(request), response);
    const agent = agents.get(id);
    if (kind === 'agents' && !agent) return answer(response, 404);
    if (what === 'GET agents' && agent) return answer(response, 200, describe(agent));
    if (what === 'PUT agents stop' && agent) {
      agent.stopped = true;
      return answer(response, 200);
    }
    if (what === 'POST agents next' && agent) return next(agent, response);
    const job = jobs.find((candidate) => candidate.id === id);
    if (!job) return answer(response, 404);
    if (what === 'POST jobs run') return holdWhileRunning(job, response);
    if (what === 'POST jobs finish') return finish(job, response);
    return answer(response, 405);
  }

  function register(body: unknown, response: ServerResponse) {
    const { name, queue } = v.parse(registration, body);
    agents.set(name, { name, queue, since: new Date(), job: undefined, stopped: false });
    answer(response, 201);
  }

  /** Taking a job and being stopped cannot overlap: both happen in one turn of this process. */
  async function next(agent: Agent, response: ServerResponse) {
    const end = performance.now() + LONG_POLL_MS;
    while (performance.now() < end && !response.destroyed) {
      if (agent.stopped) return answer(response, 410);
      const job = jobs.find((candidate) => candidate.state === 'queued' && candidate.queue === agent.queue);
      if (job) {
        Object.assign(job, { state: 'running', agent: agent.name, startedAt: new Date() });
        agent.job = job;
        return answer(response, 200, { id: job.id, seconds: job.seconds });
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    }
    answer(response, 204);
  }

  /** The agent keeps this request open during a job. When it ends early, the job is killed with its instance. */
  function holdWhileRunning(job: Job, response: ServerResponse) {
    response.writeHead(200).flushHeaders();
    response.once('close', () => {
      if (job.state === 'running') end(job, 'killed');
    });
  }

  function finish(job: Job, response: ServerResponse) {
    if (job.state !== 'running') return answer(response, 409);
    end(job, 'finished');
    answer(response, 200);
  }

  function end(job: Job, state: 'finished' | 'killed') {
    Object.assign(job, { state, endedAt: new Date() });
    const agent = agents.get(job.agent ?? '');
    if (agent) Object.assign(agent, { job: undefined, since: new Date() });
  }

  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    jobs,
    enqueue(queue, seconds) {
      const job: Job = { id: randomUUID(), queue, seconds, state: 'queued' };
      jobs.push(job);
      return job;
    },
    agents: () => [...agents.values()].map((agent) => ({ ...agent, job: agent.job?.id })),
    close: () =>
      new Promise((resolve) => {
        http.close(() => resolve());
        http.closeAllConnections();
      }),
  };
}

function describe(agent: Agent) {
  return {
    state: agent.job ? 'busy' : 'idle',
    job: agent.job?.id,
    since: agent.since,
    stopped: agent.stopped,
  };
}

function answer(response: ServerResponse, status: number, body?: unknown) {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(body === undefined ? undefined : JSON.stringify(body));
}

async function json(request: IncomingMessage): Promise<unknown> {
  const pieces: Buffer[] = [];
  for await (const piece of request) pieces.push(piece);
  return JSON.parse(Buffer.concat(pieces).toString());
}
