import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { MAX_OUTPUTS } from './action-result.ts';
import { BuildCache } from './build-cache.ts';
import { type DiskTier, openDiskTier } from './disk-tier.ts';
import { type CacheServer, cacheServer } from './http.ts';
import { fakeStore } from './testing/fake-store.ts';
import { actionResult, digestOf, tree } from './testing/messages.ts';
import { backgroundUploads } from './uploads.ts';

/** A busy computer is slow. */
const soon = (check: () => void) => vi.waitFor(check, { timeout: 20_000 });

/** What a hostile job can send to the port of the cache. */

const MIB = 2 ** 20;
const ACTION = 'a'.repeat(64);

let folder: string;
let disk: DiskTier;
let server: CacheServer;
let port: number;
let cache: BuildCache;
let clients: Socket[];
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'hearth-cache-hostile-'));
  clients = [];
  await serve('read', 100 * MIB);
});
afterEach(async () => {
  await stop();
  rmSync(folder, { recursive: true });
});

async function serve(mode: 'read' | 'write', limit: number): Promise<void> {
  const statDisk = async () => ({ blocks: 2 ** 36, bavail: 2 ** 35, bsize: 1 });
  disk = await openDiskTier(join(folder, 'disk'), limit / 2 ** 36, () => {}, { statDisk });
  cache = new BuildCache({
    access: { mode, scope: 'main', reads: [], perJob: true },
    disk,
    store: fakeStore(Date.now).store,
    uploads: backgroundUploads(() => {}),
    log: () => {},
    now: Date.now,
  });
  await cache.readEpochs();
  server = cacheServer(cache, disk, () => {});
  port = await server.listen(0);
}

async function stop(): Promise<void> {
  for (const client of clients) client.destroy();
  await server.close();
  disk.close();
}

type Answer = { status: number; body: Buffer };

function call(method: string, path: string, body: Buffer | string = '', headers = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = httpRequest({ port, method, path, agent: false, headers }, (response) => {
      const pieces: Buffer[] = [];
      response.on('data', (piece: Buffer) => pieces.push(piece));
      response.once('error', reject);
      response.once('end', () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(pieces) }));
    });
    sent.once('error', reject).end(body);
  });
}

/** A connection that sends what no client library does. */
async function raw(): Promise<Socket & { text(): string }> {
  const socket = connect(port, '127.0.0.1');
  clients.push(socket);
  let text = '';
  socket.setEncoding('latin1').on('data', (piece: string) => {
    text += piece;
  });
  socket.on('error', () => {});
  await new Promise((resolve) => socket.once('connect', resolve));
  return Object.assign(socket, { text: () => text });
}

const put = (path: string, body: string) =>
  `PUT ${path} HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.length}\r\n\r\n${body}`;

/** Bytes of all files of the tier. One that is written at present can have another name a moment later. */
function used(): number {
  return readdirSync(join(folder, 'disk'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce(
      (sum, entry) =>
        sum + (statSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false })?.size ?? 0),
      0,
    );
}

test.each([
  `/bazel/ac/${'A'.repeat(64)}`,
  `/BAZEL/ac/${ACTION}`,
  `/bazel/AC/${ACTION}`,
  `/bazel/ac/${ACTION}/`,
  `/bazel/ac/${ACTION}0`,
  `/bazel/cas/../ac/../../etc/passwd`,
  `/bazel/${'i'.repeat(600)}/ac/${ACTION}`,
  '/ccache/../../../../etc/passwd',
  '/ccache/..%2f..%2f..%2fetc%2fpasswd',
  '/ccache/%252e%252e/x',
  '/ccache/..\\..\\x',
  '/ccache/a/./../../b/..',
  '/ccache//a',
  '/ccache/a//b',
  '/ccache/a%00b',
  '/ccache/a%0d%0ab',
  '/ccache/%ff',
  '/ccache/ä'.replace('ä', '%C3%A4'),
  '//ccache',
  '/CCACHE/a',
  '/job-1/act/x',
  '/tmp/1',
])('%s leads nowhere, and what is sent there is kept nowhere', async (path) => {
  const before = used();
  expect((await call('PUT', path, 'x')).status).toBe(404);
  expect((await call('GET', path)).status).toBe(404);
  expect((await call('HEAD', path)).status).toBe(404);
  expect(used()).toBe(before);
});

test('a target with the name of a host has the same path', async () => {
  const socket = await raw();
  socket.write(put('http://elsewhere.example/ccache/a', 'x'));
  await soon(() => expect(socket.text()).toContain('200 OK'));
  expect((await call('GET', '/ccache/a')).body.toString()).toBe('x');
});

