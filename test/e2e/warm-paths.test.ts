import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { diffSnapshot } from '../../infra/runner/src/snapshot/diff.ts';
import {
  cloneTree,
  discardTree,
  restoreSnapshot,
  sweepJobTrees,
} from '../../infra/runner/src/snapshot/index.ts';
import { mounts } from '../../infra/runner/src/snapshot/mounts.ts';
import type { Directories } from '../../infra/runner/src/snapshot/paths.ts';
import { isWarm } from '../../infra/runner/src/snapshot/restore.ts';
import { saveSnapshot } from '../../infra/runner/src/snapshot/save.ts';
import { inTree } from '../../infra/runner/src/snapshot/warm-paths.ts';
import { type JobSpace, openJobSpace } from '../support/job-space.ts';
import { whyMissing } from '../support/packages.ts';
import { BUCKET, listing, SET, startWorld, type World } from '../support/snapshots.ts';

const reason = await whyMissing({
  'mkfs.xfs': 'xfsprogs',
  mke2fs: 'e2fsprogs',
  nft: 'nftables',
  ip: 'iproute2',
  getfattr: 'attr',
  getfacl: 'acl',
});
if (reason) console.warn(`the tests of directories of a set are skipped: ${reason}`);

/** No place may be below `/tmp`. */
const PLACES = `/var/tmp/hearth-paths-${process.pid}`;
const place = (name: string) => join(PLACES, name);
const uidOf = (user: string) => Number(execFileSync('id', ['-u', user]));

