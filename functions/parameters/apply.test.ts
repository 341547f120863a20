import { describe, expect, test } from 'vitest';
import { applyPlan } from './apply.ts';
import type { Plan } from './plan.ts';
import { awsError, fakeRegion } from './testing/fake-region.ts';

const START = new Date('2026-11-23T03:00:00Z');
const now = () => START.getTime();
const { signal } = new AbortController();
const options = { now, until: now() + 1000, signal, pauseMs: 0 };

function planOf(change: Partial<Plan>): Plan {
  return { writes: [], deletes: [], replaces: [], refused: [], drift: new Set(), ...change };
}

const threeWrites = planOf({
  writes: ['a', 'b', 'c'].map((name) => ({ name: `/aw/${name}`, value: '1', exists: false })),
});

test('deletes come first, ten per call', async () => {
  const region = fakeRegion(() => START);
  const sizes: number[] = [];
  region.before = (names) => void sizes.push(names.length);
  const deletes = Array.from({ length: 23 }, (_, index) => `/aw/old${index}`);
  const applied = await applyPlan({ ...threeWrites, deletes }, region, options);
  expect(sizes).toEqual([10, 10, 3, 1, 1, 1]);
  expect(applied).toMatchObject({ deleted: deletes, written: ['/aw/a', '/aw/b', '/aw/c'], left: [] });
});

describe('left for the next pass', () => {
  test.each(['TooManyUpdates', 'ThrottlingException'])(
    'is everything from the call that met %s',
    async (name) => {
      const region = fakeRegion(() => START);
      region.before = ([first]) => {
        if (first === '/aw/b') throw awsError(name);
      };
      const applied = await applyPlan(threeWrites, region, options);
      expect(applied).toMatchObject({ written: ['/aw/a'], left: ['/aw/b', '/aw/c'] });
      expect(region.calls).toEqual(['put /aw/a']);
    },
  );

  test('is everything after the end of the time', async () => {
    const region = fakeRegion(() => START);
    let time = now();
    region.before = () => {
      time += 600;
    };
    const applied = await applyPlan(threeWrites, region, { ...options, now: () => time });
    expect(applied).toMatchObject({ written: ['/aw/a', '/aw/b'], left: ['/aw/c'] });
  });

  test('is a name that was deleted to change its type', async () => {
    const region = fakeRegion(() => START);
    const applied = await applyPlan(planOf({ replaces: ['/aw/x'] }), region, options);
    expect(applied).toMatchObject({ deleted: ['/aw/x'], left: ['/aw/x'] });
  });
});

test('a parameter that AWS refuses for good does not stop the others', async () => {
  const region = fakeRegion(() => START);
  region.before = ([first]) => {
    if (first === '/aw/b') throw awsError('ValidationException', 'no');
  };
  const applied = await applyPlan(threeWrites, region, options);
  expect(applied).toEqual({
    written: ['/aw/a', '/aw/c'],
    deleted: [],
    replaced: [],
    left: [],
    refusedByAws: [{ name: '/aw/b', error: 'ValidationException: no', isFault: true }],
  });
});

test('an error about everything is thrown', async () => {
  const region = fakeRegion(() => START);
  region.before = () => {
    throw awsError('AccessDeniedException');
  };
  await expect(applyPlan(threeWrites, region, options)).rejects.toThrow('AccessDeniedException');
});

test('calls are a pause apart', async () => {
  const region = fakeRegion(() => START);
  const began = performance.now();
  await applyPlan(threeWrites, region, { ...options, pauseMs: 20 });
  expect(performance.now() - began).toBeGreaterThanOrEqual(38);
});

describe('a parameter that cannot be overwritten', () => {
  const write = planOf({ writes: [{ name: '/aw/x', value: 'v1', exists: true }] });

  test.each([
    ['is advanced', { advanced: true }],
    ['has an AllowedPattern', { allowedPattern: /^\d+$/ }],
    ['has a label on the oldest of 100 versions', { labelledOldest: true }],
  ])('because it %s is deleted, and left for the next pass', async (_, restriction) => {
    const region = fakeRegion(() => START);
    region.edit('/aw/x', '1', START, 'String', restriction);
    const applied = await applyPlan(write, region, options);
    expect(applied).toEqual({
      written: [],
      deleted: ['/aw/x'],
      replaced: ['/aw/x'],
      left: ['/aw/x'],
      refusedByAws: [],
    });
  });

  test('because of its value stays', async () => {
    const region = fakeRegion(() => START);
    region.edit('/aw/x', '1', START);
    region.before = () => {
      throw awsError('ValidationException', 'no');
    };
    expect(await applyPlan(write, region, options)).toMatchObject({ deleted: [], refusedByAws: [{}] });
    expect(region.values()).toEqual({ '/aw/x': '1' });
  });
});

test('nothing is written after the signal has aborted', async () => {
  const region = fakeRegion(() => START);
  const abort = new AbortController();
  region.before = ([name]) => {
    if (name === '/aw/b') abort.abort();
  };
  const applied = await applyPlan(threeWrites, region, { ...options, signal: abort.signal });
  expect(applied.left).toContain('/aw/c');
  expect(region.calls).not.toContain('put /aw/c');
});