test('instance names of Bazel separate actions, and share outputs', async () => {
  const output = digestOf('x');
  const result = actionResult({ files: [output] });
  await call('PUT', `/bazel/arm/cas/${output.sha256}`, 'x');
  await call('PUT', `/bazel/arm/ac/${ACTION}`, result);
  expect((await call('GET', `/bazel/arm/ac/${ACTION}`)).body).toEqual(result);
  for (const other of ['', 'x86/', 'arm/x86/', 'ar/', 'cas/'])
    expect((await call('GET', `/bazel/${other}ac/${ACTION}`)).status, other).toBe(404);
  expect((await call('GET', `/bazel/cas/${output.sha256}`)).body.toString()).toBe('x');
});

test('a part of an entry that a client asks for is all of it, and methods that change more change nothing', async () => {
  await call('PUT', '/ccache/a', 'content');
  const part = await call('GET', '/ccache/a', '', { range: 'bytes=1-2' });
  expect([part.status, part.body.toString()]).toEqual([200, 'content']);
  for (const method of ['DELETE', 'PATCH', 'COPY', 'MOVE', 'LOCK', 'TRACE'])
    expect((await call(method, '/ccache/a')).status, method).toBe(405);
  expect((await call('GET', '/ccache/a')).body.toString()).toBe('content');
});

test('long heads are refused, and others are served meanwhile', async () => {
  const socket = await raw();
  socket.write(`GET /ccache/a HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(200_000)}\r\n\r\n`);
  await soon(() => expect(socket.text()).toContain('431'));
  expect((await call('GET', '/status')).status).toBe(200);
});

test('a body in chunks with the wrong digest is refused, a too long one too, and one without an end is not kept', async () => {
  const before = used();
  const headers = { 'transfer-encoding': 'chunked' };
  const path = `/bazel/cas/${ACTION}`;
  expect((await call('PUT', path, randomBytes(MIB), headers)).status).toBe(400);
  expect((await call('PUT', `/bazel/ac/${ACTION}`, Buffer.alloc(17 * MIB), headers)).status).toBe(413);
  const endless = await raw();
  endless.write(`PUT ${path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n`);
  for (let count = 0; count < 20; count += 1) endless.write(`10000\r\n${'z'.repeat(65_536)}\r\n`);
  await soon(() => expect(used()).toBeGreaterThan(before + MIB));
  endless.destroy();
  await soon(() => expect(used()).toBe(before));
});

test('answers to requests that do not wait come in their order; too many of them end their connection alone', async () => {
  await call('PUT', '/ccache/a', 'first');
  await call('PUT', '/ccache/b', randomBytes(300_000));
  const get = (path: string) => `GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`;
  const ordered = await raw();
  ordered.write(
    get('/ccache/b') + get('/ccache/none') + get('/ccache/a') + get('/ccache/b') + get('/ccache/a'),
  );
  await soon(() =>
    expect(ordered.text().match(/HTTP\/1.1 \d+|first$/gm)).toEqual([
      'HTTP/1.1 200',
      'HTTP/1.1 404',
      'HTTP/1.1 200',
      'HTTP/1.1 200',
      'HTTP/1.1 200',
      'first',
    ]),
  );
  // More connections than requests that are answered at once, each ended with answers that wait.
  for (let count = 0; count < 300; count += 1) {
    const many = await raw();
    many.write(get('/ccache/b').repeat(10));
    if (count % 2 === 0) many.destroy();
    else many.write(get('/ccache/b').repeat(100));
    many.resume();
  }
  expect((await call('GET', '/ccache/a')).body.toString()).toBe('first');
});

test('a job that stalls every request of the process ends with its connections', async () => {
  for (let count = 0; count < 600; count += 1) {
    const slow = await raw();
    slow.write(
      count % 2 === 0 ? 'PUT /ccache/a HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nx' : 'GET /ccac',
    );
  }
  await server.turnover();
  expect((await call('PUT', '/ccache/a', 'next job')).status).toBe(200);
  expect((await call('GET', '/ccache/a')).body.toString()).toBe('next job');
});

