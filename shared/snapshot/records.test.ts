import { describe, expect, test } from 'vitest';
import { CorruptRecord, UnsupportedFormat } from './errors.ts';
import { indexKey, manifestKey, pointerKey } from './layout.ts';
import { MAX_MANIFEST_BYTES } from './manifest.ts';
import { emptyPointer, MAX_POINTER_BYTES, promote } from './pointer.ts';
import { readIndex, readManifest, readPointer, readVouchedManifest, writePointer } from './records.ts';
import { fakeImage, fakeSnapshot, storeSnapshot } from './testing/fake-snapshot.ts';
import { memoryStore } from './testing/memory-store.ts';

const at = new Date('2026-11-23T08:00:00Z');
const id = '20261123T030000Z-1f2e3d4c';

describe('the pointer', () => {
  test('is written only over what was read', async () => {
    const store = memoryStore();
    const first = promote(emptyPointer(at), { id, manifestSha256: 'a'.repeat(64) }, at) ?? emptyPointer(at);
    expect(await readPointer(store, 'default')).toBeUndefined();
    expect(await writePointer(store, 'default', first, undefined)).toBe(true);
    expect(await writePointer(store, 'default', first, undefined)).toBe(false);
    const read = await readPointer(store, 'default');
    expect(read?.pointer).toEqual(first);
    expect(await writePointer(store, 'default', emptyPointer(at), read?.etag)).toBe(true);
    expect(await writePointer(store, 'default', first, read?.etag)).toBe(false);
  });

  test.each([
    '',
    '{',
    'null',
    '[]',
    '{"version":2}',
    `{"version":2,"current":"${id}"}`,
    '{"version":2,"current":{"id":"../x"}}',
    ' '.repeat(MAX_POINTER_BYTES + 1),
  ])('of %j is corrupt, and its key is named', async (text) => {
    const store = memoryStore();
    store.put(pointerKey('default'), text);
    await expect(readPointer(store, 'default')).rejects.toThrow(CorruptRecord);
    await expect(readPointer(store, 'default')).rejects.toThrow('sets/default/pointer.json');
  });

  test.each([1, 3])('of version %d is unsupported, whatever else it has', async (version) => {
    const store = memoryStore();
    store.put(pointerKey('default'), JSON.stringify({ version, current: 'x' }));
    await expect(readPointer(store, 'default')).rejects.toThrow(UnsupportedFormat);
  });
});

describe('a manifest', () => {
  const snapshot = fakeSnapshot('default', id, fakeImage('a', 'b'));
  const stored = (change: object) => {
    const store = memoryStore();
    store.put(manifestKey('default', id), JSON.stringify({ ...snapshot.manifest, ...change }));
    return readManifest(store, 'default', id);
  };

  test('is read back with the SHA-256 of its text, and is undefined where there is none', async () => {
    const { manifest, manifestSha256: sha256 } = snapshot;
    expect(await stored({})).toEqual({ manifest, sha256 });
    expect(await readManifest(memoryStore(), 'default', id)).toBeUndefined();
  });

  test('of another set or id is refused', async () => {
    await expect(stored({ set: 'other' })).rejects.toThrow(/of set other/);
    const later = { id: '20261124T030000Z-1f2e3d4c', parent: id };
    await expect(stored(later)).rejects.toThrow(/snapshot 20261124T030000Z/);
  });

  test('that is too long is refused before it is read', async () => {
    const long = stored({ junk: 'x'.repeat(MAX_MANIFEST_BYTES) });
    await expect(long).rejects.toThrow(CorruptRecord);
    await expect(long).rejects.toThrow(/more than/);
  });

  test.each([1, 3])(
    'of format %d is unsupported and not corrupt, whatever its other fields are',
    async (formatVersion) => {
      const read = stored({ formatVersion, frames: 'elsewhere' });
      await expect(read).rejects.toThrow(UnsupportedFormat);
      await expect(read).rejects.toThrow(`has format ${formatVersion}; this version reads 2`);
    },
  );

  test('with another text than the pointer names is refused, even if only its white space differs', async () => {
    const store = memoryStore();
    const { manifestSha256, text, manifest } = snapshot;
    store.put(manifestKey('default', id), text);
    expect(await readVouchedManifest(store, 'default', { id, manifestSha256 })).toEqual(manifest);
    store.put(manifestKey('default', id), `${text}\n`);
    await expect(readVouchedManifest(store, 'default', { id, manifestSha256 })).rejects.toThrow(
      /pointer names/,
    );
  });
});

describe('an index', () => {
  const snapshot = fakeSnapshot('default', id, fakeImage('a', undefined, 'b'));
  const changed = (change: (bytes: Buffer) => Buffer | undefined) => {
    const store = memoryStore();
    storeSnapshot(store, snapshot);
    const bytes = change(Buffer.from(snapshot.index.bytes));
    if (bytes) store.put(indexKey('default', id), bytes);
    return { store, read: () => readIndex(store, snapshot.manifest) };
  };

  test('is read back', async () => {
    const index = await changed((bytes) => bytes).read();
    expect([...index.records()]).toEqual([...snapshot.index.records()]);
  });

  test('with a flipped bit is refused', async () => {
    const { read } = changed((bytes) => {
      bytes.writeUInt8(bytes.readUInt8(90) ^ 1, 90);
      return bytes;
    });
    await expect(read()).rejects.toThrow(/another sha256/);
  });

  test('of another length is refused before it is read, and so is a missing one', async () => {
    const { store, read } = changed((bytes) => Buffer.concat([bytes, bytes]));
    store.readRange = () => Promise.reject(new Error('read'));
    await expect(read()).rejects.toThrow(/bytes instead of/);
    await store.remove(indexKey('default', id));
    await expect(read()).rejects.toThrow(/is missing/);
  });
});
