import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { cacheBazelRc, cacheEnvironment } from '../../infra/runner/src/cache/client-settings.ts';
import type { CacheProcessSettings } from '../../infra/runner/src/cache/serve-cache.ts';
import { actionResult, digestOf } from '../../infra/runner/src/cache/testing/messages.ts';
import { endBazelServers } from '../../infra/runner/src/warming/bazel-servers.ts';
import { epochKey } from '../../shared/fleet/build-cache.ts';
import { actionsRun, cacheHits, processesOf } from '../support/bazel.ts';
import { type CacheProcess, startCache } from '../support/cache-process.ts';
import { whyMissing } from '../support/packages.ts';
import { type S3Fault, type S3Server, startS3Server } from '../support/s3-server.ts';

/**
 * The process of the build cache with real clients. Each instance has a process and a disk of its own; the instances share an S3
 * whose faults a test chooses.
 */

const SMALL = 8;
const LARGE = 4;
/** Every action of the workspace; the last one reads all large outputs. */
const ACTIONS = SMALL + LARGE + 1;

const WORKSPACE = [
  // 11 bytes, and 349 KB.
  ...Array.from(
    { length: SMALL },
    (_, n) => `genrule(name = "s${n}", outs = ["s${n}.txt"], cmd = "echo small ${n} > $@")`,
  ),
  ...Array.from(
    { length: LARGE },
    (_, n) => `genrule(name = "l${n}", outs = ["l${n}.txt"], cmd = "seq ${n} 60000 > $@")`,
  ),
  `genrule(name = "all", srcs = [${Array.from({ length: LARGE }, (_, n) => `"l${n}.txt"`).join(', ')}], outs = ["all.txt"], cmd = "cat $(SRCS) | wc -c > $@")`,
].join('\n');

const missingBazel = await whyMissing({ bazel: 'bazel-bootstrap' });
const missingCcache = await whyMissing({ ccache: 'ccache', gcc: 'gcc' });
if (missingBazel ?? missingCcache)
  console.warn(`tests of the build cache are skipped: ${missingBazel ?? missingCcache}`);

/** The faults of S3 are real, and the slowness of a busy computer is not one of them. */
const PATIENT = { firstByteMs: 200_000, nextByteMs: 200_000 };
const USUAL = { firstByteMs: 2_000, nextByteMs: 5_000 };

