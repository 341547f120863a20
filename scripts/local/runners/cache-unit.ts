import { spawn } from 'node:child_process';
import { open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  CACHE_NODE_OPTIONS,
  CACHE_PROCESS_ENVIRONMENT,
} from '../../../infra/runner/src/cache/cache-program.ts';
import type { CacheUnitFactory } from '../../../infra/runner/src/cache/job-cache.ts';
import {
  identify,
  isSameProcess,
  type ProcessIdentity,
  signalProcess,
} from '../../../infra/runner/src/processes.ts';
import { RUN_VARIABLE } from '../cleanup/system.ts';

/** Longest wait for the end of a process after SIGKILL, and the time between two checks; in milliseconds. */
const END_MS = 5_000;
const POLL_MS = 10;

/**
 * The process of the build cache without systemd: a session of its own, which outlives aw-runner and ends with the instance. It runs
 * as the user of the local cloud and has no limit of memory.
 */
export const localCacheUnit: CacheUnitFactory = ({ stateDirectory }) => {
  const settingsFile = join(stateDirectory, 'cache.json');
  const processFile = join(stateDirectory, 'cache.pid');

  async function running(): Promise<ProcessIdentity | undefined> {
    const text = await readFile(processFile, 'utf8').catch(() => '');
    if (text === '') return undefined;
    const known = JSON.parse(text) as ProcessIdentity;
    return (await isSameProcess(known)) ? known : undefined;
  }

  async function start(): Promise<void> {
    const log = await open(join(stateDirectory, 'cache.log'), 'a', 0o600);
    try {
      const argv = [...CACHE_NODE_OPTIONS, process.argv[1] ?? '', 'serve-cache', settingsFile];
      const child = spawn(process.execPath, argv, {
        env: { ...process.env, ...CACHE_PROCESS_ENVIRONMENT, [RUN_VARIABLE]: `${stateDirectory}/` },
        stdio: ['ignore', log.fd, log.fd],
        detached: true,
      });
      await new Promise<void>((resolve, reject) => child.once('spawn', resolve).once('error', reject));
      child.unref();
      const identity = child.pid === undefined ? undefined : await identify(child.pid);
      await writeFile(processFile, JSON.stringify(identity ?? {}));
    } finally {
      await log.close();
    }
  }

  async function stop(): Promise<void> {
    const known = await running();
    if (!known) return;
    await signalProcess(known, 'SIGKILL');
    for (const end = performance.now() + END_MS; performance.now() < end; ) {
      if (!(await isSameProcess(known))) return;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    throw new Error(`the process ${known.pid} of the cache is alive after SIGKILL`);
  }

  return {
    control: join(stateDirectory, 'cache.socket'),
    async ensure(settings) {
      if (await running()) return;
      await writeFile(settingsFile, JSON.stringify(settings));
      await start();
    },
    async restart() {
      await stop();
      await start();
    },
    stop,
  };
};
