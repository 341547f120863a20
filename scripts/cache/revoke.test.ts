import { afterEach, beforeEach, expect, test } from 'vitest';
import { epochKey } from '../../shared/fleet/build-cache.ts';
import { localS3 } from '../../test/support/s3-client.ts';
import { type S3Server, startS3Server } from '../../test/support/s3-server.ts';
import { revokeScope } from './revoke.ts';

let server: S3Server;
beforeEach(async () => {
  server = await startS3Server();
});
afterEach(() => server.close());

const revoke = (scope: string) =>
  revokeScope(localS3(server.url), 'b', scope, 'a job was hostile', new Date(Date.UTC(2026, 0, 2)));

test('each call raises the epoch, and keeps why', async () => {
  expect(await revoke('main')).toBe(1);
  expect(await revoke('main')).toBe(2);
  expect(JSON.parse(server.objects.get(epochKey('main'))?.body.toString() ?? '')).toEqual({
    version: 1,
    epoch: 2,
    reason: 'a job was hostile',
    at: '2026-01-02T00:00:00.000Z',
  });
});

test('of two calls at the same time one fails, so that none is lost', async () => {
  await revoke('main');
  const results = await Promise.allSettled([revoke('main'), revoke('main')]);
  expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
});

test('a name that is no scope is refused', async () => {
  await expect(revoke('../groups')).rejects.toThrow('no name of a scope');
  expect(server.calls).toEqual([]);
});
