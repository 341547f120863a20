import { expect, test } from 'vitest';
import { unsupportedAgent } from './unsupported.ts';

test('fails the boot with a reason that a report can carry', async () => {
  const driver = unsupportedAgent('gha');
  await expect(driver.start()).rejects.toThrow('this version of aw-runner has no driver for gha');
  await driver.stopIntake();
  expect(await driver.status()).toEqual({ state: 'gone' });
});
