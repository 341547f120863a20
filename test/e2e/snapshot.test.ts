import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { link, mkdir, mkdtemp, readdir, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { S3Client } from '@aws-sdk/client-s3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { removeEverything } from '../../infra/runner/src/snapshot/clean-up.ts';
import type { Directories } from '../../infra/runner/src/snapshot/paths.ts';
import { restoreSnapshot } from '../../infra/runner/src/snapshot/restore.ts';
import { saveSnapshot } from '../../infra/runner/src/snapshot/save.ts';
import { emptyPointer, promote } from '../../shared/snapshot/format-1/pointer.ts';
import { layerKey, manifestKey, pointerKey } from '../../shared/snapshot/layout.ts';
import { localS3 } from '../support/s3-client.ts';
import { type S3Server, startS3Server } from '../support/s3-server.ts';

const isRoot = process.getuid?.() === 0;
const SET = 'default';

let server: S3Server;
let s3: S3Client;
let folder: string;
const instances: Directories[] = [];
let pointer = emptyPointer(new Date(0));

/** A runner's disk. */
function instance(name: string): Directories {
  const base = join(folder, name);
  const directories = { layers: join(base, 'layers'), warm: join(base, 'warm'), state: join(base, 'state') };
  instances.push(directories);
  return directories;
}

const restore = (directories: Directories, warnings: string[] = []) =>
  restoreSnapshot({ s3, bucket: 'b', set: SET, directories, warn: (line) => warnings.push(line) });

/** Ids have whole seconds; the tests are faster. */
let second = Date.parse('2026-11-23T03:00:00Z');
async function saveAndPromote(directories: Directories) {
  second += 1000;
  const now = () => new Date(second);
  const saved = await saveSnapshot({ s3, bucket: 'b', set: SET, directories, toolVersion: '0', now });
  pointer = promote(pointer, saved.id, now()) ?? pointer;
  server.put(pointerKey(SET), JSON.stringify(pointer));
  return saved;
}

beforeEach(async () => {
  server = await startS3Server();
  s3 = localS3(server.url, { maxAttempts: 2 });
  folder = await mkdtemp(join(tmpdir(), 'hearth-snapshot-'));
  pointer = emptyPointer(new Date(0));
});

afterEach(async () => {
  for (const directories of instances.splice(0)) await removeEverything(directories);
  await rm(folder, { recursive: true, force: true });
  await server.close();
});

describe.skipIf(!isRoot)('snapshots that are mounted', () => {
  test('another instance restores the tree, and the next layer has only the changes', async () => {
    const first = instance('first');
    expect((await restore(first)).outcome).toBe('cold');
    await mkdir(join(first.warm, 'deep/er'), { recursive: true });
    await writeFile(join(first.warm, 'deep/er/big'), Buffer.alloc(3_000_000, 'x'));
    await writeFile(join(first.warm, 'gone'), 'soon');
    await symlink('deep/er/big', join(first.warm, 'link'));
    const full = await saveAndPromote(first);
    expect(full.kind).toBe('full');

    const second = instance('second');
    expect(await restore(second)).toMatchObject({ outcome: 'restored', id: full.id });
    expect((await stat(join(second.warm, 'link'))).size).toBe(3_000_000);
    await rm(join(second.warm, 'gone'));
    await writeFile(join(second.warm, 'new'), 'file');
    const layer = await saveAndPromote(second);
    expect(layer).toMatchObject({ kind: 'layer' });
    expect(layer.manifest.parent).toBe(full.id);
    expect(layer.manifest.layers).toHaveLength(2);

    const third = instance('third');
    expect(await restore(third)).toMatchObject({ outcome: 'restored', id: layer.id });
    expect(await readdir(third.warm)).toEqual(['deep', 'link', 'new']);
  });

  test('odd names, hard links, holes, opaque and renamed directories survive two layers', async () => {
    const first = instance('first');
    await restore(first);
    const odd = Buffer.concat([Buffer.from(`${first.warm}/not-utf8-`), Buffer.from([0xff, 0xfe])]);
    await writeFile(odd, 'bytes');
    await writeFile(join(first.warm, 'new\nline and space'), 'x');
    await writeFile(join(first.warm, 'a'), 'linked');
    await link(join(first.warm, 'a'), join(first.warm, 'b'));
    execFileSync('truncate', ['-s', '100M', join(first.warm, 'sparse')]);
    for (const name of ['renamed', 'replaced']) {
      await mkdir(join(first.warm, name, 'sub'), { recursive: true });
      await writeFile(join(first.warm, name, 'sub/old'), name);
    }
    const full = await saveAndPromote(first);
    expect(full.uploadedBytes).toBeLessThan(100_000);

    const second = instance('second');
    await restore(second);
    await rename(join(second.warm, 'renamed'), join(second.warm, 'moved'));
    await rm(join(second.warm, 'replaced'), { recursive: true });
    await mkdir(join(second.warm, 'replaced'));
    await writeFile(join(second.warm, 'replaced/new'), 'new');
    const layer = await saveAndPromote(second);
    expect(layer.kind).toBe('layer');
    expect(layer.manifest.layers.at(-1)?.overlayOnly).toBe(true);

    const third = instance('third');
    expect((await restore(third)).outcome).toBe('restored');
    const names = (await readdir(third.warm, { encoding: 'buffer' })).map((name) => name.toString('latin1'));
    expect(names.sort()).toEqual(
      ['a', 'b', 'moved', 'new\nline and space', 'not-utf8-ÿþ', 'replaced', 'sparse'].sort(),
    );
    expect(readFileSync(join(third.warm, 'moved/sub/old'), 'utf8')).toBe('renamed');
    expect(await readdir(join(third.warm, 'replaced'))).toEqual(['new']);
    const [a, b] = await Promise.all([stat(join(third.warm, 'a')), stat(join(third.warm, 'b'))]);
    expect(a.ino).toBe(b.ino);
    expect((await stat(join(third.warm, 'sparse'))).blocks).toBeLessThan(100);
  });

  test('the same tree gives the same bytes', async () => {
    const ids: string[] = [];
    for (const name of ['one', 'two']) {
      const directories = instance(name);
      await restore(directories);
      await mkdir(join(directories.warm, 'dir'));
      await writeFile(join(directories.warm, 'dir/file'), 'same');
      execFileSync('find', [
        directories.warm,
        '-exec',
        'touch',
        '-h',
        '-d',
        '2026-01-01T00:00:00Z',
        '{}',
        '+',
      ]);
      second += 1000;
      const now = () => new Date(second);
      const saved = await saveSnapshot({ s3, bucket: 'b', set: SET, directories, toolVersion: '0', now });
      ids.push(saved.manifest.layers[0]?.sha256 ?? '');
    }
    expect(ids[0]).toBe(ids[1]);
  });
});

describe('faults', () => {
  async function twoSnapshots() {
    const maker = instance('maker');
    await restore(maker);
    await writeFile(join(maker.warm, 'file'), 'first');
    const first = await saveAndPromote(maker);
    await restore(maker);
    await writeFile(join(maker.warm, 'file'), Buffer.alloc(200_000, 'y'));
    const second = await saveAndPromote(maker);
    return { first, second };
  }
  const topLayer = (saved: { manifest: { layers: { sha256: string }[] } }) =>
    layerKey(SET, saved.manifest.layers.at(-1)?.sha256 ?? '');

  test('a flipped bit in the current snapshot: the one before is mounted, and the broken one is named', async () => {
    const { first, second } = await twoSnapshots();
    const key = topLayer(second);
    const stored = server.objects.get(key);
    const body = Buffer.from(stored?.body ?? '');
    body.writeUInt8(body.readUInt8(100) ^ 1, 100);
    server.put(key, body);
    const result = await restore(instance('runner'));
    expect(result).toMatchObject({ outcome: 'previous', id: first.id, broken: { id: second.id } });
    expect(result.broken?.reason).toContain('chunk 0');
  });

  test('a truncated layer, a missing layer and a manifest that is no JSON are broken snapshots too', async () => {
    const { first, second } = await twoSnapshots();
    const key = topLayer(second);
    const whole = Buffer.from(server.objects.get(key)?.body ?? '');
    for (const [index, breakIt] of [
      () => server.put(key, whole.subarray(0, whole.length - 10)),
      () => server.objects.delete(key),
      () => server.put(manifestKey(SET, second.id), '{"formatVersion":'),
    ].entries()) {
      breakIt();
      expect(await restore(instance(`runner${index}`))).toMatchObject({
        outcome: 'previous',
        id: first.id,
        broken: { id: second.id },
      });
    }
  });

  test('a chunk with a bit flipped in transit is fetched again', async () => {
    const { second } = await twoSnapshots();
    let once = true;
    server.fault = ({ range }) => {
      if (!range || !once) return undefined;
      once = false;
      return { flipBit: 50 };
    };
    expect(await restore(instance('runner'))).toMatchObject({ outcome: 'restored', id: second.id });
  });

  test('a dropped connection is resumed', async () => {
    const { second } = await twoSnapshots();
    let drops = 2;
    server.fault = ({ range }) => (range && drops-- > 0 ? { dropAfter: 10 } : undefined);
    expect(await restore(instance('runner'))).toMatchObject({ outcome: 'restored', id: second.id });
  });

  test.each([
    ['throttled', 503, 'SlowDown'],
    ['refused', 403, 'AccessDenied'],
    ['without its bucket', 404, 'NoSuchBucket'],
  ])('S3 %s: the runner boots cold', async (_, status, code) => {
    await twoSnapshots();
    server.fault = () => ({ status, code });
    const warnings: string[] = [];
    const result = await restore(instance('runner'), warnings);
    expect(result.outcome).toBe('cold');
    expect(result.broken).toBeUndefined();
    expect(warnings.join()).toContain(code);
  });

  test.each<[string, (manifest: { platform: object }) => object]>([
    ['another platform', ({ platform }) => ({ platform: { ...platform, arch: 'other' } })],
    ['an unknown kernel feature', ({ platform }) => ({ platform: { ...platform, requires: ['erofs'] } })],
    ['a newer format', () => ({ formatVersion: 2, layers: 'elsewhere' })],
  ])(
    'a snapshot of %s: the one before serves, else a cold boot, and nothing is reported broken',
    async (_, change) => {
      const { first, second } = await twoSnapshots();
      const alter = (id: string) => {
        const key = manifestKey(SET, id);
        const manifest = JSON.parse(server.objects.get(key)?.body.toString() ?? '');
        server.put(key, JSON.stringify({ ...manifest, ...change(manifest) }));
      };
      alter(second.id);
      const warnings: string[] = [];
      const one = await restore(instance('one'), warnings);
      expect(one).toMatchObject({ outcome: 'previous', id: first.id });
      expect(one.broken).toBeUndefined();
      expect(warnings.join()).toContain('is not for this instance');
      alter(first.id);
      const other = await restore(instance('other'));
      expect(other.outcome).toBe('cold');
      expect(other.broken).toBeUndefined();
    },
  );

  test('a save that dies before its manifest leaves no snapshot', async () => {
    const maker = instance('maker');
    await restore(maker);
    await writeFile(join(maker.warm, 'file'), 'first');
    server.fault = ({ method, key }) =>
      method === 'PUT' && key.endsWith('manifest.json') ? { status: 403, code: 'AccessDenied' } : undefined;
    await expect(saveAndPromote(maker)).rejects.toThrow();
    expect([...server.objects.keys()].filter((key) => key.endsWith('manifest.json'))).toEqual([]);
    expect(existsSync(join(`${maker.warm}.overlay`, 'packed.sqfs'))).toBe(false);
  });

  test('a layer on the disk is not fetched again', async () => {
    const { second } = await twoSnapshots();
    const runner = instance('runner');
    expect((await restore(runner)).fetchedBytes).toBeGreaterThan(0);
    expect(await restore(runner)).toMatchObject({ outcome: 'restored', id: second.id, fetchedBytes: 0 });
  });
});
