import { expect, test } from 'vitest';
import { limitTime, raceAbort } from './abortable.ts';

const never = new Promise<never>(() => {});

test('work that ignores its signal is left behind', async () => {
  const stop = new AbortController();
  const waiting = raceAbort(stop.signal, never);
  stop.abort(new Error('too late'));
  await expect(waiting).rejects.toThrow('too late');
  await expect(raceAbort(stop.signal, never)).rejects.toThrow('too late');
});

test('work that never ends is an error that names it', async () => {
  await expect(limitTime(10, 'status of the agent', never)).rejects.toThrow(
    'status of the agent did not answer within 0.01 s',
  );
});

test('the result and the error of the work pass through', async () => {
  expect(await limitTime(1_000, 'x', Promise.resolve(1))).toBe(1);
  await expect(limitTime(1_000, 'x', Promise.reject(new Error('refused')))).rejects.toThrow('refused');
  expect(await raceAbort(undefined, Promise.resolve(2))).toBe(2);
});
