import { beforeEach, describe, expect, test } from 'vitest';
import { type MemoryStore, memoryStore } from '../snapshot/testing/memory-store.ts';
import { blockBudget, observeRateLimit, type Priority, takeBudget } from './budget.ts';

let time: number;
let store: MemoryStore;
let deps: Parameters<typeof takeBudget>[3];
beforeEach(() => {
  time = Date.parse('2026-11-23T08:00:00Z');
  store = memoryStore();
  deps = { store, clock: { now: () => new Date(time) }, random: () => 0 };
});

const pass = (seconds: number) => {
  time += seconds * 1000;
};
const take = (writes = 1, priority: Priority = 'issue') => takeBudget('acme', writes, priority, deps);

async function takeMany(count: number, priority: Priority = 'issue'): Promise<number> {
  let taken = 0;
  for (let index = 0; index < count; index += 1) if ((await take(1, priority)) === 'taken') taken += 1;
  return taken;
}

test('in no minute are there more than 150 writes, and the wait is until there is room', async () => {
  expect(await takeMany(100)).toBe(100);
  pass(20);
  expect(await takeMany(60)).toBe(50);
  expect(await take()).toEqual({ waitSeconds: 40 });
  pass(39);
  expect(await take()).toEqual({ waitSeconds: 1 });
  pass(1);
  expect(await takeMany(200)).toBe(100);
  expect(await take()).toEqual({ waitSeconds: 20 });
});

test('writes of low priority leave 60 for those that issue', async () => {
  expect(await takeMany(200, 'low')).toBe(90);
  expect(await takeMany(200)).toBe(60);
  expect(await take(1, 'low')).toEqual({ waitSeconds: 60 });
});

describe('reads of polls', () => {
  test('have a part of their own, however many registrations are issued', async () => {
    expect(await takeMany(200)).toBe(150);
    expect(await takeMany(40, 'read')).toBe(28);
    expect(await take(1, 'read')).toEqual({ waitSeconds: 60 });
    pass(60);
    expect(await takeMany(40, 'read')).toBe(40);
  });

  test('take nothing from registrations within that part, and beyond it only what is free', async () => {
    expect(await takeMany(28, 'read')).toBe(28);
    expect(await takeMany(200)).toBe(150);
    pass(60);
    expect(await takeMany(200, 'read')).toBe(118);
    expect(await takeMany(200)).toBe(60);
  });

  test('keep it when the limit of registrations is near, and lose it when that of the whole API is', async () => {
    const observe = (resource: string) =>
      observeRateLimit(
        'acme',
        { resource, limit: 5_000, remaining: 100, resetAt: new Date(time + 600_000) },
        deps,
      );
    await observe('actions_runner_registration');
    expect(await takeMany(40)).toBe(10);
    expect(await takeMany(40, 'read')).toBe(28);
    pass(660);
    await observe('core');
    expect(await takeMany(40, 'read')).toBe(6);
  });
});

test('several writes are taken together or not at all', async () => {
  await takeMany(149);
  expect(await take(2)).toEqual({ waitSeconds: 60 });
  expect(await take(1)).toBe('taken');
});

test('callers that are refused come back spread over as long again', async () => {
  await takeMany(150);
  deps = { ...deps, random: () => 0.5 };
  expect(await take()).toEqual({ waitSeconds: 90 });
});

test('writes of several environments at once are counted one by one', async () => {
  const results = await Promise.all(Array.from({ length: 10 }, () => take()));
  const taken = results.filter((result) => result === 'taken').length;
  pass(0);
  expect(await takeMany(200)).toBe(150 - taken);
});

test('installations do not share a budget, and without one there is no limit', async () => {
  await takeMany(150);
  expect(await takeBudget('other', 1, 'issue', deps)).toBe('taken');
  expect(await takeBudget(undefined, 1_000, 'issue', deps)).toBe('taken');
});

test('a refusal for the rate stops every write until its time', async () => {
  await blockBudget('acme', 30, deps);
  await blockBudget('acme', 10, deps);
  expect(await take()).toEqual({ waitSeconds: 30 });
  pass(30);
  expect(await take()).toBe('taken');
});

describe('the limit of the provider', () => {
  const observe = (remaining: number, minutes: number, resource = 'actions_runner_registration') =>
    observeRateLimit(
      'acme',
      { resource, limit: 10_000, remaining, resetAt: new Date(time + minutes * 60_000) },
      deps,
    );

  test('lowers the budget to what lasts until its reset', async () => {
    await observe(600, 30);
    expect(await takeMany(200)).toBe(20);
    pass(30 * 60);
    expect(await takeMany(200)).toBe(150);
  });

  test('of the whole API counts only when a tenth is left: it is lower than that of registrations', async () => {
    await observe(1_000, 60, 'core');
    expect(await takeMany(200)).toBe(150);
    pass(60);
    await observe(999, 60, 'core');
    expect(await takeMany(200)).toBe(16);
  });

  test('that lasts changes nothing, and costs no write', async () => {
    let writes = 0;
    const { store } = deps;
    const write: typeof store.write = (...all) => {
      writes += 1;
      return store.write(...all);
    };
    deps = { ...deps, store: { ...store, write } };
    await observe(4_600, 30);
    expect(writes).toBe(0);
    await observe(600, 30);
    await observe(590, 30);
    expect(writes).toBe(1);
  });

  test('that is spent still allows a write per minute, which shows whether it is', async () => {
    await observe(0, 30);
    expect(await takeMany(5)).toBe(1);
    pass(60);
    expect(await takeMany(5)).toBe(1);
  });
});

test('a budget of another format is begun anew', async () => {
  await takeMany(150);
  for await (const { key } of store.list('registrations/budgets/')) {
    const etag = (await deps.store.read(key))?.etag ?? '';
    await deps.store.write(key, { version: 9 }, { ifMatch: etag });
  }
  expect(await take()).toBe('taken');
});
