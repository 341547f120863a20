import { expect, test } from 'vitest';
import { noAgent } from './none.ts';

test('logs its reason, and is always gone', async () => {
  const lines: string[] = [];
  const driver = noAgent('no driver for x', (line) => lines.push(line));
  await driver.prepare(new AbortController().signal);
  await driver.start();
  await driver.stopIntake();
  expect(await driver.status()).toEqual({ state: 'gone' });
  expect(lines).toEqual(['no agent: no driver for x']);
});
