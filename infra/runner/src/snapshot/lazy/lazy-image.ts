import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { execute } from '../../child-process.ts';
import { isSameProcess, signalProcess } from '../../processes.ts';
import { startTransientUnit } from '../../transient-unit.ts';
import { endMetadataReader, startMetadataReader } from './metadata-reader.ts';
import { mountLower, mountOverlay, unmountLazy } from './mounts.ts';
import {
  type LazyPaths,
  type LazyRequest,
  type LazyStatus,
  lazyPaths,
  readStatus,
  writeRequest,
} from './status.ts';

/** A restore that takes longer than this on the measured link starts lazily, in seconds. */
const WORTHWHILE_SECONDS = 3;

/** How long the link is measured: the first requests and their slow start lie within it. */
const MEASURE_SECONDS = 0.3;

/**
 * How long the process may take until it serves the image, in milliseconds. It reads an index of at most 64 MiB. One that has ended
 * is found sooner, so this is for one that hangs.
 */
const START_MS = 60_000;

/** How long the process may take to end after the unmount, in milliseconds. */
const END_MS = 5_000;

const POLL_MS = 10;

/** Polls of the status between two looks at the process, which cost a program. */
const POLLS_PER_CHECK = 50;

/**
 * Heap of the process. It has few objects and much memory beside them, which the network and the frames use for a moment: by
 * default V8 collects garbage after every 6 MB of it, which takes a third of the process's time, or lets 200 MB of it pile up.
 */
const HEAP = ['--max-semi-space-size=2', '--initial-old-space-size=96', '--max-old-space-size=96'];

/** Threads of glibc would keep what they have freed, each for itself (mallopt(3), M_ARENA_MAX). */
const ENVIRONMENT = { MALLOC_ARENA_MAX: '2' };

/** Characters of the log of a process that has ended before it served. */
const MAX_LOG = 1_000;

const UNIT = 'aw-image.service';

/** What jobs and boots must know of an image that is served. */
export type LazyHealth =
  /** There is no lazy start, or it was removed. */
  | { state: 'none' }
  /** Jobs use the served image. */
  | { state: 'filling' }
  /** The local image is complete: the next job gets a clone of it. Jobs that run stay on the served image. */
  | { state: 'complete' }
  /**
   * Reads of missing frames fail with EIO. The instance takes no further job and is replaced after the running one.
   * `isBroken`: the snapshot in S3 differs from its index.
   */
  | { state: 'failed'; reason: string; isBroken: boolean };

/** The image could not be served. */
export class LazyStartFailed extends Error {
  override readonly name = 'LazyStartFailed';
  /** Whether the snapshot in S3 differs from its index. */
  readonly isBroken: boolean;

  constructor({ reason, isBroken }: { reason: string; isBroken: boolean }) {
    super(reason);
    this.isBroken = isBroken;
  }
}

function failureOf({ failure }: LazyStatus): { reason: string; isBroken: boolean } {
  return failure ?? { reason: 'the process that serves the image gives no reason', isBroken: false };
}

export type LazyImageOptions = {
  /** Empty or absent; below /run. Everything of an earlier lazy start in it is removed. */
  directory: string;
  request: LazyRequest;
  /** File of aw-runner; by default the one that runs. */
  program?: string;
  signal?: AbortSignal;
};

/**
 * Starts the process that serves the image and completes it, and waits until it serves.
 *
 * @throws {LazyStartFailed} and other errors; nothing stays then
 */
export async function startLazyImage(options: LazyImageOptions): Promise<void> {
  const paths = lazyPaths(options.directory);
  await removeLazyImage(options.directory);
  await mkdir(paths.directory, { recursive: true, mode: 0o700 });
  try {
    await writeRequest(paths, options.request);
    await writeFile(paths.served, '');
    const program = options.program ?? process.argv[1] ?? '';
    const isRunning = await launch(paths, [
      process.execPath,
      ...HEAP,
      program,
      'serve-image',
      paths.directory,
    ]);
    await served(paths, isRunning, options.signal);
  } catch (error) {
    await removeLazyImage(options.directory);
    throw error;
  }
}

/**
 * Mounts the served image read-only at `lower` of its directory, and starts to read its metadata ahead.
 *
 * @param signal ends the process that serves the image, and so a mount that waits for S3
 * @throws; the caller removes the lazy image
 */
export async function mountLazyImage(directory: string, signal?: AbortSignal): Promise<void> {
  const paths = lazyPaths(directory);
  // A mount waits for frames in the kernel. It fails when nobody serves them any more.
  const stopServing = () => void endServing(paths);
  signal?.addEventListener('abort', stopServing, { once: true });
  try {
    signal?.throwIfAborted();
    await startMetadataReader(paths, await mountLower(paths));
  } finally {
    signal?.removeEventListener('abort', stopServing);
  }
}

async function endServing(paths: LazyPaths): Promise<void> {
  const status = await readStatus(paths);
  if (status) await signalProcess(status.process, 'SIGKILL');
}

/** Shows a directory of the mounted image in a job's tree (`mountOverlay`). @returns the mount point */
export function showLazyImage(directory: string, tree: string, name: string): Promise<string> {
  return mountOverlay(lazyPaths(directory), tree, name);
}

/**
 * Whether jobs should start before the image is complete: whether the rest takes longer than three seconds on this link, which
 * the first frames measure.
 *
 * @param storedBytes of all frames that the process fetches
 * @param limits.seconds in place of three
 */
