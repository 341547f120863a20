import { describe, expect, test } from 'vitest';
import { manifestKey, pointerKey } from '../layout.ts';
import { memoryStore } from '../testing/memory-store.ts';
import { emptyPointer, promote } from './pointer.ts';
import { CorruptRecord, readManifest, readPointer, UnsupportedFormat, writePointer } from './records.ts';

const at = new Date('2026-11-23T08:00:00Z');
const id = '20261123T030000Z-1f2e3d4c';
const layer = {
  sha256: 'a'.repeat(64),
  bytes: 1500,
  chunkBytes: 1024,
  chunks: ['b'.repeat(64), 'c'.repeat(64)],
  files: 2,
  contentBytes: 4000,
};
const manifest = {
  formatVersion: 1,
  set: 'default',
  id,
  createdAt: at.toISOString(),
  platform: { os: 'linux', arch: 'arm64', requires: ['overlayfs'] },
  layers: [layer],
  totals: { bytes: 1500, files: 2, contentBytes: 4000 },
  tool: { name: 'aw-runner', version: '0.1.0' },
};

describe('the pointer', () => {
  test('is written only over what was read', async () => {
    const store = memoryStore();
    const first = promote(emptyPointer(at), id, at) ?? emptyPointer(at);
    expect(await readPointer(store, 'default')).toBeUndefined();
    expect(await writePointer(store, 'default', first, undefined)).toBe(true);
    expect(await writePointer(store, 'default', first, undefined)).toBe(false);
    const read = await readPointer(store, 'default');
    expect(read?.pointer).toEqual(first);
    expect(await writePointer(store, 'default', emptyPointer(at), read?.etag)).toBe(true);
    expect(await writePointer(store, 'default', first, read?.etag)).toBe(false);
  });

  test.each(['', '{', 'null', '[]', '{"version":2}', '{"version":1,"current":"../x"}'])(
    'of %j is corrupt, and its key is named',
    async (text) => {
      const store = memoryStore();
      store.put(pointerKey('default'), text);
      await expect(readPointer(store, 'default')).rejects.toThrow(CorruptRecord);
      await expect(readPointer(store, 'default')).rejects.toThrow('sets/default/pointer.json');
    },
  );
});

describe('a manifest', () => {
  const stored = (change: object) => {
    const store = memoryStore();
    store.put(manifestKey('default', id), JSON.stringify({ ...manifest, ...change }));
    return readManifest(store, 'default', id);
  };

  test('is read back, and is undefined where there is none', async () => {
    expect((await stored({}))?.layers[0]).toMatchObject({ bytes: 1500, overlayOnly: false });
    expect(await readManifest(memoryStore(), 'default', id)).toBeUndefined();
  });

  test.each<[string, object, RegExp]>([
    ['of another set', { set: 'other' }, /of set other/],
    ['of another id', { id: '20261122T030000Z-1f2e3d4c' }, /snapshot 20261122T030000Z/],
    ['without layers', { layers: [] }, /layers/],
    ['with too few checksums', { layers: [{ ...layer, chunks: ['b'.repeat(64)] }] }, /checksum/],
    ['with a layer that is a path', { layers: [{ ...layer, sha256: '../../etc/passwd' }] }, /sha256/],
    ['with a layer of no size', { layers: [{ ...layer, bytes: -5 }] }, /layers/],
    ['with chunks larger than any memory', { layers: [{ ...layer, chunkBytes: 1e12 }] }, /chunkBytes/],
    ['with a thousand layers', { layers: Array.from({ length: 1000 }, () => layer) }, /layers/],
  ])('%s is refused', async (_, change, text) => {
    await expect(stored(change)).rejects.toThrow(CorruptRecord);
    await expect(stored(change)).rejects.toThrow(text);
  });

  test('of a newer format is unsupported and not corrupt, whatever its other fields are', async () => {
    const read = stored({ formatVersion: 2, layers: 'elsewhere' });
    await expect(read).rejects.toThrow(UnsupportedFormat);
    await expect(read).rejects.not.toThrow(CorruptRecord);
    await expect(read).rejects.toThrow(/has format 2; this version reads up to 1/);
  });
});
