import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import {
  answerBody,
  type FakeRegistration,
  fakeRegistration,
  INSTANCE,
} from './testing/fake-registration.ts';

type Call = { url: string; authorization: string | null; body: unknown };

let fake: FakeRegistration;
let calls: Call[];
let answer: Response;
beforeEach(() => {
  fake = fakeRegistration();
  fake.launch(INSTANCE, 'bk/default');
  calls = [];
  answer = Response.json({ id: 'a-1', access_token: 'session', endpoint: '', ping_interval: 2 });
  vi.stubGlobal('fetch', async (url: string, init: RequestInit) => {
    const authorization = new Headers(init.headers).get('authorization');
    calls.push({ url, authorization, body: JSON.parse(String(init.body)) });
    return answer;
  });
});
afterEach(() => {
  vi.unstubAllGlobals();
});

const AGENT = {
  name: 'chosen-by-a-job',
  hostname: 'ip-10',
  meta_data: ['queue=default', 'os=linux'],
  pid: 7,
};

const request = (agent: unknown = AGENT) =>
  fake.request({ action: 'register', previous: 'none', agent }, { group: 'bk/default' });

test("the agent's own call goes to Buildkite with the agent token and a name of ours", async () => {
  expect(answerBody(await request())).toEqual({
    outcome: 'registered',
    registration: {
      provider: 'bk',
      name: `${INSTANCE}-1`,
      // The agent goes on with this endpoint: without one it would stay at the proxy on its instance.
      answer: {
        id: 'a-1',
        access_token: 'session',
        endpoint: 'https://agent.buildkite.test/v3',
        ping_interval: 2,
      },
    },
  });
  expect(calls).toEqual([
    {
      url: 'https://agent.buildkite.test/v3/register',
      authorization: 'Token bk-agent-token',
      body: { ...AGENT, name: `${INSTANCE}-1` },
    },
  ]);
});

test('the endpoint that Buildkite names is kept', async () => {
  answer = Response.json({ access_token: 'session', endpoint: 'https://agent-edge.buildkite.test/v3' });
  expect(answerBody(await request())).toMatchObject({
    registration: { answer: { endpoint: 'https://agent-edge.buildkite.test/v3' } },
  });
});

test.each([
  ['another queue', { ...AGENT, meta_data: ['queue=release'] }, 'foreign-queue'],
  ['two queues', { ...AGENT, meta_data: ['queue=default', 'queue=release'] }, 'foreign-queue'],
  ['a queue in other letters', { ...AGENT, meta_data: ['queue=default', 'Queue=release'] }, 'foreign-queue'],
  ['no queue', { ...AGENT, meta_data: [] }, 'foreign-queue'],
  ['no tags', { name: 'x' }, 'malformed-agent'],
  ['no agent', undefined, 'malformed-agent'],
])('an agent with %s is refused before any call', async (_, agent, reason) => {
  const body = { action: 'register', previous: 'none', ...(agent && { agent }) };
  const call = fake.request(body, { group: 'bk/default' });
  await expect(call).rejects.toMatchObject({ name: 'PermanentError', reason });
  expect(calls).toEqual([]);
  expect(fake.metrics).toEqual([]);
});

test.each([
  [422, 'settings'],
  [404, 'settings'],
  [429, 'rate-limited'],
  [500, 'unavailable'],
])('an answer %i is the refusal %s', async (status, reason) => {
  answer = Response.json({ message: 'no' }, { status });
  expect(answerBody(await request())).toMatchObject({ outcome: 'refused', reason });
});

test('an answer without a session token is none', async () => {
  answer = Response.json({ id: 'a-1' });
  expect(answerBody(await request())).toMatchObject({ reason: 'unavailable' });
});

test('after an agent that ended without a job nothing is removed: Buildkite drops a silent agent itself', async () => {
  await request();
  fake.pass(60);
  answer = Response.json({ access_token: 'session' });
  const next = await fake.request(
    { action: 'register', previous: 'other', agent: AGENT },
    { group: 'bk/default' },
  );
  expect(answerBody(next)).toMatchObject({ registration: { name: `${INSTANCE}-2` } });
  expect(calls).toHaveLength(2);
});

test('CircleCI: the resource class and its token, without a call', async () => {
  fake.launch(INSTANCE, 'cci/default');
  const body = { action: 'register', previous: 'none' };
  expect(answerBody(await fake.request(body, { group: 'cci/default' }))).toEqual({
    outcome: 'registered',
    registration: {
      provider: 'cci',
      name: `${INSTANCE}-1`,
      resourceClass: 'acme/linux',
      authToken: 'cci-class-token',
    },
  });
  expect(calls).toEqual([]);
});
