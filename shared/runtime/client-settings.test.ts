import { createServer } from 'node:net';
import { AutoScalingClient, DescribeAutoScalingInstancesCommand } from '@aws-sdk/client-auto-scaling';
import { afterEach, expect, test } from 'vitest';
import { clientSettings } from './client-settings.ts';

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

/** A server that accepts connections and never answers. */
async function silentServer(): Promise<string> {
  const server = createServer((socket) => {
    closing.push(() => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => server.close());
  const address = server.address();
  return `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`;
}

test.each(['lambda', 'daemon'] as const)('the %s profile limits connecting and silence', (profile) => {
  const { requestHandler } = clientSettings(profile);
  expect(requestHandler.connectionTimeout).toBeGreaterThan(0);
  expect(requestHandler.socketTimeout).toBeGreaterThan(0);
  expect(requestHandler.throwOnRequestTimeout).toBe(true);
});

test('a request to a server that never answers fails instead of waiting for ever', async () => {
  const settings = clientSettings('lambda', 'eu-west-1');
  const client = new AutoScalingClient({
    ...settings,
    endpoint: await silentServer(),
    credentials: { accessKeyId: 'x', secretAccessKey: 'x' },
    maxAttempts: 1,
    // The same settings with shorter times.
    requestHandler: { ...settings.requestHandler, requestTimeout: 100, socketTimeout: 100 },
  });
  await expect(
    client.send(new DescribeAutoScalingInstancesCommand({ InstanceIds: [] })),
  ).rejects.toMatchObject({ name: 'TimeoutError' });
});

test('a region is set only if one is given', () => {
  expect(clientSettings('lambda')).not.toHaveProperty('region');
  expect(clientSettings('lambda', 'us-east-2')).toMatchObject({ region: 'us-east-2' });
});
