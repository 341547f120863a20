import { expect, test } from 'vitest';
import { limitedLog } from './limited-log.ts';

test('a minute has at most 60 lines, and the next one tells what was left out', () => {
  const lines: string[] = [];
  let now = 0;
  const log = limitedLog(
    (line) => lines.push(line),
    () => now,
  );
  for (let count = 0; count < 100; count += 1) log(`line ${count}`);
  expect([lines.length, lines.at(-1)]).toEqual([60, 'line 59']);
  now += 60_000;
  log('later');
  expect(lines.slice(60)).toEqual(['40 lines of the build cache were left out', 'later']);
});
