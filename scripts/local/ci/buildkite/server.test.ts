import { createHmac } from 'node:crypto';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { until } from '../testing/program.ts';
import type { PartnerEvent } from './events.ts';
import { type Buildkite, type BuildkiteOptions, startBuildkite } from './server.ts';

let buildkite: Buildkite;
const start = async (options: BuildkiteOptions = {}) => {
  await buildkite?.close();
  buildkite = await startBuildkite({ agentTokens: ['agent-token'], queues: ['q', 'gpu'], ...options });
};
beforeEach(() => start());
afterEach(() => buildkite.close());

// biome-ignore lint/suspicious/noExplicitAny: answers are read with matchers
type Answer = { status: number; body: any; headers: Headers };

async function call(method: string, path: string, token: string, body?: unknown): Promise<Answer> {
  const response = await fetch(new URL(`/v3/${path}`, buildkite.url), {
    method,
    headers: {
      authorization: `Token ${token}`,
      ...(Buffer.isBuffer(body) && { 'content-encoding': 'gzip' }),
    },
    ...(body !== undefined && { body: Buffer.isBuffer(body) ? new Uint8Array(body) : JSON.stringify(body) }),
  });
  const text = await response.text();
  return {
    status: response.status,
    body: text === '' ? undefined : JSON.parse(text),
    headers: response.headers,
  };
}

const register = (body: object) =>
  call('POST', 'register', 'agent-token', { hostname: 'h', version: '3.138.1', ...body });

/** A connected agent, as its session token. */
async function agent(name: string, tags = ['queue=q'], more: object = {}): Promise<string> {
  const { body } = await register({ name, meta_data: tags, ...more });
  await call('POST', 'connect', body.access_token);
  return body.access_token;
}

/** Accepts and starts the next job. */
async function take(session: string): Promise<{ id: string; token: string }> {
  const { body } = await call('GET', 'ping', session);
  const accepted = await call('PUT', `jobs/${body.job.id}/accept`, session);
  expect(accepted.status).toBe(200);
  await call('PUT', `jobs/${body.job.id}/start`, accepted.body.token, { started_at: 'now' });
  return { id: body.job.id, token: accepted.body.token };
}

const finish = (job: { id: string; token: string }, body: object = { exit_status: '0' }) =>
  call('PUT', `jobs/${job.id}/finish`, job.token, body);

describe('tokens', () => {
  test('each is good for its own calls only', async () => {
    const job = buildkite.queueJob({ command: 'true' });
    expect((await register({ name: 'x', meta_data: ['queue=q'] })).status).toBe(200);
    expect((await call('POST', 'register', 'wrong', { name: 'x' })).status).toBe(401);
    expect((await call('GET', 'ping', 'agent-token')).status).toBe(401);
    const session = await agent('a');
    expect((await call('GET', 'metrics', session)).status).toBe(401);
    const taken = await take(session);
    expect((await call('GET', 'ping', taken.token)).status).toBe(401);
    expect((await call('PUT', `jobs/${job.id}/start`, session, {})).status).toBe(401);
    const other = buildkite.queueJob({ command: 'true' });
    expect((await call('GET', `jobs/${other.id}`, taken.token)).status).toBe(404);
    // A job may stop its own agent.
    expect((await call('POST', 'stop', taken.token, {})).status).toBe(200);
    expect((await finish(taken)).status).toBe(200);
    expect((await call('GET', `jobs/${job.id}`, taken.token)).status).toBe(401);
    await call('POST', 'disconnect', session);
    expect((await call('GET', 'ping', session)).status).toBe(401);
    expect(JSON.stringify(buildkite.requests()) + JSON.stringify(buildkite.registrations())).not.toContain(
      session,
    );
  });
});

describe('registration', () => {
  test('names the session, the endpoint and the intervals', async () => {
    buildkite.behave({ endpoint: 'http://elsewhere/v3' });
    expect(await register({ name: 'a', meta_data: ['queue=q', 'os=linux'] })).toMatchObject({
      status: 200,
      body: {
        name: 'a',
        endpoint: 'http://elsewhere/v3',
        ping_interval: 1,
        heartbeat_interval: 3,
        job_status_interval: 1,
      },
    });
    expect(buildkite.registrations()).toMatchObject([{ name: 'a', queue: 'q', state: 'registered' }]);
  });

  test.each([
    ['two queues', ['queue=q', 'queue=gpu']],
    ['an unknown queue', ['queue=none']],
    ['no queue where there is no default one', []],
  ])('refuses %s', async (_, tags) => {
    expect((await register({ name: 'a', meta_data: tags })).status).toBe(422);
  });
});