let server: S3Server;
let folder: string;
let processes: CacheProcess[];
beforeEach(async () => {
  server = await startS3Server();
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'hearth-cache-e2e-')));
  processes = [];
});
afterEach(async () => {
  for (const each of processes) await each.stop();
  await server.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A new instance. */
async function boot(change: Partial<CacheProcessSettings> = {}): Promise<CacheProcess> {
  const own = join(folder, `instance-${processes.length}`);
  mkdirSync(own);
  const started = await startCache(own, server.url, { deadlines: PATIENT, ...change });
  processes.push(started);
  return started;
}

/** Not `spawnSync`: S3 is in this process. @returns output of both kinds. @throws if the program fails */
async function run(command: readonly string[], options: { cwd?: string; env?: NodeJS.ProcessEnv } = {}) {
  const [program = '', ...args] = command;
  const child = spawn(program, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (piece: string) => {
      output += piece;
    });
  const code = await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
  if (code !== 0) throw new Error(`${command.join(' ')} ended with ${code}: ${output}`);
  return output;
}

/** Calls of clients. The process itself reads its epoch each minute. */
const calls = () => server.calls.filter(({ key }) => key !== epochKey('main'));
const count = (method: string) => calls().filter((call) => call.method === method).length;

describe.skipIf(missingBazel !== undefined)('Bazel', () => {
  let home: string;
  let rc: string;
  beforeAll(() => {
    home = realpathSync(mkdtempSync(join(tmpdir(), 'hearth-cache-bazel-')));
    rc = join(home, 'bazelrc');
    mkdirSync(join(home, 'work'));
    writeFileSync(join(home, 'work/WORKSPACE'), '');
    writeFileSync(join(home, 'work/BUILD'), WORKSPACE);
  });
  afterAll(async () => {
    await endBazelServers(home, 300_000);
    // Bazel takes the right to write from what it has built.
    await run(['chmod', '-R', 'u+w', home]);
    rmSync(home, { recursive: true, force: true });
  });

  const tool = (...args: string[]) =>
    run(['bazel', `--bazelrc=${rc}`, ...args], {
      cwd: join(home, 'work'),
      env: { ...process.env, HOME: home },
    });

  /** A build of everything from nothing, as the first one on an instance. A busy computer needs a longer timeout of the client. */
  async function build(cache: CacheProcess | undefined, ...options: string[]) {
    const lines = [`startup --output_user_root=${join(home, 'output')}`, 'build --jobs=16'];
    writeFileSync(
      rc,
      `${lines.join('\n')}\n${cache ? cacheBazelRc(cache.port) : ''}build --remote_timeout=300\n${options.map((option) => `build ${option}\n`).join('')}`,
    );
    await tool('clean');
    const counts = processesOf(await tool('build', '//...'));
    return { hits: cacheHits(counts), ran: actionsRun(counts) };
  }

  const output = (name: string) => readFileSync(join(home, 'work/bazel-bin', name), 'utf8');
  const total = () =>
    Array.from({ length: LARGE }, (_, n) => output(`l${n}.txt`).length).reduce((sum, each) => sum + each, 0);

  /** What one instance has stored. */
  async function fill(): Promise<void> {
    const first = await boot();
    expect(await build(first)).toEqual({ hits: 0, ran: ACTIONS });
    await first.control.drain(300_000);
    expect((await first.control.numbers()).dropped).toBe(0);
  }

  test('the second instance runs nothing: one request per action, and two per large output', async () => {
    await fill();
    expect(count('PUT')).toBe(ACTIONS + LARGE);
    server.calls.length = 0;
    const second = await boot({ mode: 'read' });
    expect(await build(second)).toEqual({ hits: ACTIONS, ran: 0 });
    expect(output('s3.txt')).toBe('small 3\n');
    expect(Number(output('all.txt'))).toBe(total());
    expect([count('GET'), count('HEAD'), count('PUT')]).toEqual([ACTIONS + LARGE, LARGE, 0]);
    server.calls.length = 0;
    expect(await build(second)).toEqual({ hits: ACTIONS, ran: 0 });
    expect(calls()).toEqual([]);
    expect(await second.control.numbers()).toMatchObject({ hits: 2 * ACTIONS, misses: 0, failures: 0 });
  });

  test('a job of a group that only reads poisons nothing: not S3, not another instance, not the next job', async () => {
    await fill();
    const before = new Map(server.objects);
    const actions = [...server.objects.keys()].flatMap(
      (key) => /\/act\/.*\/([0-9a-f]{64})$/.exec(key)?.[1] ?? [],
    );
    expect(actions).toHaveLength(ACTIONS);
    const hostile = await boot({ mode: 'read' });
    const put = (path: string, body: Buffer) =>
      fetch(`${hostile.url}${path}`, { method: 'PUT', body: new Uint8Array(body) });
    const poison = Buffer.from('poison\n');
    expect((await put(`/bazel/cas/${digestOf(poison).sha256}`, poison)).status).toBe(200);
    for (const action of actions)
      expect((await put(`/bazel/ac/${action}`, actionResult({ files: [digestOf(poison)] }))).status).toBe(
        200,
      );
    await hostile.control.drain(300_000);
    expect(server.objects).toEqual(before);
    await hostile.control.turnover();
    expect(await build(hostile)).toEqual({ hits: ACTIONS, ran: 0 });
    expect(output('s3.txt')).toBe('small 3\n');
    expect(await build(await boot({ mode: 'read' }))).toEqual({ hits: ACTIONS, ran: 0 });
    expect(output('s3.txt')).toBe('small 3\n');
  });

  const FAULTS: Record<string, S3Fault> = {
    denied: { status: 403, code: 'AccessDenied' },
    throttled: { status: 503, code: 'SlowDown' },
    hanging: { delayMs: 30_000 },
    'cut within bodies': { dropAfter: 40 },
    'with a changed bit': { flipBit: 70 },
  };
  test.each(Object.entries(FAULTS))('S3 %s: the build passes, and no output is wrong', async (_, fault) => {
    await fill();
    const second = await boot({ deadlines: USUAL });
    server.fault = () => fault;
    const { hits, ran } = await build(second);
    expect([hits, ran]).toEqual([0, ACTIONS]);
    expect(output('s3.txt')).toBe('small 3\n');
    expect(Number(output('all.txt'))).toBe(total());
    server.fault = undefined;
  });

  test('a large output with a changed bit is built again, and everything else is a hit', async () => {
    await fill();
    const [key] = [...server.objects.keys()].filter((name) => name.includes('/cas/'));
    server.fault = (call) => (call.method === 'GET' && call.key === key ? { flipBit: 20_000 } : undefined);
    const second = await boot();
    const { hits, ran } = await build(second);
    expect(hits).toBeGreaterThanOrEqual(ACTIONS - 2);
    expect(ran).toBeGreaterThanOrEqual(1);
    expect(Number(output('all.txt'))).toBe(total());
  });

  test('a build without the bytes passes after every second large output has expired', async () => {
    await fill();
    const large = [...server.objects.keys()].filter((key) => key.includes('/cas/'));
    for (const [index, key] of large.entries()) if (index % 2 === 0) server.objects.delete(key);
    const second = await boot();
    const { hits, ran } = await build(second, '--remote_download_minimal');
    expect(hits + ran).toBe(ACTIONS);
    expect(ran).toBe(LARGE / 2);
    // What was not fetched is needed now: the result of a changed action.
    writeFileSync(join(home, 'work/BUILD'), WORKSPACE.replace('wc -c', 'wc -l'));
    try {
      await tool('build', '//...');
      await tool('build', '//...', '--remote_download_outputs=all');
    } finally {
      writeFileSync(join(home, 'work/BUILD'), WORKSPACE);
    }
  });

  test('a cache that ends during the day costs hits and no build', async () => {
    await fill();
    const second = await boot();
    await second.stop();
    expect(await build(second)).toEqual({ hits: 0, ran: ACTIONS });
  });
});

describe.skipIf(missingCcache !== undefined)('ccache', () => {
  test('what one instance has compiled, another one gets', async () => {
    const sources = Array.from({ length: 5 }, (_, n) => join(folder, `unit${n}.c`));
    for (const [n, source] of sources.entries()) writeFileSync(source, `int f${n}(void) { return ${n}; }\n`);
    /** @returns hits of the remote storage */
    const compile = async (cache: CacheProcess, name: string): Promise<number> => {
      // The directory of ccache is that of a new job.
      const env = { ...process.env, ...cacheEnvironment(cache.port), CCACHE_DIR: join(folder, name) };
      for (const source of sources) {
        await run(['ccache', 'gcc', '-c', source, '-o', `${source}.o`], { env });
      }
      const text = await run(['ccache', '--print-stats'], { env });
      return Number(/^direct_cache_hit\t(\d+)$/m.exec(text)?.[1]);
    };
    const first = await boot();
    expect(await compile(first, 'job-1')).toBe(0);
    await first.control.drain(300_000);
    expect([...server.objects.keys()].every((key) => key.startsWith('cache/main/ccache/0/'))).toBe(true);
    const second = await boot({ mode: 'read' });
    expect(await compile(second, 'job-2')).toBe(sources.length);
  });
});
