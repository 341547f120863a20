import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import {
  answerBody,
  type FakeRegistration,
  fakeRegistration,
  INSTANCE,
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

const first = { action: 'register', previous: 'none' };
const afterJob = (n: number) => ({ action: 'register', previous: 'job', last: `${INSTANCE}-${n}` });
const afterOther = (n: number) => ({ action: 'register', previous: 'other', last: `${INSTANCE}-${n}` });

test('an instance in service gets a just-in-time config for the labels of its group', async () => {
  const answer = await fake.request(first);
  expect(answer.status).toBe(200);
  expect(answerBody(answer)).toEqual({
    outcome: 'registered',
    registration: { provider: 'gha', name: `${INSTANCE}-1`, jitConfig: `jit of ${INSTANCE}-1` },
  });
  expect(fake.github.runners).toMatchObject([
    { name: `${INSTANCE}-1`, labels: ['hearth', 'hearth-default'], runner_group_id: 1 },
  ]);
  expect(await fake.record()).toEqual({ version: 1, n: 1, at: '2026-11-23T08:00:00.000Z', id: 1 });
});

test('after a finished job the provider is called once, and the name is new', async () => {
  await fake.request(first);
  fake.github.runners = [];
  fake.pass(60);
  fake.github.calls.length = 0;
  expect(answerBody(await fake.request(afterJob(1)))).toMatchObject({
    registration: { name: `${INSTANCE}-2` },
  });
  expect(fake.github.callNames()).toEqual(['POST /repos/acme/monorepo/actions/runners/generate-jitconfig']);
});

describe('at most one answer in ten seconds', () => {
  test('an instance that asks again too soon', async () => {
    await fake.request(first);
    fake.pass(9);
    expect(answerBody(await fake.request(afterJob(1)))).toEqual({
      outcome: 'refused',
      reason: 'too-soon',
      retryAfterSeconds: 1,
    });
    fake.pass(1);
    expect(answerBody(await fake.request(afterJob(1)))).toMatchObject({ outcome: 'registered' });
  });

  test('two requests at once: one gets a registration', async () => {
    const answers = await Promise.all([fake.request(first), fake.request(first)]);
    expect(answers.map((answer) => answerBody(answer).outcome).sort()).toEqual(['refused', 'registered']);
    expect(fake.github.runners).toHaveLength(1);
  });

  test('two requests at once after an agent that ended without a job', async () => {
    await fake.request(first);
    fake.pass(60);
    const answers = await Promise.all([fake.request(afterOther(1)), fake.request(afterOther(1))]);
    expect(answers.map((answer) => answerBody(answer).outcome).sort()).toEqual(['refused', 'registered']);
    expect(fake.github.runners.map(({ name }) => name)).toEqual([`${INSTANCE}-2`]);
  });
});

describe('an agent that ended without a job', () => {
  test('its registration is removed before the next one is issued', async () => {
    await fake.request(first);
    fake.pass(60);
    expect(answerBody(await fake.request(afterOther(1)))).toMatchObject({ outcome: 'registered' });
    expect(fake.github.runners.map(({ name }) => name)).toEqual([`${INSTANCE}-2`]);
    expect(fake.metrics).toContain('RegistrationsWithoutJob 1 gha/default');
  });

  test('a registration that is already gone is no obstacle', async () => {
    await fake.request(first);
    fake.github.runners = [];
    fake.pass(60);
    expect(answerBody(await fake.request(afterOther(1)))).toMatchObject({ outcome: 'registered' });
  });

  test.each([422, 400, 409])(
    'an answer %i to its removal: the instance comes back in 10 s',
    async (status) => {
      await fake.request(first);
      fake.pass(60);
      fake.github.answer('DELETE', { status });
      const answer = await fake.request(afterOther(1));
      expect(answer.status).toBe(409);
      expect(answerBody(answer)).toEqual({
        outcome: 'refused',
        reason: 'previous-busy',
        retryAfterSeconds: 10,
      });
      fake.github.answers.length = 0;
      fake.pass(10);
      expect(answerBody(await fake.request(afterOther(1)))).toMatchObject({ outcome: 'registered' });
      expect(fake.github.runners).toHaveLength(1);
    },
  );

  test('a registration that stays busy for 15 minutes locks nobody out, and is counted', async () => {
    await fake.request(first);
    fake.github.answer('DELETE', { status: 422 });
    fake.pass(60);
    for (let seconds = 0; seconds < 15 * 60; seconds += 10) {
      expect(answerBody(await fake.request(afterOther(1)))).toMatchObject({ reason: 'previous-busy' });
      fake.pass(10);
    }
    expect(answerBody(await fake.request(afterOther(1)))).toMatchObject({ outcome: 'registered' });
    expect(fake.metrics).toContain('ExcessRegistrations 1 gha/default');
  });
});

describe('lost answers', () => {
  const GENERATE = 'POST /repos/acme/monorepo/actions/runners/generate-jitconfig';

  test.each(['none', 'job', 'other'])(
    'of the provider, before a request with previous %s',
    async (previous) => {
      fake.github.lost.add(GENERATE);
      expect(answerBody(await fake.request(first))).toMatchObject({ reason: 'unavailable' });
      expect(fake.github.runners).toHaveLength(1);
      fake.github.lost.clear();
      fake.pass(10);
      const answer = answerBody(await fake.request({ action: 'register', previous }));
      expect(answer).toMatchObject({ outcome: 'registered', registration: { name: `${INSTANCE}-2` } });
      expect(fake.github.runners.map(({ name }) => name)).toEqual([`${INSTANCE}-2`]);
    },
  );

  test('of the function, after a finished job: the instance names the last registration that it has', async () => {
    await fake.request(first);
    fake.github.runners = [];
    fake.pass(60);
    await fake.request(afterJob(1));
    fake.pass(10);
    expect(answerBody(await fake.request(afterJob(1)))).toMatchObject({
      registration: { name: `${INSTANCE}-3` },
    });
    expect(fake.github.runners.map(({ name }) => name)).toEqual([`${INSTANCE}-3`]);
  });

  test('of the function, before the first agent', async () => {
    await fake.request(first);
    fake.pass(10);
    await fake.request(first);
    expect(fake.github.runners.map(({ name }) => name)).toEqual([`${INSTANCE}-2`]);
  });

  test('of the bucket, when the id is noted: the registration is handed out, and found by its name later', async () => {
    const { write } = fake.store;
    let writes = 0;
    fake.deps.store = {
      ...fake.store,
      write: async (key, ...rest) => {
        writes += key.includes(INSTANCE) ? 1 : 0;
        if (writes === 2 && key.includes(INSTANCE)) throw new Error('S3 is down');
        return write(key, ...rest);
      },
    };
    expect(answerBody(await fake.request(first))).toMatchObject({ outcome: 'registered' });
    expect(fake.log.join()).toContain('record not completed');
    fake.pass(60);
    await fake.request(afterOther(1));
    expect(fake.github.runners.map(({ name }) => name)).toEqual([`${INSTANCE}-2`]);
  });
});

test('a name that is in use is passed over', async () => {
  fake.github.add(`${INSTANCE}-1`);
  expect(answerBody(await fake.request(first))).toMatchObject({ registration: { name: `${INSTANCE}-2` } });
  expect(await fake.record()).toMatchObject({ n: 2 });
});

test('a record of another format does not lock its instance out', async () => {
  fake.store.put(`registrations/${INSTANCE}.json`, '{"version":9}');
  expect(answerBody(await fake.request(first))).toMatchObject({ outcome: 'registered' });
  expect(fake.log.join()).toContain('record of another format replaced');
});

describe('lifecycle states', () => {
  test.each([
    ['Pending', 409, 'not-in-service'],
    ['Pending:Wait', 409, 'not-in-service'],
    ['Pending:Proceed', 409, 'not-in-service'],
    ['EnteringStandby', 409, 'not-in-service'],
    ['Standby', 409, 'not-in-service'],
    ['Warmed:Stopped', 409, 'not-in-service'],
    ['Terminating:Wait', 409, 'terminating'],
    ['Terminated', 409, 'terminating'],
    ['Detaching', 409, 'terminating'],
  ])('%s', async (lifecycleState, status, reason) => {
    fake.launch(INSTANCE, 'gha/default', lifecycleState);
    const answer = await fake.request(first);
    expect(answer).toMatchObject({ status, body: { outcome: 'refused', reason } });
    if (reason === 'not-in-service') expect(answerBody(answer)).toMatchObject({ retryAfterSeconds: 2 });
    expect(fake.github.calls).toEqual([]);
    expect(fake.store.keys()).toEqual(['config/groups.json']);
  });

  test('an instance that no group contains', async () => {
    fake.instances.clear();
    expect(answerBody(await fake.request(first))).toMatchObject({ reason: 'terminating' });
  });

  test('InService is remembered for 30 s, a launch not at all, and every other state for a second', async () => {
    let reads = 0;
    const { describeInstance } = fake.deps.autoScaling;
    fake.deps.autoScaling.describeInstance = (id) => {
      reads += 1;
      return describeInstance(id);
    };
    fake.launch(INSTANCE, 'gha/default', 'Pending:Wait');
    await fake.request(first);
    await fake.request(first);
    expect(reads).toBe(2);
    fake.launch();
    await fake.request(first);
    fake.pass(29);
    await fake.request(afterJob(1));
    expect(reads).toBe(3);
    fake.pass(1);
    fake.launch(INSTANCE, 'gha/default', 'Terminating:Wait');
    expect(answerBody(await fake.request(afterJob(2)))).toMatchObject({ reason: 'terminating' });
    await fake.request(afterJob(2));
    expect(reads).toBe(4);
    fake.pass(1);
    await fake.request(afterJob(2));
    expect(reads).toBe(5);
  });

  test('a throttled description is no answer about the instance', async () => {
    fake.deps.autoScaling.describeInstance = async () => {
      throw Object.assign(new Error('Rate exceeded'), { name: 'Throttling' });
    };
    await expect(fake.request(first)).rejects.toThrow('Rate exceeded');
    expect(fake.metrics).toEqual(['RegistrationFailures 1 gha/default']);
  });
});

describe('runner groups of an organization', () => {
  beforeEach(() => fake.launch(INSTANCE, 'gha/org'));
  const request = () => fake.request(first, { group: 'gha/org' });

  test('are found by name, once in ten minutes', async () => {
    expect(answerBody(await request())).toMatchObject({ outcome: 'registered' });
    expect(fake.github.runners).toMatchObject([{ runner_group_id: 7, labels: ['org'] }]);
    fake.pass(60);
    fake.github.runners = [];
    fake.github.calls.length = 0;
    await fake.request(afterJob(1), { group: 'gha/org' });
    expect(fake.github.callNames()).toEqual(['POST /orgs/acme/actions/runners/generate-jitconfig']);
  });

  test('one that does not exist is refused as a setting, and works as soon as it exists', async () => {
    fake.github.groups.pop();
    const answer = await request();
    expect(answer).toMatchObject({ status: 503, body: { reason: 'settings', retryAfterSeconds: 60 } });
    expect(JSON.stringify(answer.detail)).toContain('no runner group trusted');
    expect(fake.metrics).toEqual(['RegistrationFailures 1 gha/org']);
    fake.github.groups.push({ id: 8, name: 'trusted', default: false });
    fake.pass(60);
    expect(answerBody(await request())).toMatchObject({ outcome: 'registered' });
    expect(fake.github.runners).toMatchObject([{ runner_group_id: 8 }]);
  });

  test('the token is for runners of the organization, and for nothing else', async () => {
    await request();
    const created = fake.github.calls.find(({ call }) => call.endsWith('/access_tokens'));
    expect(created?.body).toEqual({ permissions: { organization_self_hosted_runners: 'write' } });
  });
});
