import { afterEach, describe, expect, test, vi } from 'vitest';
import { envelope, message, outcomeOf } from '../../test/support/sqs.ts';
import { handleMessage } from './handle-message.ts';
import {
  answerBody,
  type FakeRegistration,
  fakeRegistration,
  INSTANCE,
} from './testing/fake-registration.ts';

/*
 * The function ends at each of its calls, before the call takes effect or after it. The next request of the instance then gets a
 * registration, and nothing is left beside it.
 */

afterEach(() => {
  vi.unstubAllGlobals();
});

class Crash extends Error {}

/** Ends the invocation at a call to the bucket or to the provider; every later call of the same invocation fails too. */
function crashAt(fake: FakeRegistration, at: number, when: 'before' | 'after') {
  let calls = 0;
  let crashed = false;
  async function step<T>(call: () => Promise<T>): Promise<T> {
    if (crashed) throw new Crash();
    calls += 1;
    crashed = calls === at;
    if (crashed && when === 'before') throw new Crash();
    const result = await call();
    if (crashed) throw new Crash();
    return result;
  }
  const { read, write, remove } = fake.store;
  Object.assign(fake.store, {
    read: (key: string) => step(() => read(key)),
    write: (...all: Parameters<typeof write>) => step(() => write(...all)),
    remove: (...all: Parameters<typeof remove>) => step(() => remove(...all)),
  });
  vi.stubGlobal('fetch', (...all: Parameters<typeof fetch>) => step(() => fake.github.fetch(...all)));
  return {
    happened: () => crashed,
    end() {
      Object.assign(fake.store, { read, write, remove });
      vi.stubGlobal('fetch', fake.github.fetch);
      fake.restart();
    },
  };
}

const names = (fake: FakeRegistration) => fake.github.runners.map(({ name }) => name);

const register = (previous: string, n?: number) => ({
  action: 'register',
  previous,
  ...(n !== undefined && { last: `${INSTANCE}-${n}` }),
});

/** What the instance asks for when the function ends, and what it asks for next. */
const CASES = {
  'the first registration': { past: 'none', crashed: register('none'), next: register('none') },
  'a registration after a job': { past: 'job', crashed: register('job', 1), next: register('job', 1) },
  'one after an agent without a job': {
    past: 'other',
    crashed: register('other', 1),
    next: register('other', 1),
  },
  'a release': {
    past: 'other',
    crashed: { action: 'release', name: `${INSTANCE}-1` },
    next: register('other', 1),
  },
  'the second step of a release': {
    past: 'watched',
    crashed: { action: 'release', name: `${INSTANCE}-1` },
    next: register('other', 1),
  },
};

describe.each(Object.entries(CASES))('%s', (_, { past, crashed, next }) => {
  test.each(['before', 'after'] as const)('ends %s each of its calls', async (when) => {
    let crashes = 0;
    for (let at = 1; ; at += 1) {
      const fake = fakeRegistration();
      fake.launch();
      vi.stubGlobal('fetch', fake.github.fetch);
      if (past !== 'none') await fake.request(register('none'));
      if (past === 'job') fake.github.runners = [];
      if (past === 'watched') await fake.request({ action: 'release', name: `${INSTANCE}-1` });
      fake.pass(100);
      fake.restart();

      const crash = crashAt(fake, at, when);
      await fake.request(crashed).catch(() => undefined);
      crash.end();
      if (!crash.happened()) break;
      crashes += 1;

      fake.pass(10);
      const answer = answerBody(await fake.request(next));
      expect(answer, `call ${at}`).toMatchObject({ outcome: 'registered' });
      const issued = answer.outcome === 'registered' ? answer.registration.name : '';
      expect(names(fake), `call ${at}`).toEqual([issued]);
    }
    // Every case reads the groups, the record and the budget, writes both, and calls GitHub.
    expect(crashes).toBeGreaterThan(5);
  });
});

test.each(['before', 'after'] as const)(
  'a clean-up that ends %s each of its calls is completed by its retry',
  async (when) => {
    let crashes = 0;
    for (let at = 1; ; at += 1) {
      const fake = fakeRegistration();
      fake.launch();
      vi.stubGlobal('fetch', fake.github.fetch);
      await fake.request(register('none'));
      fake.github.add(`${INSTANCE}-0`);
      fake.instances.clear();
      fake.restart();
      const event = envelope('aws.autoscaling', 'EC2 Instance Terminate Successful', {
        AutoScalingGroupName: 'aw-gha-default',
        EC2InstanceId: INSTANCE,
      });

      const crash = crashAt(fake, at, when);
      await outcomeOf(handleMessage(message(event), fake.deps));
      crash.end();
      if (!crash.happened()) break;
      crashes += 1;

      fake.pass(60);
      const { outcome } = await outcomeOf(handleMessage(message(event), fake.deps));
      expect(['done', 'skipped'], `call ${at}`).toContain(outcome);
      expect(names(fake), `call ${at}`).toEqual([]);
      expect(await fake.record(), `call ${at}`).toBeUndefined();
    }
    expect(crashes).toBeGreaterThan(5);
  },
);
