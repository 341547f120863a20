import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request as httpRequest, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type S3Server, startS3Server } from '../../../../test/support/s3-server.ts';
import { serveCache } from './serve-cache.ts';

const DAY = 86_400_000;

let folder: string;
let s3: S3Server;
let clock: Server;
/** What the clock of S3 is ahead of that of the instances, in milliseconds. */
let aheadMs: number;
let stop: AbortController;
let running: Promise<number>[];
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'hearth-serve-cache-'));
  s3 = await startS3Server();
  stop = new AbortController();
  running = [];
  aheadMs = 0;
  clock = await startClock();
  vi.stubEnv('AWS_ENDPOINT_URL_S3', `http://127.0.0.1:${(clock.address() as AddressInfo).port}`);
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'test');
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'test');
});
afterEach(async () => {
  stop.abort();
  expect(await Promise.all(running)).toEqual(running.map(() => 0));
  clock.closeAllConnections();
  await new Promise((resolve) => clock.close(resolve));
  await s3.close();
  rmSync(folder, { recursive: true });
});

/** S3 with another time of day. */
async function startClock(): Promise<Server> {
  const server = createServer((request, response) => {
    const { url = '/', method, headers } = request;
    const sent = httpRequest(s3.url, { path: url, method, headers }, (answer) => {
      const date = new Date(Date.now() + aheadMs).toUTCString();
      response.writeHead(answer.statusCode ?? 500, { ...answer.headers, date });
      answer.pipe(response);
    });
    sent.once('error', () => response.destroy());
    request.pipe(sent);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

/** A new instance. @returns the URL of its cache */
async function boot(): Promise<string> {
  const own = join(folder, String(running.length));
  mkdirSync(own);
  const settings = {
    ...{ region: 'us-east-1', bucket: 'b', mode: 'write', scope: 'main', reads: [], perJob: true, port: 0 },
    ...{ directory: join(own, 'disk'), diskShare: 0.1, control: join(own, 'control') },
    deadlines: { firstByteMs: 60_000, nextByteMs: 60_000 },
  };
  writeFileSync(join(own, 'cache.json'), JSON.stringify(settings));
  const lines: string[] = [];
  running.push(serveCache(join(own, 'cache.json'), stop.signal, (line) => lines.push(line)));
  return vi.waitFor(
    () => {
      const [, port] = /on port (\d+)/.exec(lines.join()) ?? [];
      if (port === undefined) throw new Error(`the cache does not serve: ${lines}`);
      return `http://127.0.0.1:${port}`;
    },
    { timeout: 20_000 },
  );
}

async function get(url: string): Promise<number> {
  const answer = await fetch(url);
  await answer.arrayBuffer();
  return answer.status;
}

test.each([
  // The clock of the instance is behind that of S3, or ahead of it.
  ['behind', 20, -20 * DAY, 404],
  ['behind', 20, -1 * DAY, 200],
  ['ahead', -20, -1 * DAY, 200],
  ['ahead', -20, -20 * DAY, 404],
])('a clock that is %s changes no lifetime: S3 is ahead by %i days', async (_, days, age, status) => {
  const writer = await boot();
  await fetch(`${writer}/ccache/a`, { method: 'PUT', body: 'entry' });
  await vi.waitFor(() => expect([...s3.objects.keys()]).toHaveLength(1), { timeout: 20_000 });
  aheadMs = days * DAY;
  for (const object of s3.objects.values()) object.lastModified = new Date(Date.now() + aheadMs + age);
  expect(await get(`${await boot()}/ccache/a`)).toBe(status);
});

test('a role that may only read stores nothing, whatever the instance is told', async () => {
  const url = await boot();
  const put = (key: string) => fetch(`${url}/ccache/${key}`, { method: 'PUT', body: key });
  await put('before');
  await vi.waitFor(() => expect([...s3.objects.keys()]).toHaveLength(1), { timeout: 20_000 });
  s3.allows = ({ method }) => method !== 'PUT';
  for (let count = 0; count < 5; count += 1) expect((await put(`after${count}`)).status).toBe(200);
  await vi.waitFor(
    () => expect(s3.calls.filter(({ method }) => method === 'PUT').length).toBeGreaterThan(3),
    {
      timeout: 20_000,
    },
  );
  expect([...s3.objects.keys()]).toHaveLength(1);
  // Refused uploads do not cost the reads.
  expect(await get(`${await boot()}/ccache/before`)).toBe(200);
});

test('an S3 that does not answer delays the start by two seconds, and costs hits alone', async () => {
  s3.fault = () => ({ delayMs: 25_000 });
  const began = performance.now();
  const url = await boot();
  expect(performance.now() - began).toBeLessThan(20_000);
  expect(await get(`${url}/ccache/a`)).toBe(404);
  s3.fault = undefined;
});
