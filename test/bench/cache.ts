import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, createServer, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { actionResult, digestOf } from '../../infra/runner/src/cache/testing/messages.ts';
import { endBazelServers } from '../../infra/runner/src/warming/bazel-servers.ts';
import { buildRunner } from '../../scripts/build/runner.ts';
import { actionsRun, cacheHits, processesOf } from '../support/bazel.ts';
import { type CacheProcess, startCache } from '../support/cache-process.ts';
import { type S3Fault, startS3Server } from '../support/s3-server.ts';
import { startNginx } from './cache/nginx.ts';
import { median } from './median.ts';

/**
 * `npm run bench:cache`: the build cache against nginx with WebDAV on a local disk, which has no network to its store, with the same
 * Bazel and the same actions. S3 is a process-local server with 20 ms to the first byte, 250 MB/s, and 90 MB/s per connection. Every
 * round runs every side once, in turn; a ratio is the median of the ratios within a round. Needs Bazel and nginx. BENCH_ROUNDS sets the
 * rounds, BENCH_PARTS=builds,latency,memory,faults chooses parts.
 */
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 3);
const PARTS = (process.env.BENCH_PARTS ?? 'builds,latency,memory,faults').split(',');
const ACTIONS = 300;
/** 5 % of the actions have a large output. */
const LARGE = 15;
const S3_LINK = { bytesPerSecond: 250e6, bytesPerConnection: 90e6, latencyMs: 20 };

const root = resolve(import.meta.dirname, '../..');
const folder = realpathSync(mkdtempSync(join(tmpdir(), 'hearth-bench-cache-')));
const program = await buildRunner(root, folder);
const s3 = await startS3Server(S3_LINK);
const nginx = await startNginx(join(folder, 'nginx'));
const running: CacheProcess[] = [];
const agent = new Agent({ keepAlive: true });

type Row = {
  measured: string;
  value: string;
  against: string;
  ratio: number | null;
  goal: number;
  isMet: boolean;
};
const rows: Row[] = [];

function add(
  measured: string,
  value: string,
  against: string,
  ratio: number,
  goal: number,
  isMet = ratio <= goal,
): void {
  rows.push({ measured, value, against, ratio, goal, isMet });
  console.log(
    `${measured}: ${value}; ${against}; ${ratio.toFixed(2)} (goal ${goal}): ${isMet ? 'met' : 'missed'}`,
  );
}

console.log(`${cpus().length} cores, load ${loadavg()[0]?.toFixed(1)}, ${ROUNDS} rounds`);
try {
  if (PARTS.includes('latency')) await latency();
  if (PARTS.includes('memory')) await memory();
  if (PARTS.includes('builds') || PARTS.includes('faults')) await builds();
  console.log(JSON.stringify({ bench: 'cache', rounds: ROUNDS, load: loadavg()[0], rows }));
} finally {
  for (const each of running) await each.stop();
  await endBazelServers(folder, 30_000);
  await nginx.stop();
  await s3.close();
  await run(['chmod', '-R', 'u+w', folder]);
  rmSync(folder, { recursive: true, force: true });
}

/** The cache of a new instance; the program is the bundle that instances run. */
async function boot(endpoint = s3.url): Promise<CacheProcess> {
  const own = join(folder, `instance-${running.length}`);
  mkdirSync(own);
  const started = await startCache(own, endpoint, {}, [program]);
  running.push(started);
  return started;
}

async function run(command: readonly string[], cwd = folder): Promise<string> {
  const [name = '', ...args] = command;
  const child = spawn(name, args, {
    cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, HOME: folder },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (piece: string) => {
      output += piece;
    });
  const code = await new Promise((done, fail) => child.once('error', fail).once('close', done));
  if (code !== 0) throw new Error(`${command.join(' ')} ended with ${code}: ${output}`);
  return output;
}

