import { expect, test } from 'vitest';
import { breaker } from './breaker.ts';

function create() {
  const lines: string[] = [];
  let now = 0;
  const here = breaker(
    'S3',
    (line) => lines.push(line),
    () => now,
  );
  return { here, lines, wait: (ms: number) => (now += ms) };
}

test('three failures in a row switch it off for 10 s, then one request tries', () => {
  const { here, lines, wait } = create();
  here.failed();
  here.failed();
  here.succeeded();
  here.failed();
  here.failed();
  expect(here.allows()).toBe(true);
  here.failed();
  expect(here.allows()).toBe(false);
  wait(9_999);
  expect(here.allows()).toBe(false);
  wait(1);
  expect([here.allows(), here.allows()]).toEqual([true, false]);
  here.succeeded();
  expect(here.allows()).toBe(true);
  expect(lines).toEqual(['S3 is switched off for 10 s after 3 failures', 'S3 answers again']);
});

test('the time off doubles up to five minutes', () => {
  const { here, lines, wait } = create();
  for (let count = 0; count < 3; count += 1) here.failed();
  for (let count = 0; count < 6; count += 1) {
    wait(300_000);
    expect(here.allows()).toBe(true);
    here.failed();
  }
  expect(lines.map((line) => /for (\d+) s/.exec(line)?.[1])).toEqual([
    '10',
    '20',
    '40',
    '80',
    '160',
    '300',
    '300',
  ]);
});

test('failures of requests that were sent before do not lengthen the time off', () => {
  const { here, wait } = create();
  for (let count = 0; count < 50; count += 1) here.failed();
  wait(10_000);
  expect(here.allows()).toBe(true);
});

test('a trial whose result is lost is followed by another one', () => {
  const { here, wait } = create();
  for (let count = 0; count < 3; count += 1) here.failed();
  wait(10_000);
  expect(here.allows()).toBe(true);
  wait(10_000);
  expect(here.allows()).toBe(true);
});
