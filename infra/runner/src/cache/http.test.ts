import { mkdtempSync, rmSync } from 'node:fs';
import { Agent, request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CACHE_TOOLS } from '../../../../shared/fleet/build-cache.ts';
import { BuildCache } from './build-cache.ts';
import { type DiskTier, openDiskTier } from './disk-tier.ts';
import { type CacheServer, cacheServer } from './http.ts';
import { fakeStore } from './testing/fake-store.ts';
import { actionResult, digestOf } from './testing/messages.ts';
import { backgroundUploads } from './uploads.ts';

let folder: string;
let disk: DiskTier;
let server: CacheServer;
let port: number;
let s3: ReturnType<typeof fakeStore>;
let cache: BuildCache;
const agent = new Agent({ keepAlive: true, maxSockets: 1 });

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'hearth-cache-http-'));
  const statDisk = async () => ({ blocks: 2 ** 36, bavail: 2 ** 35, bsize: 1 });
  disk = await openDiskTier(folder, 0.1, () => {}, { statDisk });
  s3 = fakeStore(Date.now);
  cache = new BuildCache({
    access: { mode: 'read', scope: 'main', reads: [], perJob: true },
    disk,
    store: s3.store,
    uploads: backgroundUploads(() => {}),
    log: () => {},
    now: Date.now,
  });
  await cache.readEpochs();
  server = cacheServer(cache, disk, () => {});
  port = await server.listen(0);
});
afterEach(async () => {
  agent.destroy();
  await server.close();
  disk.close();
  rmSync(folder, { recursive: true });
});

type Answer = { status: number; body: Buffer; headers: Record<string, unknown>; port: number };

function call(method: string, path: string, body: Buffer | string = '', headers = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = httpRequest({ port, method, path, agent, headers }, (response) => {
      const own = response.socket.localPort ?? 0;
      const pieces: Buffer[] = [];
      response.on('data', (piece: Buffer) => pieces.push(piece));
      response.once('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          body: Buffer.concat(pieces),
          headers: response.headers,
          port: own,
        }),
      );
    });
    sent.once('error', reject).end(body);
  });
}

const LARGE = Buffer.alloc(1_000_000, 'large');

test('what a job has stored it gets back, also where its group only reads', async () => {
  for (const content of [Buffer.from('small'), LARGE]) {
    const path = `/bazel/cas/${digestOf(content).sha256}`;
    expect((await call('GET', path)).status).toBe(404);
    expect((await call('PUT', path, content)).status).toBe(200);
    const { status, body, headers } = await call('GET', path);
    expect([status, body.equals(content), Number(headers['content-length'])]).toEqual([
      200,
      true,
      content.length,
    ]);
    const head = await call('HEAD', path);
    expect([head.status, head.body.length, Number(head.headers['content-length'])]).toEqual([
      200,
      0,
      content.length,
    ]);
  }
  const result = actionResult({ files: [digestOf(LARGE)] });
  expect((await call('PUT', `/bazel/ac/${'a'.repeat(64)}`, result)).status).toBe(200);
  expect((await call('GET', `/bazel/ac/${'a'.repeat(64)}`)).body.equals(result)).toBe(true);
  await cache.drain(1_000);
  expect([...s3.objects.keys()]).toEqual([]);
});

test.each(CACHE_TOOLS)('an entry of %s comes back', async (tool) => {
  for (const content of ['small', LARGE]) {
    const path = `/${tool}/a/b/${content.length}?team=x`;
    expect((await call('HEAD', path)).status).toBe(404);
    expect((await call('PUT', path, content)).status).toBe(200);
    expect((await call('HEAD', path)).status).toBe(200);
    expect((await call('GET', path)).body.length).toBe(content.length);
  }
});

test('wrong content is refused, and the connection goes on', async () => {
  const answers = [
    await call('PUT', `/bazel/cas/${'0'.repeat(64)}`, 'x'),
    await call('PUT', `/bazel/cas/${'0'.repeat(64)}`, LARGE),
    await call('PUT', `/bazel/ac/${'0'.repeat(64)}`, 'no message'),
    await call('PUT', `/bazel/ac/${'0'.repeat(64)}`, Buffer.alloc(17 * 2 ** 20)),
    await call('GET', `/bazel/cas/${digestOf('').sha256}`),
  ];
  expect(answers.map(({ status }) => status)).toEqual([400, 400, 400, 413, 200]);
  expect(new Set(answers.map(({ port }) => port)).size).toBe(1);
});

test('paths that lead nowhere are missing, and a PUT there stores nothing', async () => {
  const paths = [
    '/',
    '/other/key',
    '/bazel/cas/xyz',
    '/ccache/../bazel',
    '/ccache/%2e%2e/x',
    `/nx/${'k'.repeat(513)}`,
  ];
  for (const path of paths) {
    expect((await call('GET', path)).status, path).toBe(404);
    expect((await call('PUT', path, 'x')).status, path).toBe(404);
  }
});

test('WebDAV: every folder exists, and an entry has its length', async () => {
  expect((await call('MKCOL', '/sccache/a/')).status).toBe(201);
  const folderAnswer = await call('PROPFIND', '/sccache/a/');
  expect([folderAnswer.status, folderAnswer.body.toString().includes('<D:collection/>')]).toEqual([
    207,
    true,
  ]);
  expect((await call('PROPFIND', '/sccache/a/b')).status).toBe(404);
  await call('PUT', '/sccache/a/b', 'four');
  expect((await call('PROPFIND', '/sccache/a/b')).body.toString()).toContain('<D:getcontentlength>4<');
});

test('Turborepo asks whether the cache is enabled', async () => {
  expect((await call('GET', '/turborepo/v8/artifacts/status')).body.toString()).toContain('enabled');
  expect((await call('POST', '/turborepo/v8/artifacts/events', '[]')).status).toBe(200);
});

test('a body that ends half-way is not kept, whatever it was', async () => {
  const path = `/bazel/cas/${digestOf(LARGE).sha256}`;
  const sent = httpRequest({ port, method: 'PUT', path, headers: { 'content-length': LARGE.length } });
  sent.on('error', () => {});
  sent.write(LARGE.subarray(0, 500_000));
  await new Promise((resolve) => setTimeout(resolve, 50));
  sent.destroy();
  expect((await call('GET', path)).status).toBe(404);
});

test('an internal failure is a miss for a reader and nothing for a writer', async () => {
  cache.entry = async () => {
    throw new Error('broken');
  };
  cache.putEntry = async () => {
    throw new Error('broken');
  };
  expect((await call('GET', '/ccache/a')).status).toBe(404);
  expect((await call('PUT', '/ccache/a', 'x')).status).toBe(200);
});
