import { expect, test } from 'vitest';
import { fetchFailure, readAnswer, retryAfterSeconds } from './http-answer.ts';

test('an answer is read up to its limit, and what follows is not received', async () => {
  expect(await readAnswer(new Response('äöü'), 6)).toEqual({ text: 'äöü', isWhole: true });
  expect(await readAnswer(new Response('abcdef'), 5)).toEqual({ text: 'abcde', isWhole: false });
  expect(await readAnswer(new Response(null), 5)).toEqual({ text: '', isWhole: true });
  let isCancelled = false;
  const endless = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(new Uint8Array(1_000)),
    cancel: () => {
      isCancelled = true;
    },
  });
  expect((await readAnswer(new Response(endless), 2_500)).isWhole).toBe(false);
  expect(isCancelled).toBe(true);
});

test('the reason of a failed call is that of its cause', () => {
  expect(fetchFailure(new TypeError('fetch failed', { cause: new Error('ECONNREFUSED') }))).toBe(
    'ECONNREFUSED',
  );
  expect(fetchFailure(new Error('timeout'))).toBe('timeout');
  expect(fetchFailure('odd')).toBe('odd');
});

test.each([
  ['7', 7],
  ['0', 1],
  ['Mon, 30 Nov 2026 10:00:30 GMT', 30],
  ['Mon, 30 Nov 2026 09:00:00 GMT', 1],
  ['soon', undefined],
  ['-5', undefined],
  [undefined, undefined],
])('Retry-After %s is %s seconds', (header, expected) => {
  const clock = { now: () => new Date('2026-11-30T10:00:00Z') };
  const headers = new Headers(header === undefined ? {} : { 'retry-after': header });
  expect(retryAfterSeconds(headers, clock)).toBe(expected);
});
