import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { S3Client } from '@aws-sdk/client-s3';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { removeEverything } from '../../infra/runner/src/snapshot/clean-up.ts';
import { extractLayers } from '../../infra/runner/src/snapshot/extract.ts';
import { type Directories, snapshotPaths } from '../../infra/runner/src/snapshot/paths.ts';
import { restoreSnapshot } from '../../infra/runner/src/snapshot/restore.ts';
import { NothingToSave, saveSnapshot } from '../../infra/runner/src/snapshot/save.ts';
import { emptyPointer, promote } from '../../shared/snapshot/format-1/pointer.ts';
import { layerKey, pointerKey } from '../../shared/snapshot/layout.ts';
import { localS3 } from '../support/s3-client.ts';
import { type S3Server, startS3Server } from '../support/s3-server.ts';

const isRoot = process.getuid?.() === 0;
const SET = 'default';
if (!isRoot) console.warn('faults of disks, mounts and hostile layers are skipped: they need root, to mount');

let server: S3Server;
let s3: S3Client;
let folder: string;
let instances: Directories[];
let mounted: string[];

/** A runner's disk; with a size, a small one of its own. */
function instance(name: string, bytes?: number): Directories {
  const base = join(folder, name);
  const directories = { layers: join(base, 'layers'), warm: join(base, 'warm'), state: join(base, 'state') };
  mkdirSync(base);
  if (bytes !== undefined) {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'hearth-small', base]);
    mounted.push(base);
  }
  instances.push(directories);
  return directories;
}

const clientOf = (requestHandler: { connectionTimeout?: number; socketTimeout?: number }) =>
  localS3(server.url, { maxAttempts: 1, requestHandler });

const restore = (directories: Directories, change: { signal?: AbortSignal; warnings?: string[] } = {}) =>
  restoreSnapshot({
    s3,
    bucket: 'b',
    set: SET,
    directories,
    warn: (line) => change.warnings?.push(line),
    ...(change.signal && { signal: change.signal }),
  });

async function saveAndPromote(directories: Directories) {
  const saved = await saveSnapshot({ s3, bucket: 'b', set: SET, directories, toolVersion: '0' });
  const at = new Date();
  server.put(pointerKey(SET), JSON.stringify(promote(emptyPointer(at), saved.id, at)));
  return saved;
}

/** A snapshot of so many bytes that no compression makes smaller. */
async function snapshotOf(bytes: number) {
  const maker = instance('maker');
  await restore(maker);
  writeFileSync(join(maker.warm, 'random'), randomBytes(bytes));
  return saveAndPromote(maker);
}

beforeEach(async () => {
  server = await startS3Server();
  s3 = clientOf({});
  folder = await mkdtemp(join(tmpdir(), 'hearth-faults-'));
  instances = [];
  mounted = [];
});

afterEach(async () => {
  for (const directories of instances) await removeEverything(directories);
  for (const path of mounted) execFileSync('umount', [path]);
  await rm(folder, { recursive: true, force: true });
  await server.close();
});

describe.skipIf(!isRoot)('a disk that is full', () => {
  test('while a snapshot is fetched: the runner boots cold, with room for its jobs', async () => {
    await snapshotOf(6_000_000);
    const small = instance('small', 4_000_000);
    const warnings: string[] = [];
    expect(await restore(small, { warnings })).toMatchObject({ outcome: 'cold' });
    expect(warnings.join()).toContain('ENOSPC');
    // What was fetched of it would only stand in the way.
    expect(readdirSync(small.layers).filter((name) => /\.(sqfs|part)$/.test(name))).toEqual([]);
    writeFileSync(join(small.warm, 'job'), randomBytes(1_000_000));
  });

  test('while a snapshot is packed: the run fails, and leaves no snapshot and no half-packed file', async () => {
    const small = instance('small', 8_000_000);
    await restore(small);
    writeFileSync(join(small.warm, 'random'), randomBytes(5_000_000));
    await expect(saveAndPromote(small)).rejects.toThrow(/mksquashfs/);
    expect([...server.objects.keys()]).toEqual([]);
    expect(existsSync(`${small.warm}.overlay/packed.sqfs`)).toBe(false);
    expect(readFileSync(join(small.warm, 'random')).length).toBe(5_000_000);
  });
});

