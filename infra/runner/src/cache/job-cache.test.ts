import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { runnerConfig } from '../../../../test/support/runner-config.ts';
import type { PlacedUnits } from '../agents/placed-units.ts';
import { parseConfig } from '../config.ts';
import type { ReportBody } from '../reporter.ts';
import { jobCache, withCache } from './job-cache.ts';

let folder: string;
let calls: string[];
let lines: string[];
let server: Server | undefined;
let numbers: Record<string, number>;
let failing: Set<string>;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hearth-job-cache-'));
  calls = [];
  lines = [];
  failing = new Set();
  numbers = { hits: 0, misses: 0, servedBytes: 0, storedBytes: 0, dropped: 0, failures: 0 };
});
afterEach(async () => {
  server?.closeAllConnections();
  await new Promise((resolve) => (server ? server.close(resolve) : resolve(undefined)));
  server = undefined;
  rmSync(folder, { recursive: true });
});

/** The process of the cache, as far as aw-runner sees it. */
async function serve(): Promise<void> {
  server = createServer((request, response) => {
    calls.push(`${request.method} ${request.url}`);
    response.end(JSON.stringify(request.url === '/numbers' ? numbers : {}));
  });
  await new Promise<void>((resolve) => server?.listen(join(folder, 'control'), resolve));
}

function cache() {
  const config = parseConfig(runnerConfig(folder), 'test');
  const act = (name: string) => async () => {
    calls.push(name);
    if (failing.has(name)) throw new Error(`${name} fails`);
  };
  const unit = {
    control: join(folder, 'control'),
    ensure: act('ensure'),
    restart: act('restart'),
    stop: act('stop'),
  };
  const settings = { mode: 'write', scope: 'main', reads: [], diskPercent: 10, port: 1 } as const;
  return jobCache({ ...config, cache: { ...settings, reads: [] } }, true, unit, (line) => lines.push(line));
}

test('a turnover reaches the process; one that does not answer is restarted', async () => {
  await serve();
  await cache().turnover();
  expect(calls).toEqual(['POST /turnover']);
  server?.close();
  server?.closeAllConnections();
  calls.length = 0;
  await cache().turnover();
  expect(calls).toEqual(['restart']);
});

test('a process that cannot start again is stopped; only one that cannot be ended keeps jobs away', async () => {
  failing.add('restart');
  await cache().turnover();
  expect(calls).toEqual(['restart', 'stop']);
  failing.add('stop');
  await expect(cache().turnover()).rejects.toThrow('stop fails');
});

test('a process that does not start fails no job, and is logged once', async () => {
  failing.add('ensure');
  const here = cache();
  await here.ensure();
  await here.ensure();
  expect(lines).toEqual(['build cache: the process does not start: Error: ensure fails']);
});

test('uploads have a minute in a drain, and less before a Spot interruption', async () => {
  await serve();
  const here = cache();
  await here.drain(null);
  await here.drain(Date.now() + 40_000);
  await here.drain(Date.now() + 10_000);
  expect(calls[0]).toBe('POST /drain?ms=60000');
  const [, left = ''] = /ms=(\d+)/.exec(calls[1] ?? '') ?? [];
  expect(Number(left)).toBeGreaterThan(20_000);
  expect(Number(left)).toBeLessThanOrEqual(25_000);
  expect(calls).toHaveLength(2);
});

test('what was counted since the last report is sent once, also after a restart of the process', async () => {
  await serve();
  const sent: ReportBody[] = [];
  let isReachable = true;
  const reporter = {
    send: async () => {},
    trySend: async (body: ReportBody) => {
      if (isReachable) sent.push(body);
      return isReachable;
    },
  };
  const here = cache();
  const hits = () => sent.map((body) => (body.report === 'Runner Cache' ? body.cache.hits : -1));
  await here.report(reporter);
  expect(sent).toEqual([]);
  numbers.hits = 10;
  await here.report(reporter);
  numbers.hits = 15;
  isReachable = false;
  await here.report(reporter);
  isReachable = true;
  numbers.hits = 18;
  await here.report(reporter);
  numbers.hits = 3;
  await here.report(reporter);
  expect(hits()).toEqual([10, 8, 3]);
});

test('the cache runs before a job is requested, and has nothing of the job after it', async () => {
  await serve();
  const units = {
    prepare: async () => void calls.push('prepare'),
    discard: async () => void calls.push('discard'),
  } as unknown as PlacedUnits;
  const clean = withCache(units, cache(), true);
  await clean.prepare('gha-1');
  await clean.discard('gha-1');
  expect(calls).toEqual(['ensure', 'GET /numbers', 'POST /turnover', 'prepare', 'discard', 'POST /turnover']);
  calls.length = 0;
  const shared = withCache(units, cache(), false);
  await shared.prepare('gha-1');
  await shared.discard('gha-1');
  expect(calls).toEqual(['ensure', 'GET /numbers', 'prepare', 'discard']);
});
