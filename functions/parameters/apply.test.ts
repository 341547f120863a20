import { describe, expect, test } from 'vitest';
import { applyPlan } from './apply.ts';
import type { Plan } from './plan.ts';
import { awsError, fakeRegion } from './testing/fake-region.ts';

const START = new Date('2026-11-23T03:00:00Z');
const now = () => START.getTime();
const options = { now, until: now() + 1000, pauseMs: 0 };

function planOf(change: Partial<Plan>): Plan {
  return { writes: [], deletes: [], replaces: [], refused: [], drift: new Set(), ...change };
}

const threeWrites = planOf({ writes: ['a', 'b', 'c'].map((name) => ({ name: `/aw/${name}`, value: '1' })) });

test('deletes come first and in tens, since there may be no room for what is new', async () => {
  const region = fakeRegion(() => START);
  const sizes: number[] = [];
  region.before = (names) => void sizes.push(names.length);
  const deletes = Array.from({ length: 23 }, (_, index) => `/aw/old${index}`);
  const applied = await applyPlan({ ...threeWrites, deletes }, region, options);
  expect(sizes).toEqual([10, 10, 3, 1, 1, 1]);
  expect(applied).toMatchObject({ deleted: deletes, written: ['/aw/a', '/aw/b', '/aw/c'], left: 0 });
});

describe('what is left for the next look', () => {
  test.each(['TooManyUpdates', 'ThrottlingException'])('all from the call that met %s', async (name) => {
    const region = fakeRegion(() => START);
    region.before = ([first]) => {
      if (first === '/aw/b') throw awsError(name);
    };
    const applied = await applyPlan(threeWrites, region, options);
    expect(applied).toMatchObject({ written: ['/aw/a'], left: 2 });
    expect(region.calls).toEqual(['put /aw/a']);
  });

  test('all that the time does not suffice for', async () => {
    const region = fakeRegion(() => START);
    let time = now();
    region.before = () => {
      time += 600;
    };
    const applied = await applyPlan(threeWrites, region, { ...options, now: () => time });
    expect(applied).toMatchObject({ written: ['/aw/a', '/aw/b'], left: 1 });
  });

  test('what was deleted to change its type', async () => {
    const region = fakeRegion(() => START);
    const applied = await applyPlan(planOf({ replaces: ['/aw/x'] }), region, options);
    expect(applied).toMatchObject({ deleted: ['/aw/x'], left: 1 });
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
    left: 0,
    refusedByAws: [{ name: '/aw/b', error: 'ValidationException: no' }],
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
