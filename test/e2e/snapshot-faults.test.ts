import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { emptyCgroup } from '../../infra/runner/src/isolation/job-cgroup.ts';
import { cloneTree } from '../../infra/runner/src/snapshot/job-tree.ts';
import { Locked } from '../../infra/runner/src/snapshot/lock.ts';
import { deviceOf, errorsOf, TreeHeld } from '../../infra/runner/src/snapshot/mounts.ts';
import type { Directories } from '../../infra/runner/src/snapshot/paths.ts';
import { watchDisk } from '../../infra/runner/src/snapshot/reserve.ts';
import { restoreSnapshot } from '../../infra/runner/src/snapshot/restore.ts';
import { discardTree, treeProblem } from '../../infra/runner/src/snapshot/trees.ts';
import { framesKey } from '../../shared/snapshot/layout.ts';
import { CGROUPS } from '../support/job-space.ts';
import { whyMissing } from '../support/packages.ts';
import { localS3 } from '../support/s3-client.ts';
import { BUCKET, expectSame, listing, SET, startWorld, type World } from '../support/snapshots.ts';
import { loopsBelow, mountsBelow } from '../support/xfs.ts';

const reason = await whyMissing({
  'mkfs.xfs': 'xfsprogs',
  mke2fs: 'e2fsprogs',
  setfacl: 'acl',
  setfattr: 'attr',
});
if (reason) console.warn(`the tests of faults of snapshots are skipped: ${reason}`);

const MIB = 2 ** 20;

