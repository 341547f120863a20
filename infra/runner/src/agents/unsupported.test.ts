import { expect, test } from 'vitest';
import { unsupportedAgent } from './unsupported.ts';

test('fails the boot with words that a report can carry', async () => {
  const host = unsupportedAgent('gha');
  await expect(host.start()).rejects.toThrow('this version of aw-runner has no driver for gha');
  await host.stopIntake();
  expect(await host.status()).toEqual({ state: 'gone' });
});