describe.skipIf(reason !== undefined)('directories of a set', () => {
  let world: World;
  beforeEach(async () => {
    world = await startWorld();
    mkdirSync(PLACES, { recursive: true });
  });
  afterEach(async () => {
    await world.close();
    rmSync(PLACES, { recursive: true, force: true });
  });

  /** An instance with the directories of a set, restored. The instances of one test are one computer: one at a time. */
  async function boot(name: string, paths: readonly string[]): Promise<Directories> {
    const directories = { ...world.instance(name), paths, owner: 'nobody' };
    await world.restore(directories);
    return directories;
  }

  /** Nothing of the instance is bound any more; what its image had is there again. */
  async function end(directories: Directories): Promise<void> {
    await sweepJobTrees(directories, (line) => {
      throw new Error(line);
    });
  }

  test('come back at their places on another instance, with their owners, in one snapshot', async () => {
    const paths = [place('home/.cargo/registry'), place('go/mod'), place('docker')];
    const first = await boot('first', paths);
    const [cargo = '', go = '', docker = ''] = paths;
    for (const path of paths) expect(statSync(path)).toMatchObject({ uid: uidOf('nobody') });
    writeFileSync(join(cargo, 'crate'), randomBytes(200_000));
    writeFileSync(join(go, 'module'), 'm');
    writeFileSync(join(docker, 'layer'), 'l', { mode: 0o600 });
    execFileSync('chown', ['1234:1234', join(docker, 'layer')]);
    writeFileSync(join(first.warm, 'beside'), 'w');
    const before = paths.map(listing);
    const saved = await world.saveAndPromote(first);
    expect(saved.manifest.paths).toEqual(['warm', ...paths]);
    // The tree stays usable after a save.
    expect(paths.map(listing)).toEqual(before);
    await end(first);
    expect(readdirSync(cargo)).toEqual([]);

    const second = await boot('second', paths);
    expect(paths.map(listing)).toEqual(before);
    expect(readFileSync(join(second.warm, 'beside'), 'utf8')).toBe('w');
    // Each one is a mount: links between two of them are refused, as between two file systems.
    expect(() => execFileSync('ln', [join(cargo, 'crate'), join(go, 'crate')], { stdio: 'pipe' })).toThrow(
      /cross-device/,
    );
    execFileSync('ln', [join(cargo, 'crate'), join(cargo, 'same')]);
    const night = await world.saveAndPromote(second);
    expect(night.kind).toBe('difference');
    expect(night.uploadedBytes).toBeLessThan(saved.uploadedBytes * 0.1);
  });

  test('an instance on which only some of them are bound, as after a kill, is not warm, and the next restore binds the others', async () => {
    const paths = [place('go/mod'), place('docker')];
    const first = await boot('first', paths);
    writeFileSync(place('go/mod/module'), 'm');
    const bound = async () => (await mounts()).filter(({ point }) => [first.warm, ...paths].includes(point));
    // An unmount begins with the mount that a restore makes last.
    execFileSync('umount', [(await bound())[2]?.point ?? '']);
    expect(await isWarm(first)).toBe(false);
    await world.restore(first);
    expect(await isWarm(first)).toBe(true);
    expect(await bound()).toHaveLength(3);
    expect(readFileSync(place('go/mod/module'), 'utf8')).toBe('m');
  });

  test('in the directories of agents, what a place needs belongs to the user of jobs', async () => {
    const work = place('agents');
    const paths = [join(work, 'gha/work/app/app')];
    await world.restore({ ...world.instance('first'), paths, owner: 'nobody', ofOwner: [join(work, 'gha')] });
    const owners = ['', 'gha', 'gha/work', 'gha/work/app', 'gha/work/app/app'].map(
      (name) => statSync(join(work, name)).uid,
    );
    const user = uidOf('nobody');
    expect(owners).toEqual([0, 0, user, user, user]);
  });

  test('a directory that is new begins with what the image has there, and one that is not named any more is gone', async () => {
    mkdirSync(place('home/.cargo/bin'), { recursive: true });
    writeFileSync(place('home/.cargo/bin/tool'), 'of the image', { mode: 0o755 });
    execFileSync('chown', ['-R', '1234', place('home/.cargo')]);
    const first = await boot('first', [place('old')]);
    const text = randomBytes(50_000).toString('hex');
    writeFileSync(place('old/file'), text);
    await world.saveAndPromote(first);
    await end(first);

    const second = await boot('second', [place('home/.cargo')]);
    expect(statSync(place('home/.cargo')).uid).toBe(1234);
    expect(readFileSync(place('home/.cargo/bin/tool'), 'utf8')).toBe('of the image');
    writeFileSync(place('home/.cargo/crate'), 'c');
    const saved = await world.saveAndPromote(second);
    expect(saved.manifest.paths).toEqual(['warm', place('home/.cargo')]);
    await end(second);
    expect(existsSync(place('home/.cargo/crate'))).toBe(false);

    const third = await boot('third', [place('home/.cargo'), place('old')]);
    expect(readdirSync(place('home/.cargo')).sort()).toEqual(['bin', 'crate']);
    expect(readdirSync(place('old'))).toEqual([]);
    expect(
      execFileSync('sh', ['-c', `grep -c ${text.slice(0, 64)} "$1" || :`, 'sh', baseOf(third)]).toString(),
    ).toBe('0\n');
  });

  test('the files whose changes a night has sent are listed by directory', async () => {
    const paths = [place('cache'), place('logs')];
    const first = await boot('first', paths);
    for (const path of paths) writeFileSync(join(path, 'kept'), randomBytes(300_000));
    const full = await world.saveAndPromote(first);
    await expect(diffSnapshot(first, full.id)).rejects.toThrow(`the image of ${full.id} is not on this disk`);
    await end(first);
    const second = await boot('second', paths);
    expect(await diffSnapshot(second, full.id)).toMatchObject({ parent: undefined });
    writeFileSync(place('logs/of today'), randomBytes(2_000_000));
    const night = await world.saveAndPromote(second);
    await end(second);
    const third = await boot('third', paths);
    const diff = await diffSnapshot(third, night.id);
    expect(diff).toMatchObject({ parent: full.id, storedBytes: night.uploadedBytes });
    expect(diff.directories[0]?.path).toBe(place('logs'));
    expect(diff.directories[0]?.bytes).toBeGreaterThanOrEqual(2_000_000);
    expect(diff.files[0]).toEqual({ path: place('logs/of today'), bytes: expect.any(Number) });
    expect(diff.files.map(({ path }) => path)).not.toContain(place('cache/kept'));
  });

  test('a directory that does not show the tree any more ends the save by its name', async () => {
    const first = await boot('first', [place('a'), place('b')]);
    writeFileSync(place('a/file'), 'x');
    execFileSync('umount', [place('b')]);
    await expect(world.save(first)).rejects.toThrow(`${place('b')} does not show the tree any more`);
  });

  test('a save by hand copies directories that were not restored, and names one that does not exist', async () => {
    const first = await boot('first', []);
    mkdirSync(place('by-hand'));
    writeFileSync(place('by-hand/file'), 'x');
    const byHand = (paths: string[]) =>
      saveSnapshot({
        s3: world.s3,
        bucket: BUCKET,
        set: SET,
        directories: { ...first, paths },
        toolVersion: '0',
        adopt: true,
      });
    await expect(byHand([place('nowhere')])).rejects.toThrow(`${place('nowhere')} does not exist`);
    const saved = await byHand([place('by-hand')]);
    world.makeCurrent(saved.id);
    await end(first);
    expect(readFileSync(place('by-hand/file'), 'utf8')).toBe('x');
    rmSync(place('by-hand'), { recursive: true });
    await boot('second', [place('by-hand')]);
    expect(readFileSync(place('by-hand/file'), 'utf8')).toBe('x');
  });

  test('the clone of a clean job has the directories of the snapshot, and leaves those of the image to its root', async () => {
    const first = await boot('first', [place('warm')]);
    writeFileSync(place('warm/file'), 'x');
    await world.saveAndPromote(first);
    await end(first);
    mkdirSync(place('image'));
    writeFileSync(place('image/file'), 'of the image');
    const paths = [place('warm'), place('image'), place('new')];
    const runner = { ...world.instance('runner'), paths, owner: 'nobody' };
    await restoreSnapshot({ s3: world.s3, bucket: BUCKET, set: SET, directories: runner, perJob: true });
    const tree = await cloneTree(runner);
    const inside = (name: string) => join(tree.point, inTree(place(name)));
    expect(readFileSync(join(inside('warm'), 'file'), 'utf8')).toBe('x');
    expect(existsSync(inside('image'))).toBe(false);
    expect(statSync(inside('new'))).toMatchObject({ uid: uidOf('nobody') });
    await discardTree(runner, tree.name);
  });

  test('where nothing can be mounted, they are links, and a place with files of its own stays as it is', async () => {
    const plain = await startWorld({ withDisk: false });
    try {
      const first = { ...plain.instance('first'), paths: [place('a'), place('b')] };
      await plain.restore(first);
      for (const name of ['a', 'b']) writeFileSync(place(`${name}/file`), name);
      await plain.saveAndPromote(first);
      for (const name of ['a', 'b']) rmSync(place(name));
      mkdirSync(place('b'));
      writeFileSync(place('b/own'), 'o');
      const second = { ...plain.instance('second'), paths: [place('a'), place('b')] };
      await plain.restore(second);
      expect(readFileSync(place('a/file'), 'utf8')).toBe('a');
      expect(readdirSync(place('b'))).toEqual(['own']);
      expect(plain.warnings.at(-1)).toBe(
        `${place('b')} is not warm: without root it needs a link there, and it exists`,
      );
      // The next one has only what is named.
      const night = { ...second, paths: [place('a')] };
      expect((await plain.saveAndPromote(night)).manifest.paths).toEqual(['warm', place('a')]);
      expect(readdirSync(join(second.images, 'plain/paths'))).toHaveLength(1);
    } finally {
      await plain.close();
    }
  });

  /** The image of the snapshot that an instance has restored. */
  function baseOf({ images }: Directories): string {
    const [name = ''] = readdirSync(join(images, 'base')).filter((each) => each.endsWith('.img'));
    return join(images, 'base', name);
  }
});

