import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { removeEverything } from '../../infra/runner/src/snapshot/clean-up.ts';
import { saveSnapshot } from '../../infra/runner/src/snapshot/save.ts';
import { verifySnapshot } from '../../shared/snapshot/format-1/verify.ts';
import { s3Store } from '../../shared/snapshot/store.ts';
import { localS3 } from '../support/s3-client.ts';
import { type S3Server, startS3Server } from '../support/s3-server.ts';

let server: S3Server;
let folder: string;
beforeEach(async () => {
  server = await startS3Server();
  folder = await mkdtemp(join(tmpdir(), 'hearth-vouched-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
  await server.close();
});

test.each([
  ['in one part', 100_000, 1],
  ['in parts', 40_000_000, 3],
])('a layer that is uploaded %s is verified by its checksum in S3', async (_, bytes, parts) => {
  const s3 = localS3(server.url);
  const directories = {
    layers: join(folder, 'layers'),
    warm: join(folder, 'warm'),
    state: join(folder, 'state'),
  };
  await mkdir(directories.warm);
  await writeFile(join(directories.warm, 'random'), randomBytes(bytes));
  const { id, manifest } = await saveSnapshot({
    s3,
    bucket: 'b',
    set: 'default',
    directories,
    toolVersion: '0',
  });
  expect(manifest.layers[0]?.chunks).toHaveLength(parts);

  const noTimeToRead = { now: () => 1, readUntil: 0 };
  const verify = () => verifySnapshot(s3Store(s3, 'b'), 'default', id, noTimeToRead);
  expect(await verify()).toMatchObject({ verdict: 'sound', bytesRead: 0 });
  for (const stored of server.objects.values()) delete stored.sha256;
  expect(await verify()).toMatchObject({ verdict: 'broken' });
  await removeEverything(directories);
  s3.destroy();
});