async function builds(): Promise<void> {
  const work = join(folder, 'work');
  mkdirSync(work);
  writeFileSync(join(work, 'WORKSPACE'), '');
  // Each command takes some 0.1 s of a core, as a small compilation does. A large output has 1 MiB, a small one up to 64 KB.
  const burn = 'i=0; while [ $$i -lt 20000 ]; do i=$$((i+1)); done;';
  const rule = (n: number) =>
    n < LARGE ? `${burn} seq ${n} 153000 > $@` : `${burn} seq ${n} ${n + 10 + ((n * 37) % 10_000)} > $@`;
  const rules = Array.from(
    { length: ACTIONS },
    (_, n) => `genrule(name = "r${n}", outs = ["r${n}.txt"], cmd = "${rule(n)}")`,
  );
  writeFileSync(join(work, 'BUILD'), rules.join('\n'));
  const rc = join(folder, 'bazelrc');

  /** Seconds of a build of everything from nothing. */
  async function build(remote: string | undefined, least = 0): Promise<number> {
    const lines = [
      `startup --output_user_root=${join(folder, 'output')}`,
      'build --jobs=16',
      'build --remote_timeout=10',
    ];
    if (remote !== undefined) lines.push(`build --remote_cache=${remote}`);
    writeFileSync(rc, `${lines.join('\n')}\n`);
    await run(['bazel', `--bazelrc=${rc}`, 'clean'], work);
    const began = performance.now();
    const output = await run(['bazel', `--bazelrc=${rc}`, 'build', '//...'], work);
    const seconds = (performance.now() - began) / 1000;
    const counts = processesOf(output);
    if (cacheHits(counts) < least)
      throw new Error(`${cacheHits(counts)} hits of ${actionsRun(counts) + cacheHits(counts)}`);
    return seconds;
  }

  const count = (method: string) =>
    s3.calls.filter((call) => call.method === method && call.key.startsWith('cache/')).length;
  const first = await boot();
  await build(`${nginx.url}/`);
  s3.calls.length = 0;
  await build(`${first.url}/bazel`);
  await first.control.drain(60_000);
  add(
    'PUT per action, filling',
    `${count('PUT')}`,
    `${ACTIONS} actions, ${LARGE} large outputs`,
    count('PUT') / ACTIONS,
    1.1,
  );

  if (PARTS.includes('builds')) {
    const times: Record<'nginx' | 'empty' | 'warm' | 'none', number[]> = {
      nginx: [],
      empty: [],
      warm: [],
      none: [],
    };
    let requests = 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      times.nginx.push(await build(`${nginx.url}/`, ACTIONS));
      const instance = await boot();
      s3.calls.length = 0;
      times.empty.push(await build(`${instance.url}/bazel`, ACTIONS * 0.99));
      requests = count('GET') + count('HEAD');
      times.warm.push(await build(`${instance.url}/bazel`, ACTIONS * 0.99));
      if (round === 0) times.none.push(await build(undefined));
      const last = Object.entries(times).map(([side, each]) => `${side} ${each.at(-1)?.toFixed(1)} s`);
      console.log(`round ${round + 1}, load ${loadavg()[0]?.toFixed(1)}: ${last.join(', ')}`);
    }
    const seconds = (side: keyof typeof times) => `${median(times[side]).toFixed(1)} s`;
    const ratio = (side: 'empty' | 'warm') =>
      median(times[side].map((value, n) => value / (times.nginx[n] ?? Number.NaN)));
    add(
      'second instance, S3 20 ms, disk empty',
      seconds('empty'),
      `nginx ${seconds('nginx')}, no cache ${seconds('none')}`,
      ratio('empty'),
      1.4,
    );
    add('the same again, disk tier warm', seconds('warm'), `nginx ${seconds('nginx')}`, ratio('warm'), 1.2);
    add('GET and HEAD per action', `${requests}`, `${ACTIONS} actions`, requests / ACTIONS, 1.1);
  }
  if (PARTS.includes('faults')) {
    const none = await build(undefined);
    const faults: Record<string, S3Fault> = {
      denied: { status: 403, code: 'AccessDenied' },
      throttled: { status: 503, code: 'SlowDown' },
      hanging: { delayMs: 60_000 },
      'cut within bodies': { dropAfter: 40 },
      'with a changed bit': { flipBit: 70 },
    };
    for (const [name, fault] of Object.entries(faults)) {
      const instance = await boot();
      s3.fault = () => fault;
      const seconds = await build(`${instance.url}/bazel`);
      s3.fault = undefined;
      const limit = 1.5 * none + 5;
      add(
        `S3 ${name}`,
        `${seconds.toFixed(1)} s`,
        `no cache ${none.toFixed(1)} s`,
        seconds / none,
        limit / none,
      );
    }
  }
}

