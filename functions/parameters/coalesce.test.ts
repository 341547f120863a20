import { describe, expect, test } from 'vitest';
import { singleFlight } from './coalesce.ts';

/** Calls that a test ends. */
function openCalls() {
  const open: (() => void)[] = [];
  let started = 0;
  const call = () =>
    new Promise<number>((resolve) => {
      started += 1;
      const number = started;
      open.push(() => resolve(number));
    });
  return { call, open, started: () => started };
}

const { signal } = new AbortController();
const clockAt = (time: { ms: number }) => ({ now: () => new Date(time.ms) });
const nextTick = () => new Promise((resolve) => setTimeout(resolve, 0));

describe('requests', () => {
  test('before the start of a call share it', async () => {
    const { call, open, started } = openCalls();
    const { run } = singleFlight(call, () => true, clockAt({ ms: 0 }), 0);
    const requests = Array.from({ length: 10 }, () => run(signal));
    await nextTick();
    open[0]?.();
    expect(await Promise.all(requests)).toEqual(Array(10).fill(1));
    expect(started()).toBe(1);
  });

  test('during a call share the next one', async () => {
    const { call, open, started } = openCalls();
    const { run } = singleFlight(call, () => true, clockAt({ ms: 0 }), 0);
    const first = run(signal);
    await nextTick();
    const later = [run(signal), run(signal)];
    open[0]?.();
    expect(await first).toBe(1);
    await nextTick();
    open[1]?.();
    expect(await Promise.all(later)).toEqual([2, 2]);
    expect(started()).toBe(2);
  });

  test('after a call that failed get a new one', async () => {
    let calls = 0;
    const { run } = singleFlight(
      async () => {
        calls += 1;
        if (calls === 1) throw new Error('down');
        return calls;
      },
      () => true,
      clockAt({ ms: 0 }),
      0,
    );
    await expect(run(signal)).rejects.toThrow('down');
    expect(await run(signal)).toBe(2);
  });

  test('in succession are a gap apart', async () => {
    const starts: number[] = [];
    const { run } = singleFlight(
      async () => void starts.push(performance.now()),
      () => true,
      { now: () => new Date() },
      30,
    );
    await run(signal);
    await run(signal);
    const [first = 0, second = 0] = starts;
    expect(second - first).toBeGreaterThanOrEqual(28);
  });
});

describe('a message', () => {
  test('sent well before a complete call is covered by it', async () => {
    const time = { ms: 100_000 };
    const { run, covers } = singleFlight(
      async () => 'good',
      (result) => result === 'good',
      clockAt(time),
      0,
    );
    expect(covers(new Date(0))).toBe(false);
    await run(signal);
    expect(covers(new Date(98_000))).toBe(true);
    expect(covers(new Date(98_001))).toBe(false);
    expect(covers(new Date(100_001))).toBe(false);
  });

  test('sent before an incomplete call is not covered', async () => {
    const { run, covers } = singleFlight(
      async () => 'bad',
      (result) => result === 'good',
      clockAt({ ms: 100_000 }),
      0,
    );
    await run(signal);
    expect(covers(new Date(0))).toBe(false);
  });
});