describe.skipIf(!isRoot)('an S3 that is slow', () => {
  const patience = (milliseconds: number) => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(new Error('the restore takes too long')), milliseconds);
    return controller.signal;
  };

  test.each<[string, () => void]>([
    ['does not answer at all', () => (server.fault = () => ({ delayMs: 60_000 }))],
    [
      'goes silent in the middle of a layer',
      () => (server.fault = ({ range }) => (range ? { stallAfter: 1000 } : undefined)),
    ],
  ])('%s: the runner boots cold when its time is up', async (_, begin) => {
    await snapshotOf(100_000);
    begin();
    const runner = instance('runner');
    const began = performance.now();
    const warnings: string[] = [];
    expect(await restore(runner, { signal: patience(300), warnings })).toMatchObject({ outcome: 'cold' });
    expect(performance.now() - began).toBeLessThan(5_000);
    expect(warnings.join()).toContain('the restore takes too long');
    // And nothing of the late restore turns up over a job's files.
    writeFileSync(join(runner.warm, 'job'), 'at work');
    server.fault = undefined;
    await sleep(300);
    expect(readdirSync(runner.warm)).toEqual(['job']);
  });

  test('goes silent without a time limit: the connection is closed, and another one is opened', async () => {
    const { id } = await snapshotOf(100_000);
    let silences = 1;
    server.fault = ({ range }) => (range && silences-- > 0 ? { stallAfter: 1000 } : undefined);
    const impatient = clientOf({ connectionTimeout: 5_000, socketTimeout: 300 });
    const directories = instance('runner');
    const restored = await restoreSnapshot({ s3: impatient, bucket: 'b', set: SET, directories });
    expect(restored).toMatchObject({ outcome: 'restored', id });
  });

  test('is slow within the time limit: the snapshot is restored', async () => {
    const { id } = await snapshotOf(100_000);
    server.fault = ({ range }) => (range ? { delayMs: 200 } : undefined);
    expect(await restore(instance('runner'), { signal: patience(20_000) })).toMatchObject({
      outcome: 'restored',
      id,
    });
  });
});

describe('an S3 that does not take a save', () => {
  test.each([
    ['is throttled', 503, 'SlowDown'],
    ['refuses', 403, 'AccessDenied'],
    ['has lost its bucket', 404, 'NoSuchBucket'],
    ['finds other bytes than were sent', 400, 'BadDigest'],
  ])(
    '%s: the run fails with the reason, leaves nothing half sent, and the snapshot before serves',
    async (_, status, code) => {
      const before = await snapshotOf(1000);
      const maker = instance('second');
      await restore(maker);
      writeFileSync(join(maker.warm, 'more'), randomBytes(40_000_000));
      const keys = [...server.objects.keys()].sort();
      server.fault = ({ query }) => (query.get('partNumber') === '2' ? { status, code } : undefined);
      await expect(saveAndPromote(maker)).rejects.toMatchObject({ name: code });
      server.fault = undefined;
      expect([...server.objects.keys()].sort()).toEqual(keys);
      const aborts = server.calls.filter(({ method, query }) => method === 'DELETE' && query.has('uploadId'));
      expect(aborts).toHaveLength(1);
      expect(existsSync(`${maker.warm}.overlay/packed.sqfs`)).toBe(false);
      expect(await restore(instance('runner'))).toMatchObject({ outcome: 'restored', id: before.id });
    },
  );
});

test('an S3 that throttles only for a moment: the snapshot is restored', async () => {
  const { id } = await snapshotOf(100_000);
  let refusals = 2;
  server.fault = ({ range }) => (range && refusals-- > 0 ? { status: 503, code: 'SlowDown' } : undefined);
  expect(await restore(instance('runner'))).toMatchObject({ outcome: 'restored', id });
});