/** Milliseconds of sequential requests for small objects on one connection. */
async function latency(): Promise<void> {
  const COUNT = 150;
  const contents = Array.from({ length: COUNT }, (_, n) => randomBytes(500 + ((n * 263) % 40_000)));
  const first = await boot();
  for (const content of contents) {
    const { sha256 } = digestOf(content);
    await call(`${nginx.url}/cas/${sha256}`, content);
    await call(`${first.url}/ccache/${sha256}`, content);
    await call(`${first.url}/bazel/cas/${sha256}`, content);
    s3.put(`direct/${sha256}`, content);
  }
  await first.control.drain(60_000);
  const times: Record<'nginx' | 'disk' | 'cache' | 'direct', number[]> = {
    nginx: [],
    disk: [],
    cache: [],
    direct: [],
  };
  for (let round = 0; round < ROUNDS; round += 1) {
    const instance = await boot();
    for (const content of contents) {
      const { sha256 } = digestOf(content);
      times.nginx.push(await call(`${nginx.url}/cas/${sha256}`));
      times.disk.push(await call(`${first.url}/bazel/cas/${sha256}`));
      times.direct.push(await call(`${s3.url}/b/direct/${sha256}`));
      times.cache.push(await call(`${instance.url}/ccache/${sha256}`));
    }
  }
  const ms = (side: keyof typeof times) => `${median(times[side]).toFixed(2)} ms`;
  const ratio = (one: keyof typeof times, other: keyof typeof times) =>
    median(times[one]) / median(times[other]);
  add('GET from the instance, median', ms('disk'), `nginx ${ms('nginx')}`, ratio('disk', 'nginx'), 1.5);
  add('GET from S3, median', ms('cache'), `a GET of S3 ${ms('direct')}`, ratio('cache', 'direct'), 1.3);
}

/** @returns milliseconds */
function call(url: string, ...body: Buffer[]): Promise<number> {
  const began = performance.now();
  return new Promise((done, fail) => {
    const sent = httpRequest(url, { agent, method: body.length > 0 ? 'PUT' : 'GET' }, (response) => {
      response.resume().once('end', () => {
        if ((response.statusCode ?? 500) >= 300) fail(new Error(`${url}: ${response.statusCode}`));
        else done(performance.now() - began);
      });
    });
    sent.once('error', fail);
    for (const piece of body) sent.write(piece);
    sent.end();
  });
}

/** Resident memory with 64 outputs of 100 MB that arrive and are stored at the same time. */
async function memory(): Promise<void> {
  // An S3 that has nothing, and takes everything without keeping it.
  const sink = createServer((request, response) => {
    request.resume().once('end', () => {
      response.statusCode = request.method === 'PUT' ? 200 : 404;
      response.end();
    });
  });
  await new Promise<void>((done) => sink.listen(0, '127.0.0.1', done));
  const instance = await boot(`http://127.0.0.1:${(sink.address() as AddressInfo).port}`);
  const base = randomBytes(100e6);
  let most = 0;
  const timer = setInterval(() => {
    const status = readFileSync(`/proc/${instance.pid}/status`, 'utf8');
    most = Math.max(most, Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0) / 1024);
  }, 50);
  await Promise.all(
    Array.from({ length: 64 }, async (_, n) => {
      // Not a copy each: this process would need 6.4 GB.
      const start = Buffer.from(String(n));
      const sha256 = createHash('sha256').update(start).update(base).digest('hex');
      const digest = { sha256, bytes: start.length + base.length };
      await call(`${instance.url}/bazel/cas/${sha256}`, start, base);
      await call(`${instance.url}/bazel/ac/${sha256}`, actionResult({ files: [digest] }));
    }),
  );
  await instance.control.drain(60_000);
  clearInterval(timer);
  sink.closeAllConnections();
  sink.close();
  const { storedBytes, dropped } = await instance.control.numbers();
  add(
    'resident memory, 64 x 100 MB',
    `${most.toFixed(0)} MB`,
    `${(storedBytes / 1e9).toFixed(1)} GB stored, ${dropped} dropped`,
    most,
    160,
  );
}
