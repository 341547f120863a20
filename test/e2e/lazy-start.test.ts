import { type ChildProcess, spawn } from 'node:child_process';
import { hash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, open, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { execute } from '../../infra/runner/src/child-process.ts';
import { jobTrees } from '../../infra/runner/src/isolation/job-trees.ts';
import { isAlive } from '../../infra/runner/src/processes.ts';
import { readBase } from '../../infra/runner/src/snapshot/base.ts';
import { metadataUnits } from '../../infra/runner/src/snapshot/inodes.ts';
import {
  beginLazyBase,
  createLazyTree,
  finishLazyBase,
} from '../../infra/runner/src/snapshot/lazy/lazy-base.ts';
import {
  isWorthwhile,
  type LazyHealth,
  lazyHealth,
  mountLazyImage,
  removeLazyImage,
  showLazyImage,
  startLazyImage,
} from '../../infra/runner/src/snapshot/lazy/lazy-image.ts';
import { type LazyRequest, lazyPaths, readStatus } from '../../infra/runner/src/snapshot/lazy/status.ts';
import { type Paths, snapshotPaths, WARM } from '../../infra/runner/src/snapshot/paths.ts';
import { removeEverything } from '../../infra/runner/src/snapshot/remove-everything.ts';
import { isWarm, type RestoreOptions, restoreSnapshot } from '../../infra/runner/src/snapshot/restore.ts';
import { createTree, discardTree } from '../../infra/runner/src/snapshot/trees.ts';
import { inTree } from '../../infra/runner/src/snapshot/warm-paths.ts';
import type { FrameIndex } from '../../shared/snapshot/frame-index.ts';
import { UNIT_BYTES } from '../../shared/snapshot/units.ts';
import { whyMissing } from '../support/packages.ts';
import { type S3Call, type S3Fault, type S3Server, startS3Server } from '../support/s3-server.ts';
import { BUCKET, expectSame, listing, SET, startWorld, type World } from '../support/snapshots.ts';
import { storeImage } from '../support/stored-image.ts';
import { loopsBelow } from '../support/xfs.ts';

/**
 * Lazy starts with the real kernel: FUSE, loop devices, ext4 and overlays, and the real process. Every fault is one of the S3 that
 * the process reads, of the process itself, or of the disk.
 */

const PROGRAM = resolve(import.meta.dirname, '../../infra/runner/src/main.ts');
const KEY = 'sets/default/frames/one';
const IMAGE_BYTES = 128 * 1024 * 1024;

/** Ends a wait for what never comes, in milliseconds. */
const LIMIT_MS = 200_000;

const canServe = process.getuid?.() === 0 && existsSync('/dev/fuse') && existsSync('/dev/loop-control');

/** A file of the image, and the sha256 of its content. */
type Content = { path: string; sha256: string; bytes: number };

let folder = '';
let s3: S3Server;
let frames: Buffer;
let imageIndex: FrameIndex;
let request: LazyRequest;
let original = '';
const contents: Content[] = [];
let number = 0;
const started: string[] = [];

beforeAll(async () => {
  if (!canServe) return;
  folder = await mkdtemp(join(tmpdir(), 'hearth-lazy-'));
  const source = join(folder, 'source/warm');
  await mkdir(join(source, 'deep/er'), { recursive: true });
  const add = async (path: string, bytes: number) => {
    // Not compressible, so that frames are as large as their units.
    const content = randomBytes(bytes);
    await writeFile(join(source, path), content);
    contents.push({ path: `warm/${path}`, sha256: hash('sha256', content), bytes });
  };
  for (let file = 0; file < 100; file += 1) await add(`small-${file}`, 3_000 + file);
  for (let file = 0; file < 12; file += 1) await add(`deep/er/large-${file}`, 3_000_000 + file);
  await execute('chmod', ['1777', source]);
  original = join(folder, 'original.img');
  await writeFile(original, '');
  await truncate(original, IMAGE_BYTES);
  await execute('mke2fs', [
    ...['-q', '-F', '-t', 'ext4', '-b', '4096', '-O', '^has_journal', '-E', 'nodiscard'],
    ...['-d', join(folder, 'source'), original],
  ]);
  const metadata = await metadataUnits(original);
  const pieces: Uint8Array[] = [];
  const stored = storeImage(
    original,
    (frame) => pieces.push(Buffer.from(frame)),
    (unit) => metadata[unit] === 1,
  );
  frames = Buffer.concat(pieces);
  imageIndex = stored.index;
  const file = join(folder, 'index');
  await writeFile(file, stored.index.bytes);
  request = {
    bucket: 'bucket',
    region: 'us-east-1',
    objects: [KEY],
    index: {
      file,
      sha256: hash('sha256', stored.index.bytes),
      imageBytes: IMAGE_BYTES,
      objects: [{ bytes: frames.length }],
    },
    image: { file: '', bytes: IMAGE_BYTES },
    patienceSeconds: 600,
  };
  s3 = await startS3Server();
  Object.assign(process.env, {
    AWS_ENDPOINT_URL: s3.url,
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'test',
  });
});

afterEach(removeStarted);

/** Removes every lazy start of a test, and looks for what is left. */
async function removeStarted(): Promise<void> {
  if (!canServe) return;
  s3.fault = undefined;
  for (const directory of started.splice(0)) {
    await removeLazyImage(directory);
    await expectNothingLeft(directory);
  }
}

afterAll(async () => {
  if (!canServe) return;
  await s3.close();
  await rm(folder, { recursive: true, force: true });
});

/** A directory and a request for an image of its own. */
async function fresh(changed: Partial<LazyRequest> = {}) {
  number += 1;
  const directory = join(folder, `lazy-${number}`);
  const image = join(folder, `image-${number}`);
  await writeFile(image, '');
  await truncate(image, IMAGE_BYTES);
  s3.put(KEY, frames);
  s3.calls.length = 0;
  started.push(directory);
  const full: LazyRequest = { ...request, image: { file: image, bytes: IMAGE_BYTES }, ...changed };
  return { directory, image, request: full, lower: join(directory, 'lower') };
}

async function startAndMount(changed: Partial<LazyRequest> = {}) {
  const lazy = await fresh(changed);
  await startLazyImage({ directory: lazy.directory, request: lazy.request, program: PROGRAM });
  await mountLazyImage(lazy.directory);
  return lazy;
}

/** A process can have ended meanwhile. */
async function killServer(directory: string): Promise<void> {
  for (const pid of await serversOf(directory)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}

/** Starts and mounts an image of which S3 gives the first frames only, and then lets the fault decide about the others. */
async function startThen(
  fault: (call: S3Call) => S3Fault | undefined,
  changed: Partial<LazyRequest> = {},
): ReturnType<typeof startAndMount> {
  let isMounted = false;
  holdBack((call) => (isMounted ? fault(call) : refuse));
  const lazy = await startAndMount(changed);
  isMounted = true;
  return lazy;
}

/** S3 answers requests for the first frames, and holds or refuses all others until it is released. */
function holdBack(fault: (call: S3Call) => S3Fault | undefined) {
  s3.fault = (call) => (isOfMetadata(call) ? undefined : fault(call));
}

/** The first 2 MB of the object: what a mount and a walk over all files need. */
function isOfMetadata({ range }: S3Call): boolean {
  return Number(/^bytes=(\d+)-/.exec(range ?? '')?.[1] ?? 0) < 2_000_000;
}

const refuse = { status: 503, code: 'SlowDown' } as const;

/** Reads with a program of its own: a read that waits for S3 would hold a thread of this process, which is the S3. */
async function sha256Of(path: string): Promise<string> {
  return (await execute('sha256sum', [path])).slice(0, 64);
}

async function expectAll(root: string): Promise<void> {
  const text = await execute(
    'sha256sum',
    contents.map(({ path }) => join(root, path)),
  );
  expect(
    text
      .trim()
      .split('\n')
      .map((line) => line.slice(0, 64)),
  ).toEqual(contents.map(({ sha256 }) => sha256));
}

async function untilState(directory: string, state: LazyHealth['state']): Promise<LazyHealth> {
  for (const deadline = performance.now() + LIMIT_MS; performance.now() < deadline; await sleep(20)) {
    const health = await lazyHealth(directory);
    if (health.state === state) return health;
  }
  throw new Error(`still ${JSON.stringify(await lazyHealth(directory))}`);
}

async function pidOf(directory: string): Promise<number> {
  const status = await readStatus(lazyPaths(directory));
  if (!status) throw new Error('no process');
  return status.process.pid;
}

async function expectEqualToOriginal(image: string): Promise<void> {
  await execute('cmp', [image, original]);
}

/** The kernel ends killed processes, and removes loop devices, a moment after the call that asks for it. */
async function expectNothingLeft(directory: string): Promise<void> {
  for (const deadline = performance.now() + LIMIT_MS; performance.now() < deadline; await sleep(50)) {
    if ((await leftovers(directory)).length === 0) return;
  }
  expect(await leftovers(directory)).toEqual([]);
}

/** Mounts, loop devices and processes of a lazy start. */
async function leftovers(directory: string): Promise<string[]> {
  const found: string[] = [];
  const table = await readFile('/proc/self/mountinfo', 'utf8');
  found.push(...table.split('\n').filter((line) => line.includes(directory)));
  for (const name of await readdir('/sys/block')) {
    const file = await readFile(`/sys/block/${name}/loop/backing_file`, 'utf8').catch(() => '');
    if (file.includes(directory)) found.push(name);
  }
  for (const pid of await readdir('/proc')) {
    const line = await readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => '');
    if (line.includes('serve-image') && line.includes(`${directory}\0`)) found.push(`process ${pid}`);
    if (line.includes(`${directory}/metadata`)) found.push(`reader ${pid}`);
  }
  return found;
}

/** Reads of the loop device so far. */
async function readsOf(directory: string): Promise<number> {
  for (const name of await readdir('/sys/block')) {
    const file = await readFile(`/sys/block/${name}/loop/backing_file`, 'utf8').catch(() => '');
    if (!file.startsWith(`${directory}/`)) continue;
    return Number((await readFile(`/sys/block/${name}/stat`, 'utf8')).trim().split(/\s+/)[0]);
  }
  throw new Error(`no loop device of ${directory}`);
}

/** A program that has a file of the image open, and reads it when it is told to. */
function holder(path: string): { child: ChildProcess; read(): Promise<string> } {
  const script = `exec 3<"$1"; echo open; read -r _; sha256sum <&3 | cut -c1-64`;
  const child = spawn('bash', ['-c', script, 'holder', path], { stdio: ['pipe', 'pipe', 'inherit'] });
  let output = '';
  child.stdout?.setEncoding('utf8').on('data', (piece: string) => (output += piece));
  return {
    child,
    async read() {
      child.stdin?.end('\n');
      await once(child, 'close');
      return output.replace('open\n', '').trim();
    },
  };
}

describe.skipIf(!canServe)('lazy start', () => {
  it('shows all files before the image is complete, and completes it', async () => {
    let isHeld = true;
    const { directory, image, lower } = await startThen(() => (isHeld ? refuse : { delayMs: 300 }));
    expect((await lazyHealth(directory)).state).toBe('filling');
    const listed = await execute('find', [
      lower,
      '-type',
      'f',
      '-size',
      '+0',
      '-not',
      '-path',
      '*lost+found*',
    ]);
    expect(listed.trim().split('\n')).toHaveLength(contents.length);
    isHeld = false;
    await expectAll(lower);
    await untilState(directory, 'complete');
    await expectEqualToOriginal(image);
  });

  it('reads the metadata ahead, so that a walk over all files reads nothing', async () => {
    const { directory, lower } = await startAndMount();
    await untilState(directory, 'complete');
    const { reader } = lazyPaths(directory);
    const { pid } = JSON.parse(await readFile(reader, 'utf8'));
    await expect.poll(() => isAlive(pid), { timeout: LIMIT_MS, interval: 20 }).toBe(false);
    const before = await readsOf(directory);
    await execute('find', [lower, '-size', '+0']);
    expect((await readsOf(directory)) - before).toBeLessThanOrEqual(2);
  });

  it('gives a job a writable tree, and keeps what the job does out of the image', async () => {
    const { directory, image } = await startAndMount();
    const tree = join(folder, `tree-${number}`);
    await mkdir(tree);
    await execute('mount', ['-t', 'tmpfs', 'hearth-test', tree]);
    try {
      const warm = await showLazyImage(directory, tree, 'warm');
      expect((await stat(warm)).mode & 0o7777).toBe(0o1777);
      await writeFile(join(warm, 'small-1'), 'changed');
      await execute('mv', [join(warm, 'deep'), join(warm, 'moved')]);
      await rm(join(warm, 'small-2'));
      await execute('ln', [join(warm, 'small-3'), join(warm, 'linked')]);
      expect(await readFile(join(warm, 'small-1'), 'utf8')).toBe('changed');
      const large = contents.find(({ path }) => path.endsWith('large-3'));
      expect(await sha256Of(join(warm, 'moved/er/large-3'))).toBe(large?.sha256);
      expect(existsSync(join(warm, 'small-2'))).toBe(false);
      await expectAll(join(directory, 'lower'));
      await untilState(directory, 'complete');
      await expectEqualToOriginal(image);
      await removeLazyImage(directory);
    } finally {
      await execute('umount', ['-R', tree]);
    }
  });

  it('fetches only the difference to an older image', async () => {
    const lazy = await fresh();
    const older = join(folder, 'older');
    await execute('cp', [original, older]);
    const changed = imageIndex.firstUnit(imageIndex.count >> 1) * UNIT_BYTES;
    const file = await open(older, 'r+');
    await file.write(randomBytes(100), 0, 100, changed);
    await file.close();
    const pieces: Uint8Array[] = [];
    const stored = storeImage(older, (frame) => pieces.push(Buffer.from(frame)));
    const index = join(folder, 'older-index');
    await writeFile(index, stored.index.bytes);
    await execute('cp', [older, lazy.image]);
    const base = {
      file: index,
      sha256: hash('sha256', stored.index.bytes),
      imageBytes: IMAGE_BYTES,
      objects: [{ bytes: stored.bytes }],
    };
    await startLazyImage({ ...lazy, request: { ...lazy.request, base }, program: PROGRAM });
    await untilState(lazy.directory, 'complete');
    await expectEqualToOriginal(lazy.image);
    const status = await readStatus(lazyPaths(lazy.directory));
    expect(status?.progress.ofFrames).toBeGreaterThan(0);
    expect(status?.progress.fetchedBytes).toBeLessThan(frames.length / 3);
  });

  it('requests each frame once, however many programs read', async () => {
    holdBack(() => ({ delayMs: 100 }));
    const { directory, lower } = await startAndMount();
    await Promise.all(Array.from({ length: 24 }, () => expectAll(lower)));
    await untilState(directory, 'complete');
    const bytes = s3.calls.reduce((sum, { range }) => {
      const [, from = 0, to = -1] = /^bytes=(\d+)-(\d+)$/.exec(range ?? '') ?? [];
      return sum + Number(to) - Number(from) + 1;
    }, 0);
    expect(bytes).toBe(frames.length);
  });

  it('changes nothing for readers, open files and maps when the image becomes complete', async () => {
    let isHeld = true;
    holdBack(() => (isHeld ? refuse : undefined));
    const { directory, lower } = await startAndMount();
    const large = contents.at(-1) as Content;
    const path = join(lower, large.path);
    // A map of pages that are not local yet.
    const script = `import mmap,sys,hashlib
f=open(sys.argv[1],'rb'); m=mmap.mmap(f.fileno(),0,prot=mmap.PROT_READ); print('open',flush=True); sys.stdin.readline(); print(hashlib.sha256(m).hexdigest())`;
    const map = spawn('python3', ['-c', script, path], { stdio: ['pipe', 'pipe', 'inherit'] });
    await once(map.stdout, 'data');
    const held = holder(path);
    const reading = expectAll(lower);
    isHeld = false;
    await reading;
    await untilState(directory, 'complete');
    expect(await held.read()).toBe(large.sha256);
    map.stdin.end('\n');
    const [hashed] = await once(map.stdout, 'data');
    expect(String(hashed).trim()).toBe(large.sha256);
    await expectAll(lower);
  });

  it('lets a reader wait while S3 is gone, and gives it the right bytes afterwards', async () => {
    let isGone = true;
    holdBack(() => (isGone ? refuse : undefined));
    const { directory, lower } = await startAndMount();
    const large = contents.at(-1) as Content;
    let isRead = false;
    const reading = sha256Of(join(lower, large.path)).finally(() => {
      isRead = true;
    });
    await sleep(1_000);
    expect(isRead).toBe(false);
    expect((await lazyHealth(directory)).state).toBe('filling');
    isGone = false;
    expect(await reading).toBe(large.sha256);
    await untilState(directory, 'complete');
  });

  it('fails reads with EIO when S3 is gone for too long, and reads what is local', async () => {
    holdBack(() => refuse);
    // The start and the mount lie within the patience.
    const { directory, lower } = await startAndMount({ patienceSeconds: 15 });
    const large = contents.at(-1) as Content;
    await expect(sha256Of(join(lower, large.path))).rejects.toThrow('Input/output error');
    expect(await untilState(directory, 'failed')).toEqual({
      state: 'failed',
      reason: expect.stringContaining('no frame for 15 s'),
      isBroken: false,
    });
    await execute('find', [lower, '-type', 'f', '-size', '+0']);
  });

  it('needs no S3 when the image is complete', async () => {
    const { directory, lower } = await startAndMount();
    await untilState(directory, 'complete');
    s3.fault = () => refuse;
    const before = s3.calls.length;
    await expectAll(lower);
    expect(s3.calls.length).toBe(before);
  });

  it('completes with an S3 that is slow, drops connections and refuses every third request', async () => {
    let calls = 0;
    s3.fault = () => {
      calls += 1;
      if (calls % 3 === 0) return refuse;
      return calls % 3 === 1 ? { delayMs: 100 } : { dropAfter: 300_000 };
    };
    const { directory, image, lower } = await startAndMount();
    await expectAll(lower);
    await untilState(directory, 'complete');
    await expectEqualToOriginal(image);
  });

  it('fetches a frame with wrong bytes again, before anybody reads them', async () => {
    let wrong = 0;
    const { directory, image, lower } = await startThen(() => {
      wrong += 1;
      return wrong <= 2 ? { flipBit: 1_000 } : undefined;
    });
    await expectAll(lower);
    await untilState(directory, 'complete');
    expect(wrong).toBeGreaterThan(2);
    await expectEqualToOriginal(image);
  });

  it('fails reads of a frame whose bytes stay wrong, and reports the snapshot as broken', async () => {
    const { directory, lower } = await startThen(() => ({ flipBit: 1_000 }));
    await expect(expectAll(lower)).rejects.toThrow('Input/output error');
    const health = await untilState(directory, 'failed');
    expect(health).toMatchObject({ isBroken: true, reason: expect.stringContaining('has another sha256') });
  });

  it('fails at once when the object is missing, and reports the snapshot as broken', async () => {
    let isMissing = false;
    s3.fault = () => (isMissing ? { status: 404, code: 'NoSuchKey' } : refuse);
    const { directory, ...lazy } = await fresh();
    await startLazyImage({ directory, request: lazy.request, program: PROGRAM });
    isMissing = true;
    expect(await untilState(directory, 'failed')).toMatchObject({ isBroken: true });
  });

  it('fails when the disk is full, and leaves nothing', async () => {
    const disk = join(folder, 'small-disk');
    await mkdir(disk);
    await execute('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'hearth-test', disk]);
    try {
      const file = join(disk, 'image');
      await writeFile(file, '');
      await truncate(file, IMAGE_BYTES);
      const image = { file, bytes: IMAGE_BYTES };
      const { directory, lower } = await startThen(() => undefined, { image });
      const health = await untilState(directory, 'failed');
      expect(health).toMatchObject({ isBroken: false, reason: expect.stringContaining('ENOSPC') });
      await expect(expectAll(lower)).rejects.toThrow('Input/output error');
      await removeLazyImage(directory);
    } finally {
      await execute('umount', [disk]);
    }
  });

  it('fails reads of missing frames when the process is killed, and repairs nothing', async () => {
    holdBack(() => refuse);
    const { directory, lower } = await startAndMount();
    const large = contents.at(-1) as Content;
    const reading = expect(sha256Of(join(lower, large.path))).rejects.toThrow('Input/output error');
    await sleep(300);
    process.kill(await pidOf(directory), 'SIGKILL');
    await reading;
    expect(await untilState(directory, 'failed')).toEqual({
      state: 'failed',
      reason: 'the process that serves the image has ended',
      isBroken: false,
    });
    // Later reads fail at once, too.
    await expect(sha256Of(join(lower, (contents.at(-2) as Content).path))).rejects.toThrow(
      'Input/output error',
    );
  });

  it('is also failed when the process is killed after the image is complete', async () => {
    const { directory } = await startAndMount();
    await untilState(directory, 'complete');
    process.kill(await pidOf(directory), 'SIGKILL');
    await untilState(directory, 'failed');
  });

  it('does not start on an index that is not the one of the manifest', async () => {
    const lazy = await fresh();
    const file = join(folder, 'other-index');
    const bytes = await readFile(lazy.request.index.file);
    bytes[100] = (bytes[100] ?? 0) ^ 1;
    await writeFile(file, bytes);
    const changed = { ...lazy.request, index: { ...lazy.request.index, file } };
    await expect(startLazyImage({ ...lazy, request: changed, program: PROGRAM })).rejects.toThrow(
      'has another sha256 than the manifest',
    );
    expect(existsSync(lazy.directory)).toBe(false);
  });

  it('keeps a tree that a program holds, and removes it afterwards', async () => {
    const { directory, lower } = await startAndMount();
    const held = holder(join(lower, 'warm/small-1'));
    await once(held.child.stdout as NodeJS.ReadableStream, 'data');
    await expect(removeLazyImage(directory)).rejects.toThrow('target is busy');
    expect((await lazyHealth(directory)).state).not.toBe('failed');
    expect(await held.read()).toBe(contents.find(({ path }) => path === 'warm/small-1')?.sha256);
    await removeLazyImage(directory);
    await expectNothingLeft(directory);
  });

  it('leaves another lazy start alone when it removes one', async () => {
    const [one, other] = [await startAndMount(), await startAndMount()];
    const tree = join(folder, `tree-${number}`);
    const warm = await showLazyImage(other.directory, tree, 'warm');
    await removeLazyImage(one.directory);
    expect(await readdir(warm)).toContain('small-1');
    await expectAll(other.lower);
  });

  it('knows nothing of an earlier boot', async () => {
    holdBack(() => refuse);
    const { directory, lower } = await startAndMount();
    // A reboot ends processes, mounts and loop devices, and empties /run.
    process.kill(await pidOf(directory), 'SIGKILL');
    await execute('umount', [lower]);
    await removeLazyImage(directory);
    await rm(directory, { recursive: true, force: true });
    expect(await lazyHealth(directory)).toEqual({ state: 'none' });
  });

  it('leaves nothing after SIGKILL at any moment of the start', async () => {
    for (let round = 0; round < 20; round += 1) {
      const lazy = await fresh();
      const starting = startLazyImage({ ...lazy, program: PROGRAM })
        .then(() => mountLazyImage(lazy.directory))
        .catch(() => undefined);
      await sleep(Math.random() * 700);
      await killServer(lazy.directory);
      await starting;
      await removeLazyImage(lazy.directory);
      await expectNothingLeft(lazy.directory);
    }
  });

  it('leaves nothing after SIGKILL of aw-runner at any moment of the start', async () => {
    const starter = join(import.meta.dirname, 'programs/start-lazy-image.ts');
    for (let round = 0; round < 10; round += 1) {
      const lazy = await fresh();
      const file = `${lazy.image}.request`;
      await writeFile(file, JSON.stringify(lazy.request));
      const child = spawn(process.execPath, [starter, lazy.directory, file, PROGRAM], { stdio: 'ignore' });
      // It can have ended before the kill.
      const closed = once(child, 'close');
      await sleep(200 + Math.random() * 1_200);
      child.kill('SIGKILL');
      await closed;
      await removeLazyImage(lazy.directory);
      // What had only just been started finds no request, and ends.
      await expectNothingLeft(lazy.directory);
    }
  });

  it('removes a start whose mount still waits for S3 after SIGKILL of aw-runner', async () => {
    const lazy = await fresh();
    s3.fault = () => refuse;
    const file = `${lazy.image}.request`;
    await writeFile(file, JSON.stringify(lazy.request));
    const starter = join(import.meta.dirname, 'programs/start-lazy-image.ts');
    const child = spawn(process.execPath, [starter, lazy.directory, file, PROGRAM], { stdio: 'ignore' });
    const closed = once(child, 'close');
    // The kernel reads the superblock, which nobody has.
    for (const deadline = performance.now() + 60_000; performance.now() < deadline; await sleep(20)) {
      if ((await readStatus(lazyPaths(lazy.directory)))?.progress.misses) break;
    }
    child.kill('SIGKILL');
    await closed;
    await removeLazyImage(lazy.directory);
    expect(await leftovers(lazy.directory)).toEqual([]);
  });

  it('starts lazily on a slow link only', async () => {
    const slow = await fresh();
    holdBack(() => ({ delayMs: 60_000 }));
    await startLazyImage({ ...slow, program: PROGRAM });
    expect(await isWorthwhile(slow.directory, frames.length)).toBe(true);
    s3.fault = undefined;
    const fast = await fresh();
    await startLazyImage({ ...fast, program: PROGRAM });
    // A busy computer is slower than a link.
    expect(await isWorthwhile(fast.directory, frames.length, { seconds: 60 })).toBe(false);
  });
});

async function serversOf(directory: string): Promise<number[]> {
  const found = await leftovers(directory);
  return found.flatMap((each) =>
    each.startsWith('process ') ? [Number(each.slice('process '.length))] : [],
  );
}

const needed = await whyMissing({
  'mkfs.xfs': 'xfsprogs',
  mke2fs: 'e2fsprogs',
  setfattr: 'attr',
  setfacl: 'acl',
});

describe.skipIf(!canServe || needed !== undefined)('a lazy start of a snapshot', () => {
  let world: World;
  beforeEach(async () => {
    world = await startWorld();
    process.env.AWS_ENDPOINT_URL = world.server.url;
  });
  afterEach(async () => {
    process.env.AWS_ENDPOINT_URL = s3.url;
    await removeStarted();
    await world.close();
  });

  /** A snapshot of 300 small files and one of 8 MB, and an instance without it. */
  async function saved() {
    const maker = world.instance('maker');
    await world.restore(maker);
    for (let file = 0; file < 300; file += 1)
      await writeFile(join(maker.warm, `file-${file}`), randomBytes(5_000));
    await writeFile(join(maker.warm, 'large'), randomBytes(8_000_000));
    await world.saveAndPromote(maker);
    return maker;
  }

  const current = () => world.pointer.current as NonNullable<World['pointer']['current']>;

  async function begin(paths: Paths, directory: string) {
    started.push(directory);
    return beginLazyBase(paths, current(), {
      s3: world.s3,
      bucket: BUCKET,
      set: SET,
      canClone: true,
      region: 'us-east-1',
      patience: { until: performance.now() + 600_000 },
      directory,
      program: PROGRAM,
    });
  }

  it('gives a job the tree of the snapshot, and the next job a clone', async () => {
    const maker = await saved();
    const expected = listing(maker.warm);
    const directories = world.instance('runner');
    const paths = await snapshotPaths(directories);
    const directory = join(world.folder, 'lazy');
    expect(await begin(paths, directory)).toBeGreaterThan(9_000_000);
    await mountLazyImage(directory);
    const tree = await createLazyTree(paths, directory);
    const names = (await readdir(join(tree.point, WARM))).filter((name) => name !== 'lost+found');
    expect(names).toHaveLength(301);
    await writeFile(join(tree.point, WARM, 'file-7'), 'of the job');
    expect(await execute('cmp', [join(tree.point, WARM, 'large'), join(maker.warm, 'large')])).toBe('');

    await untilState(directory, 'complete');
    expect(await readBase(paths, current().id)).toBeUndefined();
    expect(await finishLazyBase(paths, current().id, directory)).toBe(true);
    expect(await finishLazyBase(paths, current().id, directory)).toBe(true);
    // The job goes on, and the next one starts on a clone.
    const next = await createTree(paths, current().id);
    expectSame(listing(join(next.point, WARM)), expected);
    expect(await readFile(join(tree.point, WARM, 'file-7'), 'utf8')).toBe('of the job');
    await expect(removeLazyImage(directory)).resolves.toBeUndefined();
    for (const each of [tree, next]) await discardTree(directories, each.name);
    expect(loopsBelow(paths.images)).toEqual([]);
    // Nothing is left to fetch for a restore.
    expect(await world.restore(directories)).toMatchObject({ outcome: 'restored', fetchedBytes: 0 });
  });

  it('gives a job the other directories of its set too', async () => {
    const place = `/var/tmp/hearth-lazy-${process.pid}`;
    const withPaths = (name: string) => ({ ...world.instance(name), paths: [place, `${place}-new`] });
    const maker = withPaths('maker');
    await world.restore(maker);
    const content = randomBytes(100_000);
    await writeFile(join(place, 'file'), content);
    await world.saveAndPromote(maker);
    const directories = withPaths('runner');
    const paths = await snapshotPaths(directories);
    const directory = join(world.folder, 'lazy');
    await begin(paths, directory);
    await mountLazyImage(directory);
    const tree = await createLazyTree(paths, directory);
    expect((await readFile(join(tree.point, inTree(place), 'file'))).equals(content)).toBe(true);
    await writeFile(join(tree.point, inTree(`${place}-new`), 'file'), 'of the job');
    await untilState(directory, 'complete');
    await expect(removeLazyImage(directory)).resolves.toBeUndefined();
    await discardTree(directories, tree.name);
    await removeEverything(maker);
    for (const each of maker.paths) await rm(each, { recursive: true });
  });

  it('fetches only the difference to an image of the disk', async () => {
    const maker = await saved();
    const directories = world.instance('runner');
    await world.restore(directories);
    await writeFile(join(maker.warm, 'file-1'), randomBytes(6_000));
    await rm(join(maker.warm, 'large'));
    await world.saveAndPromote(maker);
    const expected = listing(maker.warm);
    const paths = await snapshotPaths(directories);
    const directory = join(world.folder, 'lazy');
    expect(await begin(paths, directory)).toBeLessThan(2_000_000);
    await untilState(directory, 'complete');
    await removeLazyImage(directory).catch(() => undefined);
    // The process has ended, so its record is gone: the image is not taken for a complete one.
    expect(await finishLazyBase(paths, current().id, directory)).toBe(false);
    await begin(paths, directory);
    await untilState(directory, 'complete');
    await finishLazyBase(paths, current().id, directory);
    const tree = await createTree(paths, current().id);
    expectSame(listing(join(tree.point, WARM)), expected);
  });

  it('starts a restore anew after a reboot within the fill', async () => {
    await saved();
    const directories = world.instance('runner');
    const paths = await snapshotPaths(directories);
    const directory = join(world.folder, 'lazy');
    world.server.fault = ({ key, range }) =>
      key.includes('/frames/') && !range?.startsWith('bytes=0-') ? refuse : undefined;
    await begin(paths, directory);
    process.kill(await pidOf(directory), 'SIGKILL');
    await removeLazyImage(directory);
    world.server.fault = undefined;
    expect(await readBase(paths, current().id)).toBeUndefined();
    const restored = await world.restore(directories);
    expect(restored).toMatchObject({ outcome: 'restored', id: current().id });
    expect(restored.fetchedBytes).toBeGreaterThan(9_000_000);
  });

  it('fetches nothing when the disk has the image', async () => {
    await saved();
    const directories = world.instance('runner');
    await world.restore(directories);
    const directory = join(world.folder, 'lazy');
    expect(await begin(await snapshotPaths(directories), directory)).toBeUndefined();
    expect(existsSync(directory)).toBe(false);
  });

  describe('on a runner', () => {
    /** Frames behind the metadata arrive after the call of the result. */
    const hold = () => {
      const { promise: until, resolve: release } = Promise.withResolvers<void>();
      world.server.fault = ({ key, range }) =>
        key.includes('/frames/') && !range?.startsWith('bytes=0-') ? { until } : undefined;
      return release;
    };

    function runner(name = 'runner', paths: string[] = []) {
      const lazy = join(world.folder, `lazy-${name}`);
      started.push(lazy);
      const directories = { ...world.instance(name), lazy, paths };
      const boot = (change: Partial<RestoreOptions> = {}) =>
        restoreSnapshot({
          s3: world.s3,
          bucket: BUCKET,
          set: SET,
          directories,
          perJob: true,
          // However fast the link is.
          lazy: { region: 'us-east-1', program: PROGRAM, seconds: 0 },
          warn: (line) => world.warnings.push(line),
          ...change,
        });
      return { lazy, directories, boot, trees: jobTrees(directories, () => {}) };
    }

    it('starts the first job before the image is complete, and the next one on a clone', async () => {
      const path = `/var/tmp/hearth-lazy-${process.pid}/cache`;
      const maker = { ...world.instance('maker'), paths: [path] };
      await world.restore(maker);
      await writeFile(join(path, 'entry'), 'of a tool');
      await mkdir(join(maker.warm, 'deep'));
      await writeFile(join(maker.warm, 'deep/large'), randomBytes(8_000_000));
      await world.saveAndPromote(maker);
      const expected = listing(join(maker.warm, 'deep'));
      await removeEverything(maker);
      await rm(dirname(path), { recursive: true });
      const release = hold();
      const { lazy, directories, boot, trees } = runner('runner', [path]);
      expect(await boot()).toMatchObject({ outcome: 'restored', id: current().id });
      expect(await lazyHealth(lazy)).toEqual({ state: 'filling' });
      expect(await isWarm(directories)).toBe(true);
      const first = await trees.clone();
      const inFirst = (name: string) => join(trees.point(first.name), name);
      release();
      expect(await readFile(inFirst(join(inTree(path), 'entry')), 'utf8')).toBe('of a tool');
      await writeFile(inFirst('warm/of-the-job'), 'x');
      await untilState(lazy, 'complete');
      expect(existsSync(inFirst('warm/of-the-job'))).toBe(true);
      await trees.discard(first.name);
      const second = await trees.clone();
      expectSame(listing(join(trees.point(second.name), WARM, 'deep')), expected);
      expect(existsSync(lazy)).toBe(false);
      expect(await isWarm(directories)).toBe(true);
      await trees.discard(second.name);
      expect(loopsBelow(directories.images)).toEqual([]);
      await rm(dirname(path), { recursive: true, force: true });
    });

    it('waits for the image on a fast link', async () => {
      await saved();
      const { lazy, boot, trees } = runner();
      const lazily = { region: 'us-east-1', program: PROGRAM, seconds: 600 };
      expect(await boot({ lazy: lazily })).toMatchObject({ outcome: 'restored' });
      expect(existsSync(lazy)).toBe(false);
      await trees.discard((await trees.clone()).name);
    });

    it('gives no job a tree after the process was killed, also after a restart of aw-runner', async () => {
      await saved();
      hold();
      const { lazy, directories, boot, trees } = runner();
      await boot();
      const first = await trees.clone();
      process.kill(await pidOf(lazy), 'SIGKILL');
      await untilState(lazy, 'failed');
      await trees.discard(first.name);
      expect(await isWarm(directories)).toBe(true);
      await expect(trees.clone()).rejects.toThrow(/the image of a lazy start is not complete/);
      expect(loopsBelow(directories.images)).toEqual([]);
    });

    it('restores anew after a reboot', async () => {
      await saved();
      hold();
      const { lazy, directories, boot, trees } = runner();
      await boot();
      // What a boot ends: processes, mounts and /run.
      process.kill(await pidOf(lazy), 'SIGKILL');
      await removeLazyImage(lazy);
      world.server.fault = undefined;
      expect(await isWarm(directories)).toBe(false);
      expect(await boot()).toMatchObject({ outcome: 'restored', id: current().id });
      await trees.discard((await trees.clone()).name);
    });

    it('starts on the snapshot before one whose frames are missing, and reports that one', async () => {
      const maker = await saved();
      const before = current().id;
      await writeFile(join(maker.warm, 'more'), randomBytes(3_000_000));
      await world.saveAndPromote(maker);
      const key = [...world.server.objects.keys()].find((each) => each.endsWith(`frames/${current().id}`));
      world.server.objects.delete(key ?? '');
      const { boot, trees } = runner();
      expect(await boot()).toMatchObject({
        outcome: 'previous',
        id: before,
        broken: { id: current().id },
      });
      await trees.discard((await trees.clone()).name);
    });

    it('starts cold when its time ends, and leaves nothing', async () => {
      await saved();
      world.server.fault = ({ key }) => (key.includes('/frames/') ? { delayMs: 30_000 } : undefined);
      const { lazy, directories, boot, trees } = runner();
      expect(await boot({ signal: AbortSignal.timeout(2_000) })).toMatchObject({ outcome: 'cold' });
      expect(existsSync(lazy)).toBe(false);
      await trees.discard((await trees.clone()).name);
      expect(loopsBelow(directories.images)).toEqual([]);
      // A process that was still starting finds no request, and ends.
      await expectNothingLeft(lazy);
    });
  });
});