describe.skipIf(!isRoot)('a hostile layer', () => {
  /** A layer of entries that mksquashfs creates from definitions, with the sizes and checksums of a manifest. */
  async function planted(pseudo: string[], rename?: [string, string]) {
    const empty = join(folder, 'empty');
    const file = join(folder, 'hostile.sqfs');
    mkdirSync(empty);
    // Nothing compressed, so that names can be found in its bytes.
    const plain = ['-noI', '-noD', '-noF', '-noX', '-no-xattrs', '-noappend', '-no-progress'];
    execFileSync('mksquashfs', [empty, file, ...plain, ...pseudo.flatMap((line) => ['-p', line])], {
      stdio: 'pipe',
    });
    const bytes = readFileSync(file);
    if (rename) {
      const at = bytes.indexOf(rename[0]);
      expect(at).toBeGreaterThan(0);
      expect(rename[1]).toHaveLength(rename[0].length);
      bytes.write(rename[1], at, 'latin1');
      writeFileSync(file, bytes);
    }
    return { file, bytes };
  }

  /** Puts a layer in the place of an honest snapshot's, with a manifest that vouches for it. */
  async function asSnapshot(bytes: Buffer) {
    const { createHash } = await import('node:crypto');
    const honest = await snapshotOf(1000);
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    const [layer] = honest.manifest.layers;
    const key = [...server.objects.keys()].find((name) => name.endsWith('manifest.json')) ?? '';
    const hostile = { ...layer, sha256, bytes: bytes.length, chunks: [sha256] };
    server.put(key, JSON.stringify({ ...honest.manifest, layers: [hostile] }));
    server.put(layerKey(SET, sha256), bytes);
    const described = { ...hostile, overlayOnly: false, files: 1, contentBytes: 1, chunkBytes: 16 * 2 ** 20 };
    return { layer: described, id: honest.id };
  }

  test('has device nodes and setuid programs: they exist, and have no effect', async () => {
    const { bytes } = await planted(['null c 666 0 0 1 3', 'sh f 4755 0 0 cat /bin/sh']);
    await asSnapshot(bytes);
    const runner = instance('runner');
    expect(await restore(runner)).toMatchObject({ outcome: 'restored' });
    expect(statSync(join(runner.warm, 'null')).isCharacterDevice()).toBe(true);
    expect(() => writeFileSync(join(runner.warm, 'null'), 'x')).toThrow('EACCES');
    const asNobody = (program: string) =>
      execFileSync('setpriv', ['--reuid=65534', '--regid=65534', '--clear-groups', program, '-pc', 'id -u'], {
        encoding: 'utf8',
      }).trim();
    expect(asNobody(join(runner.warm, 'sh'))).toBe('65534');
    const table = readFileSync('/proc/self/mounts', 'utf8').split('\n');
    const ours = table.filter((line) => line.includes(folder));
    expect(ours.length).toBeGreaterThan(1);
    for (const line of ours) expect(line).toMatch(/nosuid,nodev/);
  });

  test.each([
    ['leads out of the tree', 'xxxxxxxxxxxxxxx', '../../../escaped'.slice(0, 15)],
    ['has an absolute name', 'xxxxxxxxxxxxxxx', '/tmp/hearth-esc'],
  ])('%s: nothing is written there, mounted or extracted', async (_, name, evil) => {
    const { bytes } = await planted([`${name} f 644 0 0 echo gotcha`], [name, evil]);
    const { layer, id } = await asSnapshot(bytes);
    const runner = instance('runner');
    const result = await restore(runner);
    expect(result).toMatchObject({ outcome: 'cold', broken: { id } });
    expect(readdirSync(runner.warm)).toEqual([]);

    const extracted = instance('extracted');
    mkdirSync(extracted.layers);
    writeFileSync(snapshotPaths(extracted).layerFile(layer.sha256), bytes);
    await extractLayers([layer], snapshotPaths(extracted), extracted.warm).catch(() => undefined);
    expect(existsSync('/tmp/hearth-esc')).toBe(false);
    const outside = execFileSync('find', [folder, '-name', '*escape*', '-not', '-path', '*/warm/*'], {
      encoding: 'utf8',
    });
    expect(outside).toBe('');
  });
});

describe.skipIf(!isRoot)('a tree that', () => {
  test('changes while it is saved: the snapshot is whole, and files that do not change are complete', async () => {
    const maker = instance('maker');
    await restore(maker);
    for (let index = 0; index < 300; index += 1)
      writeFileSync(join(maker.warm, `steady-${index}`), `${index}`);
    let changing = true;
    const job = (async () => {
      for (let turn = 0; changing; turn += 1) {
        writeFileSync(join(maker.warm, `busy-${turn % 50}`), randomBytes(20_000));
        await sleep(1);
      }
    })();
    const saved = await saveAndPromote(maker);
    changing = false;
    await job;
    const runner = instance('runner');
    expect(await restore(runner)).toMatchObject({ outcome: 'restored', id: saved.id });
    for (let index = 0; index < 300; index += 1) {
      expect(readFileSync(join(runner.warm, `steady-${index}`), 'utf8')).toBe(`${index}`);
    }
    for (const name of readdirSync(runner.warm)) readFileSync(join(runner.warm, name));
  });

  test('has extended attributes keeps them', async () => {
    const maker = instance('maker');
    await restore(maker);
    const script = 'import os,sys; os.setxattr(sys.argv[1], "user.hearth", b"warm\\x00\\xff")';
    writeFileSync(join(maker.warm, 'file'), 'x');
    execFileSync('python3', ['-c', script, join(maker.warm, 'file')]);
    await saveAndPromote(maker);
    const runner = instance('runner');
    await restore(runner);
    const read = 'import os,sys; sys.stdout.buffer.write(os.getxattr(sys.argv[1], "user.hearth"))';
    expect(execFileSync('python3', ['-c', read, join(runner.warm, 'file')])).toEqual(
      Buffer.from('warm\0\xff', 'latin1'),
    );
  });
});

