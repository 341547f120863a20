import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { layerKey, manifestKey } from '../layout.ts';
import { memoryStore } from '../testing/memory-store.ts';
import type { Layer, Manifest } from './manifest.ts';
import { expectedChecksums, verifySnapshot } from './verify.ts';

const SET = 'default';
const ID = '20261123T030000Z-00000001';
const CHUNK = 1024;

const sha256 = (bytes: Uint8Array | string) => createHash('sha256').update(bytes).digest('hex');

function layerOf(body: Buffer): Layer {
  const chunks: string[] = [];
  for (let at = 0; at < body.length; at += CHUNK) chunks.push(sha256(body.subarray(at, at + CHUNK)));
  return {
    sha256: sha256(body),
    bytes: body.length,
    chunkBytes: CHUNK,
    chunks,
    overlayOnly: false,
    files: 1,
    contentBytes: body.length,
  };
}

/** A bucket with one snapshot of two layers. */
function stored() {
  const bodies = [Buffer.alloc(10 * CHUNK + 7, 'a'), Buffer.alloc(300, 'b')];
  const layers = bodies.map(layerOf);
  const store = memoryStore();
  const total = bodies.reduce((sum, body) => sum + body.length, 0);
  const manifest: Manifest = {
    formatVersion: 1,
    set: SET,
    id: ID,
    createdAt: '2026-11-23T03:00:00Z',
    platform: { os: 'linux', arch: 'x64', requires: [] },
    layers,
    totals: { bytes: total, files: 2, contentBytes: total },
    tool: { name: 'aw-runner', version: '0' },
  };
  for (const [index, body] of bodies.entries()) store.put(layerKey(SET, layers[index]?.sha256 ?? ''), body);
  store.put(manifestKey(SET, ID), JSON.stringify(manifest));
  const [big, small] = layers;
  if (!big || !small) throw new Error('two layers were made');
  return { store, big, small, body: Buffer.from(bodies[0] ?? ''), total };
}

const options = { now: () => 0 };

test('a snapshot whose every byte is as its manifest says is sound', async () => {
  const { store, total } = stored();
  expect(await verifySnapshot(store, SET, ID, options)).toMatchObject({ verdict: 'sound', bytesRead: total });
});

test('every single flipped bit is found', async () => {
  const { store, big, body } = stored();
  for (const at of [0, CHUNK - 1, CHUNK, 5 * CHUNK + 3, body.length - 1]) {
    const flipped = Buffer.from(body);
    flipped.writeUInt8(flipped.readUInt8(at) ^ 4, at);
    store.put(layerKey(SET, big.sha256), flipped);
    const chunk = Math.floor(at / CHUNK);
    expect(await verifySnapshot(store, SET, ID, options)).toMatchObject({
      verdict: 'broken',
      reason: expect.stringContaining(`chunk ${chunk} `),
    });
  }
});

test('a layer that is missing, or of another size, is found before any byte is read', async () => {
  const { store, big, body } = stored();
  store.readRange = () => Promise.reject(new Error('read'));
  store.put(layerKey(SET, big.sha256), body.subarray(1));
  expect(await verifySnapshot(store, SET, ID, options)).toMatchObject({ verdict: 'broken' });
  await store.remove(layerKey(SET, big.sha256));
  expect(await verifySnapshot(store, SET, ID, options)).toMatchObject({
    verdict: 'broken',
    reason: expect.stringContaining('missing'),
  });
});

test('chunks that are right in the wrong layer do not make it sound', async () => {
  const { store, big } = stored();
  const manifest = JSON.parse((await store.read(manifestKey(SET, ID)))?.text ?? '');
  const renamed = sha256('another');
  manifest.layers[0].sha256 = renamed;
  store.put(manifestKey(SET, ID), JSON.stringify(manifest));
  store.put(layerKey(SET, renamed), await store.readRange(layerKey(SET, big.sha256), 0, big.bytes));
  expect(await verifySnapshot(store, SET, ID, options)).toMatchObject({ verdict: 'broken' });
});

test('no manifest is missing; a manifest of another snapshot is broken', async () => {
  const { store } = stored();
  const other = ID.replace(/1$/, '2');
  expect(await verifySnapshot(store, SET, other, options)).toEqual({ verdict: 'missing' });
  store.put(manifestKey(SET, other), (await store.read(manifestKey(SET, ID)))?.text ?? '');
  expect(await verifySnapshot(store, SET, other, options)).toMatchObject({ verdict: 'broken' });
});

test('layers that an earlier verification found sound are not read', async () => {
  const { store, big, small } = stored();
  const verified = new Set([big.sha256]);
  expect(await verifySnapshot(store, SET, ID, { ...options, verified })).toMatchObject({
    verdict: 'sound',
    bytesRead: small.bytes,
  });
});

test('the checksums of S3 decide about layers that the time does not suffice to read', async () => {
  const { store, big, small } = stored();
  const [whole = ''] = expectedChecksums(small);
  const [, inParts = ''] = expectedChecksums(big);
  const checksums = new Map([
    [layerKey(SET, big.sha256), inParts],
    [layerKey(SET, small.sha256), whole],
  ]);
  const { head } = store;
  store.head = async (key) => {
    const found = await head(key);
    return found && { ...found, checksum: checksums.get(key) };
  };
  const late = { now: () => 1, readUntil: 1 };
  expect(await verifySnapshot(store, SET, ID, late)).toMatchObject({ verdict: 'sound', bytesRead: 0 });
  checksums.set(layerKey(SET, small.sha256), inParts);
  expect(await verifySnapshot(store, SET, ID, late)).toMatchObject({ verdict: 'broken' });
  checksums.delete(layerKey(SET, small.sha256));
  expect(await verifySnapshot(store, SET, ID, late)).toMatchObject({
    verdict: 'broken',
    reason: expect.stringContaining('no SHA-256'),
  });
});

test('a snapshot of a newer format is unsupported, not broken', async () => {
  const { store } = stored();
  const manifest = JSON.parse((await store.read(manifestKey(SET, ID)))?.text ?? '');
  store.put(
    manifestKey(SET, ID),
    JSON.stringify({ ...manifest, formatVersion: 2, layers: 'of another kind' }),
  );
  expect(await verifySnapshot(store, SET, ID, options)).toMatchObject({ verdict: 'unsupported' });
});

test('the expected checksums have the format of S3', () => {
  // 12,000,000 zeros in parts of 5 MiB, as S3's rules give it.
  const parts = [5_242_880, 5_242_880, 1_514_240].map((bytes) => sha256(Buffer.alloc(bytes)));
  const layer = { sha256: sha256('hello'), chunks: parts };
  expect(expectedChecksums(layer)).toEqual([
    'LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=',
    'Kc/qGTamadHLbauKH4vHjv6X3J/Y0HR45AKqlYgXeeQ=-3',
  ]);
});
