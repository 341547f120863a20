import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { makeImage } from '../../infra/runner/src/snapshot/image.ts';
import { cloneTree } from '../../infra/runner/src/snapshot/job-tree.ts';
import type { Directories } from '../../infra/runner/src/snapshot/paths.ts';
import { restoreSnapshot } from '../../infra/runner/src/snapshot/restore.ts';
import { discardTree } from '../../infra/runner/src/snapshot/trees.ts';
import { framesKey, indexKey, manifestKey } from '../../shared/snapshot/layout.ts';
import { compositeChecksum, EXT4_FEATURES, type Manifest } from '../../shared/snapshot/manifest.ts';
import { framesObjectOf, sha256Of } from '../../shared/snapshot/testing/fake-snapshot.ts';
import { bytesOf } from '../../shared/snapshot/units.ts';
import { whyMissing } from '../support/packages.ts';
import { BUCKET, SET, startWorld, type World } from '../support/snapshots.ts';
import { storeImage } from '../support/stored-image.ts';
import { unmountImageFile } from '../support/xfs.ts';

const reason = await whyMissing({ 'mkfs.xfs': 'xfsprogs', mke2fs: 'e2fsprogs', setpriv: 'util-linux' });
if (reason) console.warn(`the tests of hostile snapshots are skipped: ${reason}`);

const IMAGE_BYTES = 64 * 2 ** 20;

let world: World;

/**
 * Publishes an image of a stranger's making as the current snapshot: every digest is right.
 *
 * @param fill gets the mount point of the image
 * @param patch changes the unmounted image
 */
async function publish(
  fill: (point: string) => void,
  patch: (image: string) => void = () => {},
): Promise<string> {
  const id = '20261124T030000Z-00000001';
  const image = join(world.folder, 'hostile.img');
  const point = join(world.folder, 'hostile');
  mkdirSync(point);
  await makeImage(image, IMAGE_BYTES);
  // Who makes a directory by hand has neither checksums nor hashes to compute.
  execFileSync('tune2fs', ['-O', '^metadata_csum,^dir_index', image], { stdio: 'ignore' });
  execFileSync('mount', ['-o', 'loop', image, point]);
  try {
    fill(point);
  } finally {
    unmountImageFile(point, image);
  }
  patch(image);
  const pieces: Uint8Array[] = [];
  const { index } = storeImage(image, (frame) => pieces.push(frame));
  const body = Buffer.concat(pieces);
  const object = framesObjectOf(id, body);
  const manifest: Manifest = {
    formatVersion: 2,
    set: SET,
    id,
    createdAt: '2026-11-24T03:00:00.000Z',
    platform: { os: 'linux', arch: process.arch, ext4Features: [...EXT4_FEATURES] },
    image: { bytes: bytesOf(index.imageUnits) },
    paths: ['warm'],
    e2fsck: { version: '1', exitCode: 0 },
    index: { sha256: sha256Of(index.bytes), bytes: index.bytes.length, records: index.count },
    frames: [object],
    totals: index.totals(),
    tool: { name: 'aw-runner', version: '1' },
  };
  world.server.put(framesKey(SET, id), body);
  const frames = world.server.objects.get(framesKey(SET, id));
  if (frames) frames.sha256 = compositeChecksum(object);
  world.server.put(indexKey(SET, id), index.bytes);
  world.server.put(manifestKey(SET, id), JSON.stringify(manifest));
  world.makeCurrent(id);
  return id;
}

/** A directory of the instance that a link of an image leads to. Not one of this computer: a test that fails may write there. */
function elsewhere(): string {
  const directory = join(world.folder, 'elsewhere');
  mkdirSync(directory, { recursive: true });
  return directory;
}

/** What a program does as the user of jobs. */
function asUser(...argv: string[]): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(
    'setpriv',
    ['--reuid=65534', '--regid=65534', '--clear-groups', ...argv],
    {
      encoding: 'utf8',
    },
  );
  return { status, output: `${stdout}${stderr}`.trim() };
}

/** A shell with the rights of root for everybody, and the disk of the instance as a device. */
function plant(directory: string): void {
  mkdirSync(directory, { recursive: true });
  execFileSync('cp', [existsSync('/bin/dash') ? '/bin/dash' : '/bin/bash', join(directory, 'sh')]);
  chmodSync(join(directory, 'sh'), 0o4755);
  execFileSync('mknod', ['-m', '0666', join(directory, 'zero'), 'c', '1', '5']);
  chmodSync(directory, 0o777);
}

