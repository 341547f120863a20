import { execFileSync, spawn } from 'node:child_process';
import { hash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  appendFileSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { zstdDecompressSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { changedUnits, extentsOf } from '../../infra/runner/src/snapshot/extents.ts';
import { TreeHeld } from '../../infra/runner/src/snapshot/mounts.ts';
import { isWarm, restoreSnapshot } from '../../infra/runner/src/snapshot/restore.ts';
import { NothingToSave } from '../../infra/runner/src/snapshot/save.ts';
import { markedUnits } from '../../infra/runner/src/snapshot/save-plan.ts';
import { openIndex } from '../../shared/snapshot/frame-index.ts';
import { framesKey, indexKey, manifestKey } from '../../shared/snapshot/layout.ts';
import type { Manifest } from '../../shared/snapshot/manifest.ts';
import { UNIT_BYTES, unitsOf } from '../../shared/snapshot/units.ts';
import { whyMissing } from '../support/packages.ts';
import { BUCKET, expectSame, listing, SET, startWorld, type World } from '../support/snapshots.ts';
import { loopsBelow, mountsBelow } from '../support/xfs.ts';

const reason = await whyMissing({
  'mkfs.xfs': 'xfsprogs',
  mke2fs: 'e2fsprogs',
  setfattr: 'attr',
  setfacl: 'acl',
});
if (reason) console.warn(`the tests of snapshots are skipped: ${reason}`);

describe.skipIf(reason !== undefined)('snapshots', () => {
  let world: World;
  beforeEach(async () => {
    world = await startWorld();
  });
  afterEach(() => world.close());

  const shell = (cwd: string, script: string) =>
    execFileSync('bash', ['-euc', script], { cwd, encoding: 'utf8' });

  /** An instance with some 2,000 small files and one of 8 MB in its warm directory. */
  async function maker(name = 'maker') {
    const directories = world.instance(name);
    await world.restore(directories);
    const { warm } = directories;
    for (let folder = 0; folder < 20; folder += 1) {
      mkdirSync(join(warm, `folder-${folder}`));
      for (let file = 0; file < 100; file += 1) {
        writeFileSync(join(warm, `folder-${folder}/file-${file}`), `${folder} ${file}\n`.repeat(200 + file));
      }
    }
    writeFileSync(join(warm, 'big'), randomBytes(8_000_000));
    return directories;
  }

  test('another instance gets the same tree, and the next save sends only the changes', async () => {
    const first = await maker();
    expect(world.warnings).toEqual(['set default has no snapshot yet']);
    const full = await world.saveAndPromote(first);
    expect(full.kind).toBe('full');
    expect(await isWarm(first)).toBe(true);

    const second = world.instance('second');
    expect(await world.restore(second)).toMatchObject({ outcome: 'restored', id: full.id });
    expectSame(listing(second.warm), listing(first.warm));
    rmSync(join(second.warm, 'folder-3'), { recursive: true });
    writeFileSync(join(second.warm, 'new'), 'file');
    const next = await world.saveAndPromote(second);
    expect(next).toMatchObject({ kind: 'difference', manifest: { parent: full.id } });
    expect(next.uploadedBytes).toBeLessThan(full.uploadedBytes * 0.05);

    const third = world.instance('third');
    expect(await world.restore(third)).toMatchObject({ outcome: 'restored', id: next.id });
    expectSame(listing(third.warm), listing(second.warm));
  });

  test('whatever a file system holds is the same afterwards', async () => {
    const first = world.instance('first');
    await world.restore(first);
    shell(
      first.warm,
      `echo x >file; ln file hard; ln -s file soft; ln -s nowhere "$(printf 'l%.0s' {1..300})" 2>/dev/null || true
       ln -s "$(printf 't%.0s' {1..300})" long; mkfifo pipe; printf x >"$(printf 'not-utf8-\\xff\\xfe')"
       printf x >"$(printf 'line\\nand "quotes" \\\\ and %%')"; mkdir -m 1777 sticky; mkdir -m 0500 closed
       for t in 1901-12-14 1960-01-01 1969-12-31T23:59:59.999999999 2038-01-20 2107-01-01 2200-05-05T05:05:05.123456789
       do touch -d "$t" "at-$t"; done
       setfattr -n user.hearth -v 0x7700ff file; setfacl -m u:12345:rw,g::r file; setfacl -d -m u:12345:rwx sticky
       truncate -s 5G sparse; printf end | dd of=sparse bs=1 seek=5368709110 conv=notrunc status=none
       chown 4000000000:4000000001 soft -h; mkdir many; cd many; seq 5000 | xargs touch; cd ..
       touch frozen; chattr +i frozen`,
    );
    const expected = listing(first.warm);
    const saved = await world.saveAndPromote(first);
    expect(saved.uploadedBytes).toBeLessThan(2_000_000);
    const second = world.instance('second');
    expect(await world.restore(second)).toMatchObject({ outcome: 'restored' });
    expectSame(listing(second.warm), expected);
    expect(shell(second.warm, 'lsattr frozen')).toContain('i');
    expect(shell(second.warm, 'du -k sparse').split('\t')[0]).toBe('4');
  });

  test.each([
    ['touch', 'find . -type f -exec touch {} +'],
    ['chown -R', 'chown -R 1234:1234 .'],
    ['chmod -R', 'chmod -R g+w .'],
    ['hard links', 'mkdir links; for d in folder-*; do mkdir links/$d; ln $d/* links/$d; done'],
  ])('%s of everything: the next snapshot has less than 2 %% of the bytes', async (_, script) => {
    const first = world.instance('first');
    await world.restore(first);
    for (let folder = 0; folder < 20; folder += 1) {
      mkdirSync(join(first.warm, `folder-${folder}`));
      for (let file = 0; file < 100; file += 1)
        writeFileSync(join(first.warm, `folder-${folder}/${file}`), randomBytes(40_000));
    }
    const full = await world.saveAndPromote(first);
    await world.restore(first);
    shell(first.warm, script);
    const next = await world.saveAndPromote(first);
    expect(next.uploadedBytes).toBeLessThan(full.uploadedBytes * 0.02);
    const second = world.instance('second');
    await world.restore(second);
    expectSame(listing(second.warm), listing(first.warm));
  });

  test('an instance with an older snapshot fetches the difference, also where files became zeros', async () => {
    const first = await maker();
    const full = await world.saveAndPromote(first);
    const runner = world.instance('runner');
    await world.restore(runner);
    writeFileSync(join(runner.warm, 'of-a-job'), 'x');

    await world.restore(first);
    rmSync(join(first.warm, 'big'));
    writeFileSync(join(first.warm, 'zeros'), Buffer.alloc(4_000_000));
    writeFileSync(join(first.warm, 'new'), randomBytes(100_000));
    await world.saveAndPromote(first);
    const again = await world.restore(runner);
    expect(again.outcome).toBe('restored');
    expect(again.fetchedBytes).toBeLessThan(full.uploadedBytes * 0.1);
    expectSame(listing(runner.warm), listing(first.warm));
    const fresh = world.instance('fresh');
    await world.restore(fresh);
    expect(await contentOf(runner.images)).toEqual(await contentOf(fresh.images));
  });

  /** The units of the image on a disk that are not zero, as their number and sha256. */
  async function contentOf(images: string): Promise<string[]> {
    const [name = ''] = readdirSync(join(images, 'base')).filter((each) => each.endsWith('.img'));
    const file = join(images, 'base', name);
    const units = changedUnits(undefined, await extentsOf(file), statSync(file).size);
    const image = openSync(file, 'r');
    const content = [...markedUnits(units)].flatMap((unit) => {
      const bytes = Buffer.alloc(UNIT_BYTES);
      readSync(image, bytes, 0, bytes.length, unit * UNIT_BYTES);
      return bytes.some((byte) => byte !== 0) ? `${unit} ${hash('sha256', bytes, 'hex')}` : [];
    });
    closeSync(image);
    return content;
  }

  test('nothing that was deleted or lies outside the saved directories is in a snapshot', async () => {
    const first = await maker();
    const point = join(
      first.images,
      'trees',
      readdirSync(join(first.images, 'trees')).find((n) => !n.includes('.')) ?? '',
    );
    const secret = 'correct-horse-battery-staple';
    mkdirSync(join(point, 'home/runner'), { recursive: true });
    mkdirSync(join(point, 'tmp'));
    shell(
      point,
      `echo '${secret}' >home/runner/.netrc; yes '${secret}' | head -c 300000 >tmp/log
       ln -s '/${secret}' tmp/link; mkdir 'tmp/${secret}'; touch tmp/attribute; setfattr -n user.token -v '${secret}' tmp/attribute
       printf '%s' '${secret}' >"$(printf 'tmp/odd-\\xff')"
       yes '${secret}' | head -c 300000 >warm/deleted; sync; rm warm/deleted; ln -s '${secret}' warm/gone; rm warm/gone
       mkdir 'warm/dir-${secret}'; sync; rmdir 'warm/dir-${secret}'`,
    );
    const saved = await world.saveAndPromote(first);
    const image = imageFrom(saved.manifest);
    expect(image.includes('folder-3')).toBe(true);
    expect(image.includes(secret)).toBe(false);
    expect(readdirSync(point).sort()).toEqual(['lost+found', 'paths', 'warm']);
    expect(readdirSync(join(point, 'paths'))).toEqual([]);
  });

  /** All units of a snapshot, by its records alone. */
  function imageFrom(manifest: Manifest): Buffer {
    const stored = (key: string) => world.server.objects.get(key)?.body ?? Buffer.alloc(0);
    const index = openIndex('index', Buffer.from(stored(indexKey(SET, manifest.id))), {
      imageUnits: unitsOf(manifest.image.bytes),
      objects: manifest.frames,
    });
    const units = [...index.records()].map((record) => {
      const object = stored(framesKey(SET, manifest.frames[record.object]?.id ?? ''));
      return zstdDecompressSync(object.subarray(record.offset, record.offset + record.storedBytes));
    });
    return Buffer.concat(units);
  }

  test('a broken snapshot is reported, and the previous one serves', async () => {
    const first = await maker();
    const good = await world.saveAndPromote(first);
    await world.restore(first);
    writeFileSync(join(first.warm, 'new'), randomBytes(300_000));
    const bad = await world.saveAndPromote(first);
    const frames = world.server.objects.get(framesKey(SET, bad.id));
    if (!frames) throw new Error('no frames');
    const at = frames.body.length >> 1;
    frames.body.writeUInt8(frames.body.readUInt8(at) ^ 1, at);
    const runner = world.instance('runner');
    const result = await world.restore(runner);
    expect(result).toMatchObject({ outcome: 'previous', id: good.id, broken: { id: bad.id } });
    expect(result.broken?.reason).toContain('sha256');
    expect(result.broken?.frame).toEqual({ object: bad.id, offset: expect.any(Number) });
    expect(existsSync(join(runner.warm, 'new'))).toBe(false);
    expect(readdirSync(join(runner.images, 'base')).filter((name) => name.startsWith(bad.id))).toEqual([]);
  });

  test.each<[string, (manifest: Manifest) => object]>([
    ['of another format', (manifest) => ({ ...manifest, formatVersion: 3, frames: 'elsewhere' })],
    [
      'for another architecture',
      (manifest) => ({ ...manifest, platform: { ...manifest.platform, arch: 'arm64' } }),
    ],
    [
      'with a feature that this version does not know',
      (manifest) => ({ ...manifest, platform: { ...manifest.platform, ext4Features: ['casefold'] } }),
    ],
  ])('a snapshot %s is passed over and not reported', async (_, change) => {
    const first = await maker();
    const { id, manifest } = await world.saveAndPromote(first);
    world.pointer = { ...world.pointer, current: null };
    world.server.put(manifestKey(SET, id), JSON.stringify(change(manifest)));
    world.makeCurrent(id);
    const result = await world.restore(world.instance('runner'));
    expect(result).toMatchObject({ outcome: 'cold' });
    expect(result.broken).toBeUndefined();
    expect(world.warnings.join()).toContain('is not for this instance');
  });

  test('a manifest that the pointer does not vouch for is broken', async () => {
    const { id, manifest } = await world.saveAndPromote(await maker());
    world.server.put(manifestKey(SET, id), JSON.stringify({ ...manifest, commit: 'another' }));
    expect(await world.restore(world.instance('runner'))).toMatchObject({ outcome: 'cold', broken: { id } });
  });

  test('after a reboot the tree is as it was; one that was not unmounted is thrown away', async () => {
    const first = await maker();
    const { id } = await world.saveAndPromote(first);
    const runner = world.instance('runner');
    await world.restore(runner);
    appendFileSync(join(runner.warm, 'big'), 'of a job');
    const reboot = () => {
      for (const point of mountsBelow(join(world.folder, 'disk/runner')).reverse())
        execFileSync('umount', [point]);
    };
    reboot();
    expect(await isWarm(runner)).toBe(false);
    expect(await world.restore(runner)).toMatchObject({ outcome: 'restored', id, fetchedBytes: 0 });
    expect(statSync(join(runner.warm, 'big')).size).toBe(8_000_008);

    // A crash: the file has what it had while it was mounted.
    const trees = join(runner.images, 'trees');
    const [image = ''] = readdirSync(trees).filter((name) => name.endsWith('.img'));
    execFileSync('cp', ['--reflink=always', join(trees, image), join(trees, 'crashed')]);
    reboot();
    renameSync(join(trees, 'crashed'), join(trees, image));
    expect(await world.restore(runner)).toMatchObject({ outcome: 'restored', id, fetchedBytes: 0 });
    expect(statSync(join(runner.warm, 'big')).size).toBe(8_000_000);
  });

  test('a tree that the kernel still unmounts, after the program that asked for it was killed, is kept', async () => {
    const { id } = await world.saveAndPromote(await maker());
    const runner = world.instance('runner');
    await world.restore(runner);
    // What the unmount writes back takes longer than a restore needs to find the tree.
    for (let file = 0; file < 8; file += 1)
      writeFileSync(join(runner.warm, `of-a-run-${file}`), Buffer.alloc(200_000_000, file + 1));
    const [point = '', warm = ''] = mountsBelow(join(world.folder, 'disk/runner'));
    execFileSync('umount', [warm]);
    const umount = spawn('umount', [point]);
    const ended = once(umount, 'exit');
    while (mountsBelow(point).length > 0 && umount.exitCode === null) await sleep(1);
    umount.kill('SIGKILL');
    if (loopsBelow(dirname(point)).length === 0)
      console.warn('the unmount ended before the restore began: this run of the test shows nothing');
    expect(await world.restore(runner)).toMatchObject({ outcome: 'restored', id, fetchedBytes: 0 });
    await ended;
    for (let file = 0; file < 8; file += 1)
      expect(statSync(join(runner.warm, `of-a-run-${file}`)).size).toBe(200_000_000);
    expect(mountsBelow(join(world.folder, 'disk/runner'))).toHaveLength(2);
    expect(loopsBelow(join(world.folder, 'disk/runner'))).toHaveLength(1);
  });

  test('a loop device without a mount, as between the two of a killed program, keeps no instance from the next snapshot', async () => {
    const first = await maker();
    await world.saveAndPromote(first);
    const runner = world.instance('runner');
    await world.restore(runner);
    writeFileSync(join(first.warm, 'new'), randomBytes(1_000_000));
    const { id } = await world.saveAndPromote(first);
    const trees = join(runner.images, 'trees');
    const [image = ''] = readdirSync(trees).filter((name) => name.endsWith('.img'));
    for (const point of mountsBelow(join(world.folder, 'disk/runner')).reverse())
      execFileSync('umount', [point]);
    await expect.poll(() => loopsBelow(trees)).toEqual([]);
    execFileSync('losetup', ['--find', join(trees, image)]);
    expect(await world.restore(runner)).toMatchObject({ outcome: 'restored', id });
    expect(mountsBelow(join(world.folder, 'disk/runner'))).toHaveLength(2);
    expect(loopsBelow(trees)).toHaveLength(1);
  });

  test('two restores at once: one waits, both are warm, and nothing is mounted twice', async () => {
    const { id } = await world.saveAndPromote(await maker());
    const runner = world.instance('runner');
    const results = await Promise.all([world.restore(runner), world.restore(runner)]);
    for (const result of results) expect(result).toMatchObject({ outcome: 'restored', id });
    expect(mountsBelow(join(world.folder, 'disk/runner'))).toHaveLength(2);
    expect(loopsBelow(join(world.folder, 'disk/runner'))).toHaveLength(1);
  });

  test.each([
    ['a link', 'linked', ''],
    ['odd characters', 'a b,c:d\\e"f\'g', ''],
    ['a slash at the end', 'plain', '/'],
  ])('directories with %s in their path work, and stay as they are', async (_, name, slash) => {
    const { id } = await world.saveAndPromote(await maker());
    const real = join(world.folder, 'disk', 'elsewhere');
    mkdirSync(real);
    const base = join(world.folder, 'disk', name);
    if (name === 'linked') symlinkSync(real, base);
    else mkdirSync(base);
    const directories = world.instance('unused');
    const odd = {
      images: join(base, 'images') + slash,
      warm: join(base, 'warm') + slash,
      state: join(base, 'state'),
    };
    Object.assign(directories, odd);
    expect(await world.restore(directories)).toMatchObject({ outcome: 'restored', id });
    expect(await isWarm(directories)).toBe(true);
    writeFileSync(join(odd.warm, 'of-a-job'), 'x');
    expect(await world.restore(directories)).toMatchObject({ outcome: 'restored', fetchedBytes: 0 });
    expect(readFileSync(join(odd.warm, 'of-a-job'), 'utf8')).toBe('x');
    expect((await world.save(directories)).kind).toBe('difference');
  });

  describe('a save is refused, and publishes nothing,', () => {
    async function refused(
      directories: Parameters<World['save']>[0],
      problem: RegExp,
      kind: unknown = NothingToSave,
    ) {
      const before = [...world.server.objects.keys()].sort();
      const error = await world.save(directories).then(
        () => undefined,
        (thrown: Error) => thrown,
      );
      expect(error?.message).toMatch(problem);
      expect(error).toBeInstanceOf(kind);
      expect([...world.server.objects.keys()].sort()).toEqual(before);
    }

    test('if the tree is not mounted any more', async () => {
      await world.saveAndPromote(await maker());
      const runner = world.instance('runner');
      await world.restore(runner);
      execFileSync('umount', [runner.warm]);
      await refused(runner, /not mounted any more; `aw-runner snapshot restore`/);
    });

    test('if it has lost all files, also on a cold instance', async () => {
      const { id } = await world.saveAndPromote(await maker());
      const runner = world.instance('runner');
      await world.restore(runner);
      for (const name of readdirSync(runner.warm)) rmSync(join(runner.warm, name), { recursive: true });
      await refused(runner, new RegExp(`is empty, and snapshot ${id} is not`));
      const cold = world.instance('cold');
      world.server.fault = () => ({ status: 403, code: 'AccessDenied' });
      expect(await world.restore(cold)).toMatchObject({ outcome: 'cold' });
      world.server.fault = undefined;
      await refused(cold, new RegExp(`is empty, and snapshot ${id} is not`));
    });

    test('if nothing was restored here', async () => {
      await refused(world.instance('runner'), /nothing was restored here/);
    });

    test('if a process has a file open in it, which is named', async () => {
      const runner = await maker();
      const child = spawn('sleep', ['3600'], { cwd: join(runner.warm, 'folder-1') });
      await once(child, 'spawn');
      await refused(runner, new RegExp(`held by sleep \\(pid ${child.pid}, cwd\\)`), TreeHeld);
      child.kill();
      await once(child, 'exit');
      expect((await world.save(runner)).kind).toBe('full');
    });

    test('if something is mounted in it, which is named', async () => {
      const runner = await maker();
      const point = join(runner.warm, 'folder-1');
      execFileSync('mount', ['-t', 'tmpfs', 'hearth-test', point]);
      await refused(runner, new RegExp(`held by .*${point}`), TreeHeld);
      execFileSync('umount', [point]);
      expect((await world.save(runner)).kind).toBe('full');
    });
  });

  test('a runner group without a set gets an empty tree', async () => {
    const directories = world.instance('none');
    const { s3 } = world;
    const result = await restoreSnapshot({ s3, bucket: BUCKET, set: undefined, directories });
    expect(result).toMatchObject({ outcome: 'none' });
    expect(readdirSync(directories.warm)).toEqual([]);
    expect(mountsBelow(directories.warm)).toEqual([directories.warm]);
  });
});
