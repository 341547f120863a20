import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { GROUPS_KEY } from '../../shared/fleet/group-settings.ts';
import { PermanentError } from '../../shared/runtime/errors.ts';
import {
  ACCOUNT,
  answerBody,
  type FakeRegistration,
  fakeRegistration,
  GROUPS,
  INSTANCE,
  OTHER_INSTANCE,
} from './testing/fake-registration.ts';

let fake: FakeRegistration;
beforeEach(() => {
  fake = fakeRegistration();
  fake.launch();
  vi.stubGlobal('fetch', fake.github.fetch);
});
afterEach(() => {
  vi.unstubAllGlobals();
});

const register = { action: 'register', previous: 'none' };

describe('a caller that is no runner of the group is denied, and learns nothing', () => {
  const session = (role: string, name: string, account = ACCOUNT) =>
    `arn:aws:sts::${account}:assumed-role/${role}/${name}`;

  test.each([
    ['another account', session('aw-gha-default', INSTANCE, '210987654321'), 'foreign-account'],
    ['a role of no group', session('aw-other', INSTANCE), 'foreign-role'],
    ['a session that is no instance', session('aw-gha-default', 'operator'), 'no-instance'],
    ['an instance of another group', session('aw-bk-default', INSTANCE), 'foreign-group'],
    ['a user', `arn:aws:iam::${ACCOUNT}:user/operator`, 'no-role'],
    ['the root user', `arn:aws:iam::${ACCOUNT}:root`, 'no-role'],
    ['a role with a path in its session', session('aw-gha-default', `x/${INSTANCE}`), 'no-role'],
    ['a group without jobs', session('aw-gha-warming', INSTANCE), 'no-jobs'],
  ])('%s', async (_, arn, reason) => {
    const answer = await fake.request(register, { arn });
    expect(answer).toMatchObject({ status: 403, body: { error: 'denied' }, outcome: 'denied', reason });
    expect(fake.github.calls).toEqual([]);
    expect(fake.store.keys()).toEqual([GROUPS_KEY]);
    expect(fake.metrics).toEqual(['DeniedRequests 1']);
  });

  test('an instance cannot release the registration of another one', async () => {
    const answer = await fake.request({ action: 'release', name: `${OTHER_INSTANCE}-1` });
    expect(answer).toMatchObject({ status: 403, reason: 'foreign-registration' });
    expect(fake.github.calls).toEqual([]);
  });

  test('the account, role and session of other partitions are the same', async () => {
    const arn = session('aw-gha-default', INSTANCE).replace('arn:aws:', 'arn:aws-us-gov:');
    expect(await fake.request(register, { arn })).toMatchObject({ status: 200 });
  });
});

test.each([
  ['no JSON', '{"action"'],
  ['no action', '{}'],
  ['another action', { action: 'list' }],
  ['no previous end', { action: 'register' }],
  ['a name with a path', { action: 'release', name: `${INSTANCE}-1/../../x` }],
  ['a list', '[]'],
])('a malformed request is refused: %s', async (_, body) => {
  expect(await fake.request(body)).toMatchObject({ status: 400, reason: 'malformed-request' });
  expect(fake.github.calls).toEqual([]);
});

describe('a flood of requests of one instance', () => {
  test.each([
    ['register', register],
    ['release', { action: 'release', name: `${INSTANCE}-1` }],
    ['malformed', '{'],
  ])('costs a bounded number of calls: %s', async (_, body) => {
    let reads = 0;
    const { read } = fake.store;
    fake.store.read = (key, maxBytes) => {
      reads += 1;
      return read(key, maxBytes);
    };
    fake.launch(OTHER_INSTANCE);
    for (let index = 0; index < 2_000; index += 1) await fake.request(body);
    expect(await fake.request(body)).toMatchObject({
      status: 429,
      reason: 'too-soon',
      retryAfterSeconds: 10,
    });
    expect(reads).toBeLessThan(100);
    // Another instance has its own.
    expect(await fake.request(register, { instanceId: OTHER_INSTANCE })).toMatchObject({ status: 200 });
    // And the same one, if it asks as it should.
    fake.pass(10);
    expect(await fake.request(register)).toMatchObject({ status: 200 });
  });

  test('is not what an instance sends that launches for an hour', async () => {
    fake.launch(INSTANCE, 'gha/default', 'Pending:Wait');
    for (let second = 0; second < 3_600; second += 2) {
      expect(await fake.request(register)).toMatchObject({ reason: 'not-in-service' });
      fake.pass(2);
    }
  });
});

