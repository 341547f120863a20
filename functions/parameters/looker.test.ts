import { describe, expect, test } from 'vitest';
import { looker } from './looker.ts';

/** A look that ends when it is told to. */
function openLooks() {
  const open: (() => void)[] = [];
  let begun = 0;
  const call = () =>
    new Promise<number>((resolve) => {
      begun += 1;
      const number = begun;
      open.push(() => resolve(number));
    });
  return { call, open, begun: () => begun };
}

const clockAt = (time: { ms: number }) => ({ now: () => new Date(time.ms) });
const settle = () => new Promise((resolve) => setTimeout(resolve, 0));

describe('who asks', () => {
  test('together shares one look', async () => {
    const { call, open, begun } = openLooks();
    const { look } = looker(call, () => true, clockAt({ ms: 0 }), 0);
    const asked = Array.from({ length: 10 }, () => look());
    await settle();
    open[0]?.();
    expect(await Promise.all(asked)).toEqual(Array(10).fill(1));
    expect(begun()).toBe(1);
  });

  test('while a look is under way gets the next one, together', async () => {
    const { call, open, begun } = openLooks();
    const { look } = looker(call, () => true, clockAt({ ms: 0 }), 0);
    const first = look();
    await settle();
    const later = [look(), look()];
    open[0]?.();
    expect(await first).toBe(1);
    await settle();
    open[1]?.();
    expect(await Promise.all(later)).toEqual([2, 2]);
    expect(begun()).toBe(2);
  });

  test('after a look that failed gets a new one', async () => {
    let calls = 0;
    const { look } = looker(
      async () => {
        calls += 1;
        if (calls === 1) throw new Error('down');
        return calls;
      },
      () => true,
      clockAt({ ms: 0 }),
      0,
    );
    await expect(look()).rejects.toThrow('down');
    expect(await look()).toBe(2);
  });

  test('again at once waits until the gap is over', async () => {
    const began: number[] = [];
    const { look } = looker(
      async () => void began.push(performance.now()),
      () => true,
      { now: () => new Date() },
      30,
    );
    await look();
    await look();
    const [first = 0, second = 0] = began;
    expect(second - first).toBeGreaterThanOrEqual(28);
  });
});

describe('what was sent', () => {
  test('well before a look that succeeded has been seen by it', async () => {
    const time = { ms: 100_000 };
    const { look, hasSeen } = looker(
      async () => 'good',
      (result) => result === 'good',
      clockAt(time),
      0,
    );
    expect(hasSeen(new Date(0))).toBe(false);
    await look();
    expect(hasSeen(new Date(98_000))).toBe(true);
    expect(hasSeen(new Date(98_001))).toBe(false);
    expect(hasSeen(new Date(100_001))).toBe(false);
  });

  test('before a look that was no good has not', async () => {
    const { look, hasSeen } = looker(
      async () => 'bad',
      (result) => result === 'good',
      clockAt({ ms: 100_000 }),
      0,
    );
    await look();
    expect(hasSeen(new Date(0))).toBe(false);
  });
});
