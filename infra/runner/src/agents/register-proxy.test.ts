import { afterEach, beforeEach, expect, test } from 'vitest';
import { type RegisterProxy, registerProxy } from './register-proxy.ts';

let proxy: RegisterProxy;
let passed: Record<string, unknown>[];
let result: { answer: object } | { refused: string };
beforeEach(async () => {
  passed = [];
  result = { answer: { access_token: 's', endpoint: 'https://agent.example.com/v3' } };
  proxy = await registerProxy({
    token: 'nonce',
    queue: 'q',
    register: async (agent) => {
      passed.push(agent);
      return result;
    },
  });
});
afterEach(() => proxy.close());

const AGENT = { name: 'a', meta_data: ['queue=q', 'os=linux'], version: '3.138.1' };
const call = (path: string, options: { method?: string; token?: string; body?: string } = {}) => {
  const { method = 'POST', token = 'nonce', body = JSON.stringify(AGENT) } = options;
  const headers = { authorization: `Token ${token}` };
  return fetch(proxy.endpoint + path, { method, headers, ...(method === 'GET' ? {} : { body }) });
};

test('passes the register call on as it is, and its answer back', async () => {
  const response = await call('/register');
  expect(response.status).toBe(200);
  expect(await response.json()).toEqual({ access_token: 's', endpoint: 'https://agent.example.com/v3' });
  expect(passed).toEqual([AGENT]);
});

test('passes one registration on: a job cannot register another agent', async () => {
  await call('/register');
  expect((await call('/register')).status).toBe(409);
  expect(passed).toHaveLength(1);
});

test('without a registration the agent gets a status at which it ends', async () => {
  result = { refused: 'no registration: budget' };
  const response = await call('/register');
  expect(response.status).toBe(422);
  expect(await response.json()).toEqual({ message: 'no registration: budget' });
});

test.each([
  ['another call', '/connect', {}, 404],
  ['another path', '/../register/x', {}, 404],
  ['another method', '/register', { method: 'GET' }, 404],
  ['another token', '/register', { token: 'x' }, 401],
  ['another queue', '/register', { body: JSON.stringify({ meta_data: ['queue=release'] }) }, 422],
  ['two queues', '/register', { body: JSON.stringify({ meta_data: ['queue=q', 'queue=release'] }) }, 422],
  [
    'two queues in another spelling',
    '/register',
    { body: JSON.stringify({ meta_data: ['queue=q', 'QUEUE=r'] }) },
    422,
  ],
  ['no queue', '/register', { body: '{}' }, 422],
  ['no JSON', '/register', { body: '{' }, 400],
  ['no object', '/register', { body: '[1]' }, 400],
  ['a large body', '/register', { body: JSON.stringify({ ...AGENT, x: 'x'.repeat(20_000) }) }, 400],
])('%s is not passed on', async (_, path, options, status) => {
  expect((await call(path, options)).status).toBe(status);
  expect(passed).toEqual([]);
});

test('listens on loopback only, and not after its close', async () => {
  expect(proxy.endpoint).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
  proxy.close();
  await expect(call('/register')).rejects.toThrow();
});