export async function isWorthwhile(
  directory: string,
  storedBytes: number,
  limits: { seconds?: number | undefined; signal?: AbortSignal | undefined } = {},
): Promise<boolean> {
  const { seconds: longest = WORTHWHILE_SECONDS, signal } = limits;
  for (;;) {
    signal?.throwIfAborted();
    const status = await readStatus(lazyPaths(directory));
    if (status?.state !== 'filling') return false;
    const { seconds, fetchedBytes } = status.progress;
    // Without a first frame there is no rate.
    if (seconds >= longest || (seconds >= MEASURE_SECONDS && fetchedBytes > 0))
      return isLong(storedBytes, status.progress, longest);
    await sleep(POLL_MS);
  }
}

/** Whether what is left takes longer than some seconds at the rate so far. */
export function isLong(
  storedBytes: number,
  sofar: { fetchedBytes: number; seconds: number },
  longest = WORTHWHILE_SECONDS,
): boolean {
  const rate = sofar.fetchedBytes / sofar.seconds;
  return storedBytes - sofar.fetchedBytes > rate * longest;
}

/** Reads the state of a lazy start from its directory, so also after a restart of aw-runner. */
export async function lazyHealth(directory: string): Promise<LazyHealth> {
  const status = await readStatus(lazyPaths(directory));
  if (!status) return { state: 'none' };
  if (status.state === 'starting') return { state: 'none' };
  if (status.state === 'failed') return { state: 'failed', ...failureOf(status) };
  if (await isSameProcess(status.process)) return { state: status.state };
  // The image of a process that has ended can still be complete, but the jobs on the served image cannot read it.
  return { state: 'failed', reason: 'the process that serves the image has ended', isBroken: false };
}

/**
 * Removes the mounts, the loop device and the process of a lazy start, also what killed programs left. The local image stays.
 *
 * @throws if something holds a mount
 */
export async function removeLazyImage(directory: string): Promise<void> {
  const paths = lazyPaths(directory);
  await endMetadataReader(paths);
  await unmountLazy(paths, () => endServing(paths));
  const status = await readStatus(paths);
  if (status) await ended(status.process);
  // A process that was still starting can have mounted its file meanwhile.
  await unmountLazy(paths, () => endServing(paths));
  await rm(paths.directory, { recursive: true, force: true });
}

/** The process ends when its file is unmounted. One that does not is killed: nothing uses it any more. */
async function ended(process: LazyStatus['process']): Promise<void> {
  for (const deadline = performance.now() + END_MS; performance.now() < deadline; await sleep(POLL_MS)) {
    if (!(await isSameProcess(process))) return;
  }
  await signalProcess(process, 'SIGKILL');
}

/**
 * A unit of its own, so that neither a restart of aw-runner nor the end of a job's cgroup ends it. Without systemd it is a process
 * of its own. Never a memory limit: pages of the local image are charged to it, and it would
 * reclaim its own pages for ever.
 */
async function launch(
  paths: LazyPaths,
  [program = '', ...args]: readonly string[],
): Promise<() => Promise<boolean>> {
  if (existsSync('/run/systemd/system')) {
    const properties = [
      'Type=exec',
      'OOMScoreAdjust=-900',
      'Restart=no',
      'TasksMax=64',
      'LimitNOFILE=65536',
      `StandardOutput=append:${paths.log}`,
      `StandardError=append:${paths.log}`,
    ];
    const options = [
      '--collect',
      '--description=Image of a lazy start',
      ...Object.entries(ENVIRONMENT).map(([key, value]) => `--setenv=${key}=${value}`),
      ...properties.map((property) => `--property=${property}`),
    ];
    await startTransientUnit(UNIT, options, [program, ...args]);
    return () =>
      execute('systemctl', ['--quiet', 'is-active', UNIT]).then(
        () => true,
        () => false,
      );
  }
  const log = openSync(paths.log, 'a');
  const env = { ...process.env, ...ENVIRONMENT };
  const child = spawn(program, args, { detached: true, stdio: ['ignore', log, log], env });
  closeSync(log);
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', reject);
  });
  child.unref();
  // A container can lack the right to lower the value (CAP_SYS_RESOURCE); instances have systemd.
  await writeFile(`/proc/${child.pid}/oom_score_adj`, '-900').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EACCES') throw error;
  });
  return async () => child.exitCode === null && child.signalCode === null;
}

async function served(
  paths: LazyPaths,
  isRunning: () => Promise<boolean>,
  signal?: AbortSignal,
): Promise<void> {
  const deadline = performance.now() + START_MS;
  for (let polls = 1; performance.now() < deadline; polls += 1) {
    signal?.throwIfAborted();
    const status = await readStatus(paths);
    if (status?.state === 'failed') throw new LazyStartFailed(failureOf(status));
    if (status && status.state !== 'starting') return;
    if (polls % POLLS_PER_CHECK === 0 && !(await isRunning())) {
      const log = await readFile(paths.log, 'utf8').catch(() => '');
      throw new LazyStartFailed({ reason: `the process has ended: ${log.slice(-MAX_LOG)}`, isBroken: false });
    }
    await sleep(POLL_MS);
  }
  throw new LazyStartFailed({ reason: `not served after ${START_MS / 1000} s`, isBroken: false });
}