describe.skipIf(reason !== undefined)('faults', () => {
  let world: World;
  beforeEach(async () => {
    world = await startWorld();
  });
  afterEach(() => world.close());

  /** A snapshot of so many bytes that no compression makes smaller. */
  async function snapshotOf(bytes: number, name = 'maker') {
    const maker = world.instance(name);
    await world.restore(maker);
    for (let file = 0; file * MIB < bytes; file += 1) {
      writeFileSync(join(maker.warm, `random-${file}`), randomBytes(Math.min(MIB, bytes - file * MIB)));
    }
    return { maker, ...(await world.saveAndPromote(maker)) };
  }

  const basesOf = ({ images }: Directories) => readdirSync(join(images, 'base'));
  const patience = (milliseconds: number) => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(new Error('the restore takes too long')), milliseconds);
    return controller.signal;
  };

  describe('an S3 that is slow', () => {
    test.each<[string, () => void]>([
      ['does not answer at all', () => (world.server.fault = () => ({ until: new Promise(() => {}) }))],
      [
        'goes silent in the middle of a frame',
        () =>
          (world.server.fault = ({ range, key }) =>
            range && key.includes('/frames/') ? { stallAfter: 1000 } : undefined),
      ],
    ])('%s: the runner boots cold when its time is up', async (_, begin) => {
      await snapshotOf(100_000);
      begin();
      const runner = world.instance('runner');
      // S3 never goes on: only the limit ends this.
      expect(await world.restore(runner, patience(1_000))).toMatchObject({ outcome: 'cold' });
      expect(world.warnings.join()).toContain('the restore takes too long');
      // And nothing of the late restore turns up over a job's files.
      writeFileSync(join(runner.warm, 'job'), 'at work');
      world.server.fault = undefined;
      await sleep(300);
      expect(readdirSync(runner.warm)).toEqual(['job']);
    });

    test('goes silent without a time limit: another connection continues', async () => {
      const { id } = await snapshotOf(100_000);
      let silences = 1;
      world.server.fault = ({ range }) => (range && silences-- > 0 ? { stallAfter: 1000 } : undefined);
      const s3 = localS3(world.server.url, {
        maxAttempts: 1,
        requestHandler: { connectionTimeout: 5_000, socketTimeout: 300 },
      });
      const directories = world.instance('runner');
      const restored = await restoreSnapshot({ s3, bucket: BUCKET, set: SET, directories });
      expect(restored).toMatchObject({ outcome: 'restored', id });
    });

    test('drops connections and throttles: the restore goes on where it was', async () => {
      const { id, maker } = await snapshotOf(20 * MIB);
      world.server.fault = ({ range, count }) => {
        if (!range) return undefined;
        if (count % 3 === 0) return { status: 503, code: 'SlowDown' };
        return count % 3 === 1 ? { dropAfter: 3_000_000 } : undefined;
      };
      const runner = world.instance('runner');
      const restored = await world.restore(runner);
      expect(restored).toMatchObject({ outcome: 'restored', id });
      // Only what a dropped connection had begun is fetched again.
      expect(restored.fetchedBytes).toBeLessThan(21.5 * MIB);
      expectSame(listing(runner.warm), listing(maker.warm));
    });
  });

  test('a transfer that changes one bit: the frame is fetched again', async () => {
    const { id } = await snapshotOf(5 * MIB);
    let flips = 2;
    world.server.fault = ({ range, key }) =>
      range && key.includes('/frames/') && flips-- > 0 ? { flipBit: 1_234_567 } : undefined;
    expect(await world.restore(world.instance('runner'))).toMatchObject({ outcome: 'restored', id });
  });

  test('the record of an image that a killed removal has left alone: the restore begins anew', async () => {
    const { id } = await snapshotOf(2 * MIB);
    const runner = world.instance('runner');
    const base = join(runner.images, 'base');
    let record: Buffer | undefined;
    world.server.fault = ({ range }) => {
      const file = join(base, `${id}.frames`);
      if (range && existsSync(file)) record = readFileSync(file);
      return range ? { delayMs: 50 } : undefined;
    };
    expect(await world.restore(runner)).toMatchObject({ outcome: 'restored', id });
    for (const name of basesOf(runner)) rmSync(join(base, name));
    writeFileSync(join(base, `${id}.frames`), record ?? '');
    expect(record?.length).toBeGreaterThan(0);
    expect(await world.restore(runner)).toMatchObject({ outcome: 'restored', id });
  });

  test('a refusal in the middle of a restore: cold, and nothing of it stays', async () => {
    await snapshotOf(30 * MIB);
    let ranges = 0;
    world.server.fault = ({ range, key }) => {
      if (!range || !key.includes('/frames/')) return undefined;
      ranges += 1;
      return ranges > 2 ? { status: 403, code: 'AccessDenied' } : undefined;
    };
    const runner = world.instance('runner');
    const result = await world.restore(runner);
    expect(result).toMatchObject({ outcome: 'cold' });
    expect(result.broken).toBeUndefined();
    expect(world.warnings.join()).toContain('AccessDenied');
    expect(basesOf(runner)).toEqual([]);
    expect(readdirSync(runner.warm)).toEqual([]);
  });

  test('frames that are missing: the snapshot is broken', async () => {
    const { id } = await snapshotOf(100_000);
    world.server.objects.delete(framesKey(SET, id));
    const result = await world.restore(world.instance('runner'));
    expect(result).toMatchObject({
      outcome: 'cold',
      broken: { id, reason: expect.stringContaining('missing') },
    });
  });

  describe('an S3 that does not take a save', () => {
    test.each([
      ['refuses', 403, 'AccessDenied'],
      ['has lost its bucket', 404, 'NoSuchBucket'],
      ['finds other bytes than were sent', 400, 'BadDigest'],
    ])('%s: the save fails with the reason, and leaves nothing', async (_, status, code) => {
      const before = await snapshotOf(1000);
      const { maker } = before;
      await world.restore(maker);
      for (let file = 0; file < 40; file += 1)
        writeFileSync(join(maker.warm, `more-${file}`), randomBytes(MIB));
      const keys = [...world.server.objects.keys()].sort();
      world.server.fault = ({ query }) => (query.get('partNumber') === '2' ? { status, code } : undefined);
      await expect(world.save(maker)).rejects.toMatchObject({ name: code });
      world.server.fault = undefined;
      expect([...world.server.objects.keys()].sort()).toEqual(keys);
      const aborts = world.server.calls.filter(
        ({ method, query }) => method === 'DELETE' && query.has('uploadId'),
      );
      expect(aborts).toHaveLength(1);
      expect(existsSync(join(maker.images, 'trees/saving.part'))).toBe(false);
      expect(await world.restore(world.instance('runner'))).toMatchObject({
        outcome: 'restored',
        id: before.id,
      });
      expect((await world.save(maker)).uploadedBytes).toBeGreaterThan(40 * MIB);
    });

    test('throttles every part for three seconds: the save waits, and succeeds', async () => {
      const maker = world.instance('maker');
      await world.restore(maker);
      for (let file = 0; file < 40; file += 1) writeFileSync(join(maker.warm, `${file}`), randomBytes(MIB));
      const until = Date.now() + 3_000;
      world.server.fault = ({ query }) =>
        query.has('partNumber') && Date.now() < until ? { status: 503, code: 'SlowDown' } : undefined;
      const saved = await world.saveAndPromote(maker);
      expect(Date.now()).toBeGreaterThan(until);
      expect(await world.restore(world.instance('runner'))).toMatchObject({
        outcome: 'restored',
        id: saved.id,
      });
    });

    test('loses the answers of the last calls: what it has is ours', async () => {
      const maker = world.instance('maker');
      await world.restore(maker);
      writeFileSync(join(maker.warm, 'file'), randomBytes(MIB));
      const lost = new Set<string>();
      world.server.fault = ({ method, key, query }) => {
        const call = `${method} ${key.replace(/.*\//, '')} ${query.has('uploadId')}`;
        const isLast =
          (method === 'POST' && query.has('uploadId')) || (method === 'PUT' && !query.has('partNumber'));
        if (!isLast || lost.has(call)) return undefined;
        lost.add(call);
        return { loseAnswer: true };
      };
      const { id } = await world.saveAndPromote(maker);
      expect(lost.size).toBe(3);
      world.server.fault = undefined;
      expect(await world.restore(world.instance('runner'))).toMatchObject({ outcome: 'restored', id });
    });

    test('drops the upload because of another write: everything is sent again', async () => {
      const maker = world.instance('maker');
      await world.restore(maker);
      writeFileSync(join(maker.warm, 'file'), randomBytes(MIB));
      let conflicts = 1;
      world.server.fault = ({ method, query }) =>
        method === 'POST' && query.has('uploadId') && conflicts-- > 0
          ? { status: 409, code: 'ConditionalRequestConflict' }
          : undefined;
      const { id } = await world.saveAndPromote(maker);
      expect(await world.restore(world.instance('runner'))).toMatchObject({ outcome: 'restored', id });
    });
  });

  test('two saves at once: the second one is refused', async () => {
    const { maker } = await snapshotOf(5 * MIB);
    // The first one lasts until the other one has ended.
    const { promise: until, resolve: release } = Promise.withResolvers<void>();
    world.server.fault = () => ({ until });
    const saves = [world.save(maker), world.save(maker)].map((save) => save.finally(release));
    const results = await Promise.allSettled(saves);
    const failed = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
    expect(failed).toHaveLength(1);
    expect(failed[0]).toBeInstanceOf(Locked);
  });

  describe('a disk without room', () => {
    test('for the image: the restore ends before it begins, and jobs have what there is', async () => {
      await snapshotOf(80 * MIB);
      const runner = world.instance('small', '330M');
      execFileSync('fallocate', ['-l', '210M', join(runner.images, '../other')]);
      expect(await world.restore(runner)).toMatchObject({ outcome: 'cold' });
      expect(world.warnings.join()).toContain('NoRoom');
      expect(basesOf(runner)).toEqual([]);
      writeFileSync(join(runner.warm, 'job'), randomBytes(MIB));
    });

    test('in the middle of a restore: cold, and nothing of it stays', async () => {
      await snapshotOf(80 * MIB);
      const runner = world.instance('small', '330M');
      let isFull = false;
      world.server.fault = ({ range, key }) => {
        if (range && key.includes('/frames/') && !isFull) {
          isFull = true;
          execFileSync('fallocate', ['-l', '220M', join(runner.images, '../other')]);
        }
        return undefined;
      };
      expect(await world.restore(runner)).toMatchObject({ outcome: 'cold' });
      expect(world.warnings.join()).toContain('ENOSPC');
      expect(basesOf(runner)).toEqual([]);
    });
  });

  describe('a job that fills the disk', () => {
    /** Writes pieces of a pattern to a file from a position on. @returns bytes that were written before the disk was full */
    function write(file: string, flags: string, pieces: number, fill: number): number {
      const handle = openSync(file, flags);
      let written = 0;
      try {
        for (let piece = 0; piece < pieces; piece += 1) {
          written += writeSync(handle, Buffer.alloc(MIB, fill + (piece % 7)), 0, MIB, piece * MIB);
        }
        fsyncSync(handle);
      } catch (error) {
        expect(error).toMatchObject({ code: 'ENOSPC' });
      } finally {
        closeSync(handle);
      }
      return written;
    }

    function expectContent(file: string, pieces: number, fill: number): void {
      const content = readFileSync(file);
      for (let piece = 0; piece < pieces; piece += 1) {
        const expected = Buffer.alloc(MIB, fill + (piece % 7));
        if (content.compare(expected, 0, MIB, piece * MIB, (piece + 1) * MIB) !== 0) {
          throw new Error(`${file} has lost its content at ${piece} MiB`);
        }
      }
    }

    /** The name of the only tree. */
    const treeOf = ({ images }: { images: string }) =>
      String(readdirSync(join(images, 'trees')).find((name) => name.endsWith('.img'))).replace('.img', '');

    const dropCaches = () => writeFileSync('/proc/sys/vm/drop_caches', '3');

    async function warmDisk(size: string) {
      const maker = world.instance('maker');
      await world.restore(maker);
      write(join(maker.warm, 'warm'), 'w', 150, 1);
      await world.saveAndPromote(maker);
      const runner = world.instance('small', size);
      expect(await world.restore(runner)).toMatchObject({ outcome: 'restored' });
      return runner;
    }

    test('by new files and by overwriting warm ones, in two trees: ENOSPC, and no write is lost', async () => {
      const runner = await warmDisk('900M');
      const other = await cloneTree(runner);
      expect(other.isTight).toBe(false);
      const trees = [runner.warm, join(other.point, 'warm')];
      const written = trees.map((tree) => write(join(tree, 'new'), 'w', 900, 10));
      expect(Math.max(...written)).toBeLessThan(700 * MIB);
      // Every warm block takes a new one, with the disk as full as the trees can make it.
      for (const [index, tree] of trees.entries())
        expect(write(join(tree, 'warm'), 'r+', 150, 100 + index * 50)).toBe(150 * MIB);
      execFileSync('sync');
      dropCaches();
      for (const [index, tree] of trees.entries()) {
        expectContent(join(tree, 'warm'), 150, 100 + index * 50);
        expectContent(join(tree, 'new'), Math.floor((written[index] ?? 0) / MIB) - 1, 10);
      }
      expect(await treeProblem(runner, other.name)).toBeUndefined();
      await discardTree(runner, other.name);
      // Its space is free again.
      expect(write(join(runner.warm, 'more'), 'w', 50, 1)).toBe(50 * MIB);
    });

    test('on a disk that is too small: the job is killed before a write is lost', async () => {
      const runner = await warmDisk('330M');
      expect(world.warnings.join()).toContain('it is watched');
      const cgroup = join(CGROUPS, `hearth-test-disk-${process.pid}`);
      mkdirSync(cgroup);
      // The watch of a computer that does much else is late by seconds.
      const job = spawn('sh', [
        '-c',
        'echo $$ >"$1/cgroup.procs" && while :; do dd if=/dev/urandom of="$2" bs=1M count=1 seek=$((i=i+1)) conv=notrunc status=none || exit 1; sync; sleep 0.2; done',
        'sh',
        cgroup,
        join(runner.warm, 'warm'),
      ]);
      const ended = once(job, 'exit');
      const stop = new AbortController();
      try {
        expect(await watchDisk(runner.images, cgroup, stop.signal)).toBe(true);
        expect(await ended).toEqual([null, 'SIGKILL']);
        execFileSync('sync');
        const loop = (await deviceOf(join(runner.images, 'trees', `${treeOf(runner)}.img`))) ?? '';
        expect(await errorsOf(loop)).toBe(0);
      } finally {
        stop.abort();
        await emptyCgroup(cgroup, 120_000);
        await vi.waitFor(() => rmdirSync(cgroup), { timeout: 120_000 });
      }
    });

    test('without the reserve: the tree is found to have lost writes, and is neither saved nor used again', async () => {
      const runner = await warmDisk('450M');
      const loop = (await deviceOf(join(runner.images, 'trees', `${treeOf(runner)}.img`))) ?? '';
      writeFileSync(`/sys/fs/ext4/${loop}/reserved_clusters`, '0');
      execFileSync(
        'sh',
        [
          '-c',
          'dd if=/dev/zero of="$1" bs=1M count=600 status=none; sync; true',
          'sh',
          join(runner.warm, 'new'),
        ],
        { stdio: 'ignore' },
      );
      expect(await treeProblem(runner, treeOf(runner))).toContain('lost writes');
      rmSync(join(runner.warm, 'new'));
      await expect(world.save(runner)).rejects.toThrow(/errors or warnings in the tree/);
    });
  });

  test('a discard waits for what holds the tree, and names it; then the space is free at once', async () => {
    const { maker } = await snapshotOf(50 * MIB);
    await world.restore(maker);
    const tree = await cloneTree(maker);
    const file = openSync(join(tree.point, 'warm/random-0'), 'r');
    const discarding = discardTree(maker, tree.name);
    await expect(discarding).rejects.toThrow(TreeHeld);
    await expect(discarding).rejects.toThrow(`(pid ${process.pid}, open file`);
    closeSync(file);
    await discardTree(maker, tree.name);
    expect(existsSync(tree.point)).toBe(false);
    expect(mountsBelow(join(maker.images, 'trees'))).toHaveLength(1);
    expect(loopsBelow(maker.images)).toHaveLength(1);
  });

  test('what a killed discard still runs on a tree that is not mounted any more does not reach the disk of the instance', async () => {
    const { maker } = await snapshotOf(MIB);
    const tree = await cloneTree(maker);
    const bin = join(world.folder, 'bin');
    const [started, released] = [join(bin, 'started'), join(bin, 'released')];
    mkdirSync(bin);
    const { PATH = '' } = process.env;
    const script = `#!/bin/sh\ntouch ${started}\nuntil [ -e ${released} ]; do sleep 0.02; done\nPATH='${PATH}' exec xfs_io "$@"\n`;
    writeFileSync(join(bin, 'xfs_io'), script, { mode: 0o755 });
    process.env.PATH = `${bin}:${PATH}`;
    const discarding = discardTree(maker, tree.name);
    try {
      await expect.poll(() => existsSync(started), { timeout: 60_000 }).toBe(true);
    } finally {
      process.env.PATH = PATH;
    }
    execFileSync('umount', [tree.point]);
    writeFileSync(released, '');
    await discarding;
    writeFileSync(join(maker.images, 'file'), 'x');
    expect(existsSync(tree.point)).toBe(false);
  });

  test('a discard waits for a program that has copied all mounts, as the start of a job does', async () => {
    const { maker } = await snapshotOf(MIB);
    await world.restore(maker);
    const tree = await cloneTree(maker);
    // It leaves the trees of other programs of this computer.
    const others = `findmnt --raw --noheadings --output TARGET,SOURCE | awk '$2 ~ /loop/ && index($1, "${world.folder}/") != 1 { print $1 }'`;
    const script = `${others} | tac | xargs --no-run-if-empty umount --lazy; echo copied; exec sleep 15`;
    const copy = spawn('unshare', ['--mount', 'sh', '-c', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(copy.stdout, 'data');
    await discardTree(maker, tree.name);
    expect(mountsBelow(join(maker.images, 'trees'))).toHaveLength(1);
    expect(loopsBelow(maker.images)).toHaveLength(1);
  });

  test('a snapshot with device nodes and setuid programs: they exist, and have no effect', async () => {
    const maker = world.instance('maker');
    await world.restore(maker);
    execFileSync('sh', ['-c', 'mknod null c 1 3; cp /bin/sh sh; chmod 4755 sh; chmod 755 .'], {
      cwd: maker.warm,
    });
    await world.saveAndPromote(maker);
    const runner = world.instance('runner');
    expect(await world.restore(runner)).toMatchObject({ outcome: 'restored' });
    expect(statSync(join(runner.warm, 'null')).isCharacterDevice()).toBe(true);
    expect(() => writeFileSync(join(runner.warm, 'null'), 'x')).toThrow('EACCES');
    execFileSync('chmod', ['-R', 'a+x', world.folder, '--silent'], { stdio: 'ignore' });
    const asNobody = [
      '--reuid=65534',
      '--regid=65534',
      '--clear-groups',
      join(runner.warm, 'sh'),
      '-pc',
      'id -u',
    ];
    expect(execFileSync('setpriv', asNobody, { encoding: 'utf8' }).trim()).toBe('65534');
  });

  test('a base image that is damaged on the disk: the runner falls back, and the next restore repairs it', async () => {
    const { id } = await snapshotOf(MIB);
    const runner = world.instance('runner');
    await world.restore(runner);
    const tree = (await cloneTree(runner)).name;
    await discardTree(runner, tree);
    const base = join(runner.images, 'base', `${id}.img`);
    writeFileSync(base, Buffer.alloc(4096), { flag: 'r+' });
    writeFileSync(join(runner.state, 'restored.json'), '{}');
    expect(await world.restore(runner)).toMatchObject({ outcome: 'cold' });
    expect(world.warnings.join()).toContain(`snapshot ${id} is broken: the kernel does not mount the image`);
    expect(await world.restore(runner)).toMatchObject({ outcome: 'restored', id });
  });
});