describe('dispatch', () => {
  test('a job goes to an agent that matches all its rules', async () => {
    const [linux, mac] = [
      await agent('linux', ['queue=q', 'os=linux']),
      await agent('mac', ['queue=q', 'os=mac']),
    ];
    const job = buildkite.queueJob({ command: 'true', queue: 'q', rules: ['os=mac'] });
    expect((await call('GET', 'ping', linux)).body).toEqual({});
    expect((await call('GET', 'ping', mac)).body.job.id).toBe(job.id);
    // The same answer until the agent accepts.
    expect((await call('GET', 'ping', mac)).body.job.id).toBe(job.id);
    expect(job.state).toBe('assigned');
  });

  test('the higher priority goes first, of jobs and of agents', async () => {
    const [low, high] = [await agent('low'), await agent('high', ['queue=q'], { priority: '5' })];
    buildkite.queueJob({ command: 'true' });
    const urgent = buildkite.queueJob({ command: 'true', priority: 2 });
    expect((await call('GET', 'ping', low)).body).toEqual({});
    expect((await call('GET', 'ping', high)).body.job.id).toBe(urgent.id);
    expect((await call('GET', 'ping', low)).body.job).toBeDefined();
  });

  test('a stop frees a job that is not accepted, at once', async () => {
    const [first, second] = [await agent('a'), await agent('b')];
    const job = buildkite.queueJob({ command: 'true' });
    await call('GET', 'ping', first);
    await call('POST', 'stop', first, {});
    expect((await call('GET', 'ping', first)).body).toEqual({});
    expect((await call('GET', 'ping', second)).body.job.id).toBe(job.id);
    expect((await call('PUT', `jobs/${job.id}/accept`, first)).status).toBe(404);
  });

  test('an acceptance whose answer was lost can be repeated, and starts the job once', async () => {
    const session = await agent('a');
    const job = buildkite.queueJob({ command: 'true' });
    await call('GET', 'ping', session);
    buildkite.behave({ faults: [{ path: 'accept$', times: 1, effect: { kind: 'lose-answer' } }] });
    await expect(call('PUT', `jobs/${job.id}/accept`, session)).rejects.toThrow('fetch failed');
    const { status, body } = await call('PUT', `jobs/${job.id}/accept`, session);
    expect(status).toBe(200);
    await call('PUT', `jobs/${job.id}/start`, body.token, {});
    expect(job).toMatchObject({ state: 'running', starts: 1 });
  });

  test('a job that nobody accepts returns to the queue', async () => {
    buildkite.behave({ acceptSeconds: 0.1 });
    const session = await agent('a');
    const job = buildkite.queueJob({ command: 'true' });
    await call('GET', 'ping', session);
    await until('the return', () => job.state === 'queued');
    expect((await call('PUT', `jobs/${job.id}/accept`, session)).status).toBe(404);
  });

  test('a paused agent gets nothing until it is resumed; an ignored one never', async () => {
    const session = await agent('a');
    buildkite.queueJob({ command: 'true' });
    await call('POST', 'pause', session, { timeout_in_minutes: 5 });
    expect((await call('GET', 'ping', session)).body).toEqual({ action: 'pause' });
    await call('POST', 'resume', session, {});
    await finish(await take(session), { exit_status: '0', ignore_agent_in_dispatches: true });
    buildkite.queueJob({ command: 'true' });
    expect((await call('GET', 'ping', session)).body).toEqual({});
    buildkite.behave({ pingAction: 'disconnect' });
    expect((await call('GET', 'ping', session)).body).toEqual({ action: 'disconnect' });
  });
});

describe('jobs', () => {
  test('pieces of a log have their place, whatever their order, number and borders', async () => {
    const job = buildkite.queueJob({ command: 'true' });
    const { id, token } = await take(await agent('a'));
    const text = Buffer.from('größe\n');
    const send = (sequence: number, from: number, to: number) =>
      call(
        'POST',
        `jobs/${id}/chunks?sequence=${sequence}&offset=${from}&size=${to - from}`,
        token,
        gzipSync(text.subarray(from, to)),
      );
    await send(2, 3, text.length);
    await send(1, 0, 3);
    expect((await send(1, 0, 3)).status).toBe(201);
    expect(job.log).toBe('größe\n');
  });

  test('the end has what the agent reported', async () => {
    const job = buildkite.queueJob({ command: 'true' });
    const session = await agent('a');
    await finish(await take(session), { exit_status: '-1', signal: 'SIGTERM', signal_reason: 'agent_stop' });
    expect(job).toMatchObject({
      result: 'failed',
      exitStatus: -1,
      signal: 'SIGTERM',
      signalReason: 'agent_stop',
      starts: 1,
    });
    expect((await call('GET', `jobs/${job.id}`, session)).body.state).toBe('finished');
  });

  test('a user cancels a job that runs: its agent reads that, and ends it', async () => {
    const job = buildkite.queueJob({ command: 'true' });
    const taken = await take(await agent('a'));
    buildkite.cancelJob(job.id);
    expect((await call('GET', `jobs/${job.id}`, taken.token)).body.state).toBe('canceling');
    await finish(taken, { exit_status: '-1' });
    expect(job.result).toBe('cancelled');
  });

  test('the job of a lost agent ends with -1 and is repeated if that is asked for', async () => {
    const job = buildkite.queueJob({ command: 'true', retries: 1 });
    const session = await agent('a');
    await take(session);
    buildkite.behave({ lostSeconds: 0.2 });
    await until('the loss', () => job.state === 'finished');
    expect(job).toMatchObject({ result: 'lost', exitStatus: -1 });
    expect((await call('POST', 'heartbeat', session, {})).status).toBe(401);
    expect(buildkite.jobs()).toMatchObject([{}, { state: 'queued', retryOf: job.id, retries: 0 }]);
  });
});