describe.skipIf(reason !== undefined)('directories of a set in the root of a job', () => {
  let space: JobSpace;
  beforeEach(async () => {
    mkdirSync(PLACES, { recursive: true });
    space = await openJobSpace(join(PLACES, 'space'));
  });
  afterEach(async () => {
    await space.close();
    rmSync(PLACES, { recursive: true, force: true });
  });

  test('are bound where the tree has them, through links of the image, and a user goes on to write beside them', async () => {
    const home = place('home');
    mkdirSync(home);
    execFileSync('chown', ['nobody', home]);
    mkdirSync(place('disk'));
    execFileSync('ln', ['-s', place('disk'), place('link')]);
    mkdirSync(place('image'));
    writeFileSync(place('image/file'), 'of the image');
    writeFileSync(place('is-a-file'), 'still a file');
    const warm = ['home/.cargo/registry', 'link/cache', 'image', 'is-a-file'].map((name) => ({
      source: inTree(place(name)),
      target: place(name),
      ifPresent: true,
    }));
    space.fill((directory) => {
      for (const { source, target } of warm) {
        if (target === place('image')) continue;
        mkdirSync(join(directory, source), { recursive: true });
        writeFileSync(join(directory, source, 'file'), `warm ${target}\n`);
      }
      execFileSync('chown', ['-R', 'nobody', join(directory, 'paths')]);
    });
    const job = await space.run(
      `cd ${home}/.cargo && cat registry/file && touch lock registry/new && stat -c %U . && cat ${place('link/cache/file')} ${place('image/file')} && echo && cat ${place('is-a-file')}`,
      { root: { warm, hidden: [] } },
    );
    expect(job).toEqual({
      code: 0,
      output: `warm ${home}/.cargo/registry\nnobody\nwarm ${place('link/cache')}\nof the image\nstill a file`,
    });
    expect(readdirSync(home)).toEqual([]);
  });
});