test('what a job has sent and nobody has read makes no claim for the next job', async () => {
  const result = actionResult({ files: [digestOf('')] }).toString('latin1');
  const accepted = await raw();
  accepted.write('GET /status HTTP/1.1\r\nhost: x\r\n\r\n');
  await soon(() => expect(accepted.text()).toContain('enabled'));
  // A process that ends while its connections wait to be accepted, more of them than the kernel lets wait: this one accepts nothing meanwhile.
  const program = `const [head, body] = JSON.parse(process.argv[1]);
  for (let index = 0; index < 700; index += 1) {
    const socket = require('node:net').connect(${port}, '127.0.0.1');
    socket.end(head.replace('INDEX', index.toString(16).padStart(64, '0')) + body, 'latin1', () => socket.destroy());
    socket.on('error', () => {});
  }
  setTimeout(() => process.exit(), 500);`;
  const [head = ''] = put('/bazel/ac/INDEX', result).split(result);
  execFileSync(process.execPath, ['-e', program, JSON.stringify([head, result])]);
  const ended = server.turnover();
  accepted.write(put('/ccache/1', 'poison'));
  await ended;
  accepted.write(put('/ccache/2', 'poison'));
  // The kernel sends again after 0.2 s, and then after twice the time.
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  const found = await Promise.all(
    Array.from({ length: 700 }, (_, index) => cache.action(index.toString(16).padStart(64, '0'))),
  );
  expect(found.filter((result) => result !== undefined)).toHaveLength(0);
  for (const path of ['/ccache/1', '/ccache/2']) expect((await call('GET', path)).status, path).toBe(404);
});

test('a job that has all connections cannot keep the next job from the cache', async () => {
  let refused = 0;
  for (let count = 0; count < 1_100; count += 1) {
    const client = await raw();
    client.once('close', () => {
      refused += 1;
    });
  }
  await soon(() => expect(refused).toBe(76));
  await server.turnover();
  expect((await call('GET', '/status')).status).toBe(200);
});

test('what jobs write at once is never more than the limit of the disk tier', async () => {
  await stop();
  await serve('read', 8 * MIB);
  const contents = Array.from({ length: 20 }, () => randomBytes(MIB));
  let most = 0;
  const watch = setInterval(() => {
    most = Math.max(most, used());
  }, 1);
  const sent = contents.map((content) => call('PUT', `/bazel/cas/${digestOf(content).sha256}`, content));
  const stalled = await raw();
  stalled.write(
    `PUT /ccache/a HTTP/1.1\r\nhost: x\r\ncontent-length: ${100 * MIB}\r\n\r\n${'x'.repeat(MIB)}`,
  );
  expect((await Promise.all(sent)).every(({ status }) => status === 200)).toBe(true);
  clearInterval(watch);
  expect(most).toBeGreaterThan(2 * MIB);
  expect(most).toBeLessThanOrEqual(8 * MIB + 100);
  stalled.destroy();
  // What is there is right, and there is room again.
  for (const content of contents) {
    const { status, body } = await call('GET', `/bazel/cas/${digestOf(content).sha256}`);
    expect(status === 404 || body.equals(content)).toBe(true);
  }
  const last = randomBytes(7 * MIB);
  await call('PUT', '/ccache/b', last);
  expect((await call('GET', '/ccache/b')).body.equals(last)).toBe(true);
});

test('results that name too much are kept nowhere, and cost no memory', async () => {
  const many = actionResult({
    files: Array.from({ length: MAX_OUTPUTS + 1 }, (_, n) => digestOf(String(n))),
  });
  expect((await call('PUT', `/bazel/ac/${ACTION}`, many)).status).toBe(200);
  // A directory that is claimed to be small, and is not.
  const inside = tree(Array.from({ length: 2_000 }, (_, n) => digestOf(String(n))));
  await call('PUT', `/bazel/cas/${digestOf(inside).sha256}`, inside);
  const claimed = actionResult({ trees: [{ sha256: digestOf(inside).sha256, bytes: 1 }] });
  expect((await call('PUT', `/bazel/ac/${ACTION}`, claimed)).status).toBe(200);
  expect((await call('GET', `/bazel/ac/${ACTION}`)).status).toBe(404);
  expect(cache.numbers().dropped).toBe(2);
});

test('a length that is not that of the content ends the request, and claims nothing', async () => {
  const socket = await raw();
  socket.write(
    'PUT /ccache/a HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n',
  );
  await soon(() => expect(socket.text()).toContain('400'));
  const more = await raw();
  more.write(`${put('/ccache/b', 'four')}rest of a longer body`);
  await soon(() => expect(more.text()).toContain('400'));
  expect((await call('GET', '/ccache/a')).status).toBe(404);
  expect((await call('GET', '/ccache/b')).body.toString()).toBe('four');
});
