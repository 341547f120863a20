import { afterEach, describe, expect, it, vi } from 'vitest';
import { simulatedTimers, systemTimers } from './timers.ts';

afterEach(() => vi.useRealTimers());

describe('simulatedTimers', () => {
  it('runs what is due in the order of time, at its time, and what that adds', () => {
    const timers = simulatedTimers(1000);
    const ran: [string, number][] = [];
    const note = (name: string) => () => ran.push([name, timers.now()]);
    timers.at(1300, note('late'));
    timers.at(1100, () => {
      note('early')();
      timers.at(1200, note('added'));
    });
    timers.at(900, note('overdue'));
    const cancel = timers.at(1150, note('cancelled'));
    cancel();
    timers.advance(250);
    expect(ran).toEqual([
      ['overdue', 1000],
      ['early', 1100],
      ['added', 1200],
    ]);
    expect(timers.now()).toBe(1250);
    timers.advance(50);
    expect(ran.at(-1)).toEqual(['late', 1300]);
  });
});

describe('systemTimers', () => {
  it('keeps delays that are longer than setTimeout can hold', () => {
    vi.useFakeTimers();
    const days = 30 * 86_400_000;
    let ran = 0;
    systemTimers.at(Date.now() + days, () => {
      ran += 1;
    });
    const cancel = systemTimers.at(Date.now() + days, () => {
      ran += 10;
    });
    vi.advanceTimersByTime(days - 1);
    expect(ran).toBe(0);
    cancel();
    vi.advanceTimersByTime(1);
    expect(ran).toBe(1);
  });
});