describe.skipIf(!isRoot)('a warm tree that is not what was restored', () => {
  test('because it is not mounted any more: the save is refused, and nothing is published', async () => {
    await snapshotOf(1000);
    const maker = instance('second');
    await restore(maker);
    execFileSync('umount', [maker.warm]);
    const keys = [...server.objects.keys()].sort();
    await expect(saveAndPromote(maker)).rejects.toThrow(/not mounted any more; `aw-runner snapshot restore`/);
    expect([...server.objects.keys()].sort()).toEqual(keys);
  });

  test('because it has lost all files: the save is refused, also on a cold instance', async () => {
    const { id } = await snapshotOf(1000);
    const emptied = instance('emptied');
    await restore(emptied);
    rmSync(join(emptied.warm, 'random'));
    await expect(saveAndPromote(emptied)).rejects.toThrow(`snapshot ${id} of set default has 1`);

    const cold = instance('cold');
    server.fault = () => ({ status: 403, code: 'AccessDenied' });
    expect(await restore(cold)).toMatchObject({ outcome: 'cold' });
    server.fault = undefined;
    await expect(saveAndPromote(cold)).rejects.toThrow(NothingToSave);
  });

  test('is saved as usual if its path has symbolic links or a slash at its end', async () => {
    const real = instance('real');
    symlinkSync(join(folder, 'real'), join(folder, 'link'));
    const link = join(folder, 'link');
    const linked = {
      layers: join(link, 'layers'),
      warm: `${join(link, 'warm')}/`,
      state: join(link, 'state'),
    };
    await restore(linked);
    writeFileSync(join(linked.warm, 'file'), 'x');
    const saved = await saveAndPromote(linked);
    expect(saved.manifest.totals.files).toBe(1);
    expect(await restore(linked)).toMatchObject({ outcome: 'restored', id: saved.id });
    expect(readdirSync(real.warm)).toEqual(['file']);
  });
});

describe.skipIf(!isRoot)('an answer that is lost', () => {
  test.each<[string, (method: string, key: string) => boolean]>([
    ['of the manifest', (method, key) => method === 'PUT' && key.endsWith('manifest.json')],
    ['of the end of an upload', (method, key) => method === 'POST' && key.includes('layers/')],
  ])('%s: the save succeeds, since S3 has what was sent', async (_, isLost) => {
    s3 = localS3(server.url, { maxAttempts: 3 });
    let uploads = 0;
    let losses = 1;
    server.fault = ({ method, key, query }) => {
      // The first POST of an upload begins it.
      if (method === 'POST' && !query.has('uploadId')) uploads += 1;
      else if (isLost(method, key) && losses-- > 0) return { loseAnswer: true };
      return undefined;
    };
    const { id } = await snapshotOf(20_000_000);
    expect([uploads, losses]).toEqual([1, expect.any(Number)]);
    expect(losses).toBeLessThan(1);
    server.fault = undefined;
    expect(await restore(instance('runner'))).toMatchObject({ outcome: 'restored', id });
  });
});

describe.skipIf(!isRoot)('a save that is stopped', () => {
  test.each<[string, (method: string, query: URLSearchParams) => boolean]>([
    ['before its upload', (method) => method === 'HEAD'],
    ['in its upload', (_, query) => query.get('partNumber') === '1'],
    ['at the end of its upload', (method, query) => method === 'POST' && query.has('uploadId')],
  ])('%s: ends at once, and publishes nothing', async (_, isMoment) => {
    const maker = instance('maker');
    await restore(maker);
    writeFileSync(join(maker.warm, 'random'), randomBytes(20_000_000));
    const stop = new AbortController();
    server.fault = ({ method, query }) => {
      if (method === 'DELETE' || !isMoment(method, query)) return undefined;
      setTimeout(() => stop.abort(new Error('the program stops')), 50);
      return { delayMs: 10_000 };
    };
    const began = performance.now();
    const options = { s3, bucket: 'b', set: SET, directories: maker, toolVersion: '0', signal: stop.signal };
    await expect(saveSnapshot(options)).rejects.toThrow();
    expect(performance.now() - began).toBeLessThan(5_000);
    server.fault = undefined;
    expect([...server.objects.keys()].filter((key) => key.endsWith('manifest.json'))).toEqual([]);
  });
});