describe('metrics', () => {
  test('have totals and one entry per queue, and name the time between two polls', async () => {
    await agent('a');
    const busy = await agent('b');
    buildkite.queueJob({ command: 'true' });
    await take(busy);
    buildkite.queueJob({ command: 'true' });
    const { headers, body } = await call('GET', 'metrics', 'agent-token');
    expect(headers.get('buildkite-agent-metrics-poll-duration')).toBe('10');
    const agents = { idle: 1, busy: 1, total: 2 };
    const jobs = { scheduled: 1, running: 1, waiting: 0, total: 2 };
    expect(body).toEqual({
      organization: { slug: 'acme' },
      cluster: { name: 'Default cluster' },
      agents: { ...agents, queues: { q: agents } },
      jobs: { ...jobs, queues: { q: jobs } },
    });
    expect((await call('GET', 'metrics/queue?name=q', 'agent-token')).body).toMatchObject({ agents, jobs });
    expect((await call('GET', 'metrics/queue?name=gpu', 'agent-token')).body).toMatchObject({
      agents: { total: 0 },
    });
    expect((await call('GET', 'metrics/queue?name=none', 'agent-token')).status).toBe(404);
    await call('POST', 'stop', busy, {});
    buildkite.behave({ countStopping: false });
    expect((await call('GET', 'metrics', 'agent-token')).body.agents.total).toBe(1);
  });
});

describe('events', () => {
  test('arrive at the webhook with the token or a signature, and on the partner bus', async () => {
    const received: { headers: IncomingHttpHeaders; body: string }[] = [];
    const receiver = createServer(async (request, response) => {
      received.push({ headers: request.headers, body: (await buffer(request)).toString() });
      response.end();
    });
    await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`;
    const partner: PartnerEvent[] = [];
    await start({ webhook: { url, token: 'hook-token' }, onPartnerEvent: (event) => partner.push(event) });
    buildkite.queueJob({ command: 'true', rules: ['os=linux'] });
    await until('the event', () => received.length === 1);
    expect(received[0]?.headers).toMatchObject({
      'x-buildkite-event': 'job.scheduled',
      'x-buildkite-token': 'hook-token',
    });
    expect(JSON.parse(received[0]?.body ?? '')).toMatchObject({
      event: 'job.scheduled',
      job: { state: 'scheduled', agent_query_rules: ['queue=q', 'os=linux'] },
    });
    buildkite.behave({ webhookHeader: 'signature' });
    await agent('a', ['queue=q', 'os=linux', 'aws:instance-id=i-1']);
    await until('the second event', () => received.length === 2);
    const [, time, signature] =
      /^timestamp=(\d+),signature=([0-9a-f]+)$/.exec(String(received[1]?.headers['x-buildkite-signature'])) ??
      [];
    expect(signature).toBe(
      createHmac('sha256', 'hook-token').update(`${time}.${received[1]?.body}`).digest('hex'),
    );
    await call('POST', 'stop', buildkite.registrations()[0]?.id ?? '', {});
    buildkite.behave({ lostSeconds: 0.1 });
    await until('the loss', () => partner.some(({ detailType }) => detailType === 'Agent Lost'));
    expect(partner).toMatchObject([
      { detailType: 'Job Scheduled', detail: { job: { agent_query_rules: ['queue=q', 'os=linux'] } } },
      {
        detailType: 'Agent Lost',
        detail: { agent: { meta_data: ['queue=q', 'os=linux', 'aws:instance-id=i-1'] } },
      },
    ]);
    await until('the deliveries', () => buildkite.deliveries().every(({ status }) => status === 200));
    receiver.close();
  });
});

test('a job request with a mistake is refused with its place', () => {
  expect(() => buildkite.queueJob({ command: 'true', queue: 'none' })).toThrow(
    'queue: there is no none; there are q, gpu',
  );
});
