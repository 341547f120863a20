import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import {
  answerBody,
  type FakeRegistration,
  fakeRegistration,
  INSTANCE,
} from './testing/fake-registration.ts';

let fake: FakeRegistration;
beforeEach(async () => {
  fake = fakeRegistration();
  fake.launch();
  vi.stubGlobal('fetch', fake.github.fetch);
  await fake.request({ action: 'register', previous: 'none' });
  fake.pass(600);
});
afterEach(() => {
  vi.unstubAllGlobals();
});

const release = async (n = 1) => {
  const body = answerBody(await fake.request({ action: 'release', name: `${INSTANCE}-${n}` }));
  return body.outcome === 'released' ? { result: body.result, afterSeconds: body.afterSeconds } : body;
};

test('labels go first, the registration after 70 s without a job', async () => {
  expect(await release()).toEqual({ result: 'watch', afterSeconds: 70 });
  expect(fake.github.runners).toMatchObject([{ labels: [] }]);
  fake.pass(30);
  expect(await release()).toEqual({ result: 'watch', afterSeconds: 40 });
  fake.pass(40);
  expect(await release()).toEqual({ result: 'removed' });
  expect(fake.github.runners).toEqual([]);
  expect(await release()).toEqual({ result: 'removed' });
});

test('an instance that terminates can release its agent', async () => {
  fake.launch(INSTANCE, 'gha/default', 'Terminating:Wait');
  expect(await release()).toEqual({ result: 'watch', afterSeconds: 70 });
});

test('an agent that got a job stays', async () => {
  await release();
  for (const runner of fake.github.runners) runner.busy = true;
  fake.pass(70);
  expect(await release()).toEqual({ result: 'busy' });
  expect(fake.github.runners).toHaveLength(1);
  fake.github.calls.length = 0;
  fake.pass(10);
  expect(await release()).toEqual({ result: 'watch', afterSeconds: 60 });
  expect(fake.github.calls).toEqual([]);
});

test('a registration that is gone is removed, whatever the record holds', async () => {
  fake.github.runners = [];
  expect(await release()).toEqual({ result: 'removed' });
});

test.each([403, 404, 405, 422])(
  'labels that cannot be removed (%i): the same watch, then the removal',
  async (status) => {
    fake.github.answer('PUT', { status });
    expect(await release()).toEqual({ result: 'watch', afterSeconds: 70 });
    fake.pass(70);
    expect(await release()).toEqual({ result: 'removed' });
  },
);

test('a refusal for the rate is not taken for one of the labels', async () => {
  fake.github.answer('PUT', { status: 403, headers: { 'retry-after': '20' } });
  expect(await release()).toMatchObject({
    outcome: 'refused',
    reason: 'rate-limited',
    retryAfterSeconds: 20,
  });
  expect(await fake.record()).not.toHaveProperty('watchedSince');
});

test('a registration that the provider has removed is not removed again before the next one', async () => {
  await release();
  fake.pass(70);
  await release();
  fake.github.calls.length = 0;
  fake.pass(10);
  await fake.request({ action: 'register', previous: 'other', last: `${INSTANCE}-1` });
  expect(fake.github.callNames()).toEqual(['POST /repos/acme/monorepo/actions/runners/generate-jitconfig']);
});

test('an earlier registration and one that was never issued cost no call', async () => {
  fake.github.calls.length = 0;
  expect(await release(0)).toEqual({ result: 'removed' });
  expect(await release(7)).toEqual({ result: 'removed' });
  expect(fake.github.calls).toEqual([]);
});

test('issuing has priority: a release waits while the budget is more than half spent', async () => {
  for (let index = 0; index < 90; index += 1) {
    const instanceId = `i-${String(index).padStart(17, '0')}`;
    fake.launch(instanceId);
    await fake.request({ action: 'register', previous: 'none' }, { instanceId });
  }
  expect(await release()).toMatchObject({ outcome: 'refused', reason: 'budget' });
  fake.pass(61);
  expect(await release()).toMatchObject({ result: 'watch' });
});

test('Buildkite and CircleCI cannot remove an agent', async () => {
  for (const group of ['bk/default', 'cci/default'] as const) {
    fake.launch(INSTANCE, group);
    const answer = await fake.request({ action: 'release', name: `${INSTANCE}-1` }, { group });
    expect(answerBody(answer)).toEqual({ outcome: 'released', result: 'unsupported' });
  }
});