describe('declared groups', () => {
  test('are read once per minute, and for an unknown role every 5 seconds', async () => {
    let reads = 0;
    const { read } = fake.store;
    fake.store.read = (key) => {
      reads += key === GROUPS_KEY ? 1 : 0;
      return read(key);
    };
    fake.restart();
    const unknown = { arn: `arn:aws:sts::${ACCOUNT}:assumed-role/aw-new/${INSTANCE}` };
    await fake.request(register);
    await fake.request(register);
    await fake.request(register, unknown);
    expect(reads).toBe(1);
    fake.pass(5);
    await fake.request(register, unknown);
    await fake.request(register, unknown);
    expect(reads).toBe(2);
    fake.pass(55);
    await fake.request(register);
    expect(reads).toBe(2);
    fake.pass(5);
    await fake.request(register);
    expect(reads).toBe(3);
  });

  test('a group that was declared a moment ago is found', async () => {
    await fake.request(register);
    const groups = { ...GROUPS, 'gha/new': { ...GROUPS['gha/default'], role: 'aw-gha-new' } };
    fake.store.put(GROUPS_KEY, JSON.stringify({ version: 1, groups }));
    fake.pass(10);
    const arn = `arn:aws:sts::${ACCOUNT}:assumed-role/aw-gha-new/${INSTANCE}`;
    expect(await fake.request(register, { arn })).toMatchObject({ status: 200 });
  });

  test('a declaration of thousands of groups is read', async () => {
    const more = Array.from({ length: 5_000 }, (_, at) => [`gha/team-${at}`, GROUPS['gha/default']]);
    const text = JSON.stringify({ version: 1, groups: { ...GROUPS, ...Object.fromEntries(more) } });
    expect(text.length).toBeGreaterThan(1024 * 1024);
    fake.store.put(GROUPS_KEY, text);
    expect(await fake.request(register)).toMatchObject({ status: 200 });
  });

  test.each([undefined, '{', '{"version":2,"groups":{}}', '{"version":1,"groups":{"x":{}}}'])(
    'a file that is missing or malformed is an error of the deployment: %s',
    async (text) => {
      if (text === undefined) await fake.store.remove(GROUPS_KEY);
      else fake.store.put(GROUPS_KEY, text);
      await expect(fake.request(register)).rejects.toMatchObject({ name: 'ConfigurationError' });
    },
  );
});

test('an object that is too large to be read is no fault of the request', async () => {
  fake.store.read = async (key) => {
    throw new PermanentError('corrupt-record', `${key}: has 9999999 bytes, more than 1048576`);
  };
  fake.restart();
  await expect(fake.request(register)).rejects.toMatchObject({ name: 'ConfigurationError' });
});

describe('refusals of the provider', () => {
  const GENERATE = 'POST /repos/acme/monorepo/actions/runners/generate-jitconfig';
  const refusal = async () => {
    const answer = await fake.request(register);
    fake.pass(600);
    fake.github.answers.length = 0;
    return { status: answer.status, ...answerBody(answer) };
  };

  test.each([
    [{ status: 404, body: { message: 'Not Found' } }, 503, 'settings', 60],
    [{ status: 422, body: { message: 'Invalid label' } }, 503, 'settings', 60],
    [{ status: 301, body: { message: 'Moved Permanently' } }, 503, 'settings', 60],
    [{ status: 403, body: { message: 'Resource not accessible' } }, 503, 'settings', 60],
    [{ status: 403, body: { message: 'You have exceeded a secondary rate limit' } }, 429, 'rate-limited', 60],
    [{ status: 403, headers: { 'retry-after': '42' } }, 429, 'rate-limited', 42],
    [{ status: 429, headers: { 'retry-after': '42' } }, 429, 'rate-limited', 42],
    [{ status: 429 }, 429, 'rate-limited', 60],
    [{ status: 500 }, 503, 'unavailable', 15],
    [{ status: 503, headers: { 'retry-after': '30' } }, 503, 'unavailable', 30],
    [{ status: 201, body: { unknown: true } }, 503, 'unavailable', 15],
  ])('%j', async (provider, status, reason, retryAfterSeconds) => {
    fake.github.answer(GENERATE, provider);
    expect(await refusal()).toEqual({ status, outcome: 'refused', reason, retryAfterSeconds });
    // Nothing is left of it.
    expect(answerBody(await fake.request(register))).toMatchObject({ outcome: 'registered' });
    expect(fake.github.runners).toHaveLength(1);
  });

  test('no connection', async () => {
    const cause = new Error('connect ECONNREFUSED 127.0.0.1:1');
    fake.github.answer(GENERATE, new TypeError('fetch failed', { cause }));
    const answer = await fake.request(register);
    expect(answer).toMatchObject({ status: 503, body: { reason: 'unavailable' } });
    expect(JSON.stringify(answer.detail)).toContain('ECONNREFUSED');
  });

  test('a long wait is cut to what the contract allows', async () => {
    fake.github.answer(GENERATE, { status: 429, headers: { 'retry-after': '86400' } });
    expect(await refusal()).toMatchObject({ retryAfterSeconds: 900 });
  });

  test('after a refusal for the rate, no instance calls the provider until its time', async () => {
    fake.github.answer(GENERATE, { status: 429, headers: { 'retry-after': '100' } });
    await fake.request(register);
    fake.github.answers.length = 0;
    fake.launch(OTHER_INSTANCE);
    fake.pass(20);
    const calls = fake.github.calls.length;
    const other = () => fake.request(register, { instanceId: OTHER_INSTANCE });
    expect(answerBody(await other())).toEqual({
      outcome: 'refused',
      reason: 'budget',
      retryAfterSeconds: 60,
    });
    expect(fake.github.calls).toHaveLength(calls);
    fake.pass(81);
    expect(answerBody(await other())).toMatchObject({ outcome: 'registered' });
  });
});
