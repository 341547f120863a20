import { describe, expect, test } from 'vitest';
import { isTemporary, patiently } from './patience.ts';

const named = (name: string, more: object = {}) => Object.assign(new Error(name), { name, ...more });
const status = (httpStatusCode: number) => named('Unknown', { $metadata: { httpStatusCode } });

describe('another attempt', () => {
  test.each([
    ['throttling', named('SlowDown', { $metadata: { httpStatusCode: 503 } })],
    ['an error of the server', status(500)],
    ['a connection that is reset', Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' })],
    ['silence', named('TimeoutError')],
    ['a body that ends early', named('IncompleteBody')],
  ])('can help against %s', (_, error) => expect(isTemporary(error)).toBe(true));

  test.each([
    ['a refusal', named('AccessDenied', { $metadata: { httpStatusCode: 403 } })],
    ['a missing bucket', named('NoSuchBucket', { $metadata: { httpStatusCode: 404 } })],
    ['wrong bytes', named('BadDigest', { $metadata: { httpStatusCode: 400 } })],
    ['a full disk', Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' })],
    ['no error', 'text'],
  ])('cannot help against %s', (_, error) => expect(isTemporary(error)).toBe(false));
});

test('a call is repeated until it succeeds', async () => {
  let left = 2;
  const call = async () => {
    left -= 1;
    if (left >= 0) throw status(503);
    return 'done';
  };
  expect(await patiently({ until: performance.now() + 60_000 }, call)).toBe('done');
});

test('the time limit counts, not the number of attempts', async () => {
  const late = performance.now() + 400;
  await expect(patiently({ until: late }, () => Promise.reject(status(503)))).rejects.toThrow('Unknown');
  expect(performance.now()).toBeLessThan(late + 300);
});

test('a signal ends the pause with its reason', async () => {
  const stop = new AbortController();
  const waiting = patiently({ until: Number.POSITIVE_INFINITY, signal: stop.signal }, () => {
    setTimeout(() => stop.abort(new Error('time is up')), 10);
    return Promise.reject(status(503));
  });
  await expect(waiting).rejects.toThrow('time is up');
});