describe.skipIf(reason !== undefined)('a hostile snapshot', () => {
  beforeEach(async () => {
    world = await startWorld();
  });
  afterEach(() => world.close());

  async function honest(): Promise<string> {
    const maker = world.instance('maker');
    await world.restore(maker);
    writeFileSync(join(maker.warm, 'file'), 'honest');
    return (await world.saveAndPromote(maker)).id;
  }

  const restorePerJob = (directories: Directories) =>
    restoreSnapshot({
      s3: world.s3,
      bucket: BUCKET,
      set: SET,
      directories,
      perJob: true,
      warn: (line) => world.warnings.push(line),
    });

  test('gives neither root nor a device, by its own path, by a renamed one, or beside its mount', async () => {
    await publish((point) => {
      plant(join(point, 'warm/d'));
      writeFileSync(join(point, 'warm/secret'), 'of root', { mode: 0o600 });
    });
    chmodSync(world.folder, 0o755);
    const runner = world.instance('runner');
    expect(await world.restore(runner)).toMatchObject({ outcome: 'restored' });
    const d = join(runner.warm, 'd');
    expect(asUser(join(d, 'sh'), '-p', '-c', 'id -u').output).toBe('65534');
    expect(asUser('head', '-c1', join(d, 'zero')).output).toContain('Permission denied');
    expect(asUser('mv', join(d, 'sh'), join(d, 'sh2'))).toEqual({ status: 0, output: '' });
    expect(asUser(join(d, 'sh2'), '-p', '-c', 'id -u').output).toBe('65534');
    for (const place of ['trees', 'base'])
      expect(asUser('ls', join(runner.images, place)).output).toContain('Permission denied');
    expect(asUser('cat', join(runner.warm, 'secret')).output).toContain('Permission denied');
    const base = execFileSync('find', [join(runner.images, 'base'), '-name', '*.img'], {
      encoding: 'utf8',
    }).trim();
    expect(asUser('grep', '-c', 'of root', base).output).toContain('Permission denied');
  });

  test.each<[string, (point: string) => void, RegExp]>([
    [
      'has an upper directory for the root of jobs',
      (point) => plant(join(point, 'root/upper/usr/bin')),
      /"root" beside/,
    ],
    [
      'has a link in the place of the warm directory',
      (point) => symlinkSync(elsewhere(), join(point, 'warm')),
      /at "warm"/,
    ],
    [
      'has a link in the place of a directory of the set',
      (point) => {
        mkdirSync(join(point, 'warm'));
        mkdirSync(join(point, 'paths'));
        symlinkSync(elsewhere(), join(point, 'paths/home:runner:.cargo'));
      },
      /at "home:runner:\.cargo"/,
    ],
    [
      'has a file in the place of the directories of a set',
      (point) => writeFileSync(join(point, 'paths'), ''),
      /at "paths"/,
    ],
  ])('that %s is reported, and the previous one is restored', async (_, fill, text) => {
    const before = await honest();
    const id = await publish(fill);
    for (const [name, restore] of [
      ['shared', world.restore],
      ['clean', restorePerJob],
    ] as const) {
      const runner = world.instance(name);
      expect(await restore(runner)).toMatchObject({
        outcome: 'previous',
        id: before,
        broken: { id, reason: expect.stringMatching(text) },
      });
      if (name === 'shared') expect(readFileSync(join(runner.warm, 'file'), 'utf8')).toBe('honest');
      else await discardTree(runner, (await cloneTree(runner)).name);
    }
  });

  test('that no kernel mounts is reported before the first job', async () => {
    const before = await honest();
    const id = await publish(
      () => {},
      (image) => {
        const file = openSync(image, 'r+');
        // The block of the descriptors of all groups.
        writeSync(file, Buffer.alloc(4096, 0xff), 0, 4096, 4096);
        closeSync(file);
      },
    );
    expect(await restorePerJob(world.instance('clean'))).toMatchObject({
      outcome: 'previous',
      id: before,
      broken: { id, reason: expect.stringContaining('the kernel does not mount the image') },
    });
  });
});

describe.skipIf(reason !== undefined)('a hostile snapshot where nothing can be mounted', () => {
  beforeEach(async () => {
    world = await startWorld({ withDisk: false });
  });
  afterEach(() => world.close());

  /** Replaces a name of a directory by one of the same length. */
  function rename(image: string, from: string, to: string): void {
    const bytes = readFileSync(image);
    const at = bytes.indexOf(from);
    expect(at).toBeGreaterThan(0);
    expect(to).toHaveLength(from.length);
    bytes.write(to, at, 'latin1');
    writeFileSync(image, bytes);
  }

  async function expectRefused(text: RegExp): Promise<void> {
    const outside = join(world.folder, 'outside');
    writeFileSync(outside, 'as it was');
    const result = await world.restore(world.instance('laptop'));
    expect(readFileSync(outside, 'utf8')).toBe('as it was');
    expect(existsSync(join(world.folder, 'escaped'))).toBe(false);
    expect(result).toMatchObject({ outcome: 'cold', broken: { reason: expect.stringMatching(text) } });
  }

  test('does not leave its directory by a name with a slash', async () => {
    const name = '../../../../../escaped';
    await publish(
      (point) => {
        mkdirSync(join(point, 'warm'));
        writeFileSync(join(point, 'warm', 'x'.repeat(name.length)), 'out');
      },
      (image) => rename(image, 'x'.repeat(name.length), name),
    );
    await expectRefused(/e2fsck finds defects|the name/);
  });

  test('does not write through a link that has the name of a file', async () => {
    // All names have one length, so the second entry is in another block, where e2fsck does not compare it with the first one.
    const nameOf = (begin: string) => begin.padEnd(130, 'x');
    await publish(
      (point) => {
        mkdirSync(join(point, 'warm'));
        symlinkSync(join(world.folder, 'outside'), join(point, 'warm', nameOf('one')));
        for (let file = 100; file < 200; file += 1) writeFileSync(join(point, 'warm', nameOf(`${file}`)), '');
        writeFileSync(join(point, 'warm', nameOf('two')), 'PWNED');
      },
      (image) => rename(image, nameOf('two'), nameOf('one')),
    );
    await expectRefused(/two entries "onex/);
  });
});
