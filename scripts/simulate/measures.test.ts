import { expect, test } from 'vitest';
import { clairvoyantHours, InstanceTimes } from './measures.ts';

test('idle time counts as unused unless a job ends it', () => {
  const times = new InstanceTimes('booting', 100);
  times.enter('idle', 150);
  // The provider has removed the registration: the next agent waits for the same job.
  times.enter('turnover', 170);
  times.enter('idle', 175);
  times.enter('busy', 200);
  times.enter('turnover', 300);
  times.enter('idle', 310);
  times.enter('draining', 400);
  times.enter('draining', 460);
  expect(times.spent).toEqual({
    ...{ booting: 50, idle: 45, busy: 100, turnover: 15, unused: 90, draining: 60, warming: 0 },
  });
});

test('the optimum keeps an instance between two jobs if that is cheaper than a boot, and keeps to the maximum', () => {
  const hours = (jobs: { at: number; seconds: number }[], max = 9) =>
    clairvoyantHours(new Map([['g', jobs]]), new Map([['g', max]]), 60, 10);
  const job = (at: number) => ({ at: at * 1000, seconds: 3_520 });
  // A boot, the job, a turnover, the wait of 20 s, the job, a turnover.
  expect(hours([job(0), job(3_550)])).toBeCloseTo((60 + 3_530 + 20 + 3_530) / 3_600);
  expect(hours([job(0), job(9_000)])).toBeCloseTo((2 * (60 + 3_530)) / 3_600);
  // The second job waits for the only instance.
  expect(hours([job(0), job(1)], 1)).toBeCloseTo((60 + 2 * 3_530) / 3_600);
});
