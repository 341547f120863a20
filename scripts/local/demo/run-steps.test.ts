import { expect, test, vi } from 'vitest';
import { type PlannedStep, runSteps } from './run-steps.ts';
import type { Demo } from './step.ts';

const signal = new AbortController().signal;
const step = (title: string, after: PlannedStep[], run: () => Promise<string>): PlannedStep => ({
  step: { title, run },
  after: after.map((one) => one.step),
});
const outcomes = async (plan: PlannedStep[]) =>
  (await runSteps(plan, () => ({}) as Demo, signal)).map(({ step: title, outcome }) => [title, outcome]);

test('a step starts when those that it needs have ended, and all others at once', async () => {
  const order: string[] = [];
  const timed = (title: string, after: PlannedStep[], ms: number) =>
    step(title, after, async () => {
      order.push(`${title} starts`);
      await new Promise((resolve) => setTimeout(resolve, ms));
      order.push(`${title} ends`);
      return title;
    });
  const slow = timed('slow', [], 40);
  const other = timed('other', [], 5);
  const last = timed('last', [slow, other], 1);
  expect(await outcomes([slow, last, other])).toEqual([
    ['slow', 'ok'],
    ['last', 'ok'],
    ['other', 'ok'],
  ]);
  expect(order).toEqual([
    'slow starts',
    'other starts',
    'other ends',
    'slow ends',
    'last starts',
    'last ends',
  ]);
});

test('what needs a failed step does not run; everything else does', async () => {
  const print = vi.spyOn(console, 'error').mockReturnValue();
  const failed = step('failed', [], async () => {
    throw new Error('no capacity');
  });
  const never = step('needs it', [failed], async () => 'x');
  const stillNever = step('needs that', [never], async () => 'x');
  const free = step('free', [], async () => 'x');
  expect(await outcomes([failed, never, stillNever, free])).toEqual([
    ['failed', 'failed'],
    ['needs it', 'not run'],
    ['needs that', 'not run'],
    ['free', 'ok'],
  ]);
  print.mockRestore();
});
