import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { CACHE_NODE_OPTIONS, CACHE_PROCESS_ENVIRONMENT } from '../../infra/runner/src/cache/cache-program.ts';
import { controlClient } from '../../infra/runner/src/cache/control.ts';
import type { CacheProcessSettings } from '../../infra/runner/src/cache/serve-cache.ts';
import { lowPort } from '../../scripts/local/free-port.ts';

const PROGRAM = resolve(import.meta.dirname, '../../infra/runner/src/main.ts');

/** Longest time until the process serves, in milliseconds. */
const START_MS = 300_000;

/** The process of the build cache of one instance, as aw-runner starts it. */
export type CacheProcess = {
  url: string;
  port: number;
  pid: number;
  control: ReturnType<typeof controlClient>;
  log(): string;
  stop(): Promise<void>;
};

/**
 * Starts one with an empty disk.
 *
 * @param folder of the instance
 * @param endpoint of S3
 * @param program replaces the source, such as by a bundle
 */
export async function startCache(
  folder: string,
  endpoint: string,
  change: Partial<CacheProcessSettings> = {},
  program: readonly string[] = [PROGRAM],
): Promise<CacheProcess> {
  const port = await lowPort();
  const settings: CacheProcessSettings = {
    region: 'us-east-1',
    bucket: 'b',
    mode: 'write',
    scope: 'main',
    reads: [],
    perJob: true,
    port,
    directory: join(folder, 'cache'),
    diskShare: 0.1,
    control: join(folder, 'control'),
    ...change,
  };
  mkdirSync(settings.directory, { recursive: true });
  const file = join(folder, 'cache.json');
  writeFileSync(file, JSON.stringify(settings));
  const env = {
    ...process.env,
    ...CACHE_PROCESS_ENVIRONMENT,
    AWS_ENDPOINT_URL_S3: endpoint,
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'test',
    AWS_EC2_METADATA_DISABLED: 'true',
  };
  const child = spawn(process.execPath, [...CACHE_NODE_OPTIONS, ...program, 'serve-cache', file], {
    env,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let text = '';
  child.stderr.setEncoding('utf8').on('data', (piece: string) => {
    text += piece;
  });
  await served(child, () => text);
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    pid: child.pid ?? 0,
    control: controlClient(settings.control),
    log: () => text,
    stop: () => ended(child),
  };
}

async function served(child: ChildProcess, log: () => string): Promise<void> {
  for (const end = performance.now() + START_MS; performance.now() < end; ) {
    if (log().includes('aw-cache serves')) return;
    if (child.exitCode !== null) break;
    await new Promise((done) => setTimeout(done, 20));
  }
  child.kill('SIGKILL');
  throw new Error(`the cache does not serve: ${log()}`);
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = new Promise((done) => child.once('exit', done));
  child.kill('SIGKILL');
  await exit;
}