describe.skipIf(!isRoot)('without the right to mount', () => {
  afterEach(() => void vi.restoreAllMocks());

  /** What follows runs as on a laptop. */
  const loseRights = () => void vi.spyOn(process, 'getuid').mockReturnValue(1000);

  test('a name that imitates a line of a listing deletes nothing outside the warm directory', async () => {
    const maker = instance('maker');
    await restore(maker);
    mkdirSync(join(maker.warm, 'y\nc--------- 0/0   0,  0 2026-01-01 00:00 ..'), { recursive: true });
    writeFileSync(join(maker.warm, 'file'), 'x');
    await saveAndPromote(maker);
    const laptop = instance('laptop');
    writeFileSync(join(folder, 'laptop', 'thesis'), 'years of work');
    loseRights();
    expect(await restore(laptop)).toMatchObject({ outcome: 'cold' });
    expect(readFileSync(join(folder, 'laptop', 'thesis'), 'utf8')).toBe('years of work');
    expect(readdirSync(laptop.warm)).toEqual([]);
  });

  test('a symbolic link that a later layer replaces by a directory leads nowhere', async () => {
    const outside = join(folder, 'outside');
    mkdirSync(outside);
    writeFileSync(join(outside, 'kept'), 'outside');
    const maker = instance('maker');
    await restore(maker);
    symlinkSync(outside, join(maker.warm, 'link'));
    // So large that the next save adds a layer.
    writeFileSync(join(maker.warm, 'random'), randomBytes(100_000));
    await saveAndPromote(maker);
    await restore(maker);
    rmSync(join(maker.warm, 'link'));
    mkdirSync(join(maker.warm, 'link'));
    writeFileSync(join(maker.warm, 'link', 'kept'), 'inside');
    const { kind, id } = await saveAndPromote(maker);
    expect(kind).toBe('layer');
    const laptop = instance('laptop');
    loseRights();
    expect(await restore(laptop)).toMatchObject({ outcome: 'restored', id });
    expect(readFileSync(join(outside, 'kept'), 'utf8')).toBe('outside');
    expect(readFileSync(join(laptop.warm, 'link', 'kept'), 'utf8')).toBe('inside');
  });

  test.each([
    ['files', 'x'],
    ['files in equal directories', 'sub/x'],
  ])('directories that were swapped, with equal names of %s, are not mixed up', async (_, path) => {
    const maker = instance('maker');
    await restore(maker);
    for (const name of ['cur', 'next']) {
      mkdirSync(join(maker.warm, name, 'sub'), { recursive: true });
      writeFileSync(join(maker.warm, name, path), name);
    }
    // So large that the next save adds a layer.
    writeFileSync(join(maker.warm, 'random'), randomBytes(100_000));
    await saveAndPromote(maker);
    await restore(maker);
    renameSync(join(maker.warm, 'cur'), join(maker.warm, 'tmp'));
    renameSync(join(maker.warm, 'next'), join(maker.warm, 'cur'));
    renameSync(join(maker.warm, 'tmp'), join(maker.warm, 'next'));
    const saved = await saveAndPromote(maker);
    expect(saved.manifest.layers.map(({ overlayOnly }) => overlayOnly)).toEqual([false, true]);
    const laptop = instance('laptop');
    const warnings: string[] = [];
    loseRights();
    expect(await restore(laptop, { warnings })).toMatchObject({ outcome: 'cold' });
    expect(warnings.join()).toContain('mounting needs root');
  });

  test('a disk that is full half-way: the runner boots cold, with an empty directory', async () => {
    const maker = instance('maker');
    await restore(maker);
    writeFileSync(join(maker.warm, 'first'), randomBytes(1_000_000));
    writeFileSync(join(maker.warm, 'second'), Buffer.alloc(20_000_000, 'x'));
    await saveAndPromote(maker);
    const laptop = instance('laptop', 6_000_000);
    loseRights();
    expect(await restore(laptop)).toMatchObject({ outcome: 'cold' });
    expect(readdirSync(laptop.warm)).toEqual([]);
    writeFileSync(join(laptop.warm, 'job'), randomBytes(4_000_000));
  });
});
