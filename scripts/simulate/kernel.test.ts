import { expect, test } from 'vitest';
import { Kernel, Random, withSeededRandom } from './kernel.ts';

test('events run in the order of their times, and of their scheduling where these are equal', async () => {
  const kernel = new Kernel(0);
  const ran: string[] = [];
  const random = new Random(1, 'times');
  for (let index = 0; index < 500; index += 1) {
    const at = random.integer(0, 50);
    kernel.at(at, () => ran.push(`${String(at).padStart(3, '0')} ${String(index).padStart(3, '0')}`));
  }
  await kernel.run(50);
  expect(ran).toHaveLength(500);
  expect(ran).toEqual([...ran].sort());
});

test('what waits continues in the event that ends its wait, before the next one', async () => {
  const kernel = new Kernel(0);
  const ran: string[] = [];
  kernel.at(1, () =>
    kernel.background(
      (async () => {
        await kernel.sleep(5);
        await Promise.resolve();
        ran.push(`slept until ${kernel.now}`);
      })(),
    ),
  );
  kernel.at(6, () => ran.push('another event at 6'));
  kernel.at(7, () => ran.push('an event at 7'));
  await kernel.run(10);
  expect(ran).toEqual(['another event at 6', 'slept until 6', 'an event at 7']);
  expect(kernel.now).toBe(10);
});

test('a failure in the background ends the run', async () => {
  const kernel = new Kernel(0);
  kernel.at(1, () => kernel.background(Promise.reject(new Error('a defect'))));
  await expect(kernel.run(10)).rejects.toThrow('a defect');
});

test('random numbers depend on seed and purpose only', async () => {
  const numbers = (seed: number, purpose: string) => {
    const random = new Random(seed, purpose);
    return Array.from({ length: 5 }, random.next);
  };
  expect(numbers(1, 'load')).toEqual(numbers(1, 'load'));
  expect(numbers(1, 'load')).not.toEqual(numbers(2, 'load'));
  expect(numbers(1, 'load')).not.toEqual(numbers(1, 'faults'));
  const mean = (of: () => number) =>
    Array.from({ length: 4_000 }, of).reduce((sum, value) => sum + value, 0) / 4_000;
  const random = new Random(3, 'mean');
  expect(mean(random.next)).toBeCloseTo(0.5, 1);
  expect(mean(() => random.poisson(7))).toBeGreaterThan(6.5);
  expect(mean(() => random.poisson(7))).toBeLessThan(7.5);
  expect(mean(() => random.poisson(200))).toBeGreaterThan(197);
  const original = Math.random;
  await withSeededRandom(new Random(1, 'x'), async () =>
    expect(Math.random()).toBe(new Random(1, 'x').next()),
  );
  expect(Math.random).toBe(original);
});
