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
