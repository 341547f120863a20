import { createHash } from 'node:crypto';
import { encodeFrame } from '../frame.ts';
import { type FrameIndex, type FrameRecord, indexBuilder } from '../frame-index.ts';
import { framesKey, indexKey, manifestKey, snapshotTime } from '../layout.ts';
import { compositeChecksum, EXT4_FEATURES, type FramesObject, type Manifest } from '../manifest.ts';
import { nextRecords, unchangedRecords } from '../next-records.ts';
import { bytesOf, MAX_FRAME_UNITS, UNIT_BYTES, type UnitRange } from '../units.ts';
import type { MemoryStore } from './memory-store.ts';

/** The content of an image by unit: each text fills one unit. A unit that is absent is zero. */
export type FakeImage = ReadonlyMap<number, string>;

/** A snapshot as a save makes it. */
export type FakeSnapshot = {
  image: FakeImage;
  manifest: Manifest;
  /** The stored text of the manifest, and its SHA-256. */
  text: string;
  manifestSha256: string;
  index: FrameIndex;
  /** The object that the snapshot adds; absent if nothing has changed. */
  frames?: { object: FramesObject; stored: Buffer };
};

/** An image of one text per unit, from unit 0. */
export function fakeImage(...texts: (string | undefined)[]): FakeImage {
  return new Map(texts.flatMap((text, unit) => (text === undefined ? [] : [[unit, text] as const])));
}

/** The content of a unit. */
export function unitContent(text: string): Buffer {
  return Buffer.alloc(UNIT_BYTES, text);
}

/**
 * The snapshot of an image: whole without a parent, else only the units that differ.
 *
 * @param options.imageUnits 64 if absent
 * @param options.frameUnits units that are joined to a frame; 16 if absent
 * @param options.fetchFirst units whose frames a restore fetches first
 */
export function fakeSnapshot(
  set: string,
  id: string,
  image: FakeImage,
  options: {
    parent?: FakeSnapshot | undefined;
    imageUnits?: number;
    frameUnits?: number;
    fetchFirst?: Iterable<number>;
    manifest?: Partial<Manifest>;
  } = {},
): FakeSnapshot {
  const { parent, imageUnits = 64, frameUnits = MAX_FRAME_UNITS } = options;
  const changed = changedUnits(parent?.image ?? new Map(), image, imageUnits);
  const added: FrameRecord[] = [];
  const stored: Buffer[] = [];
  let offset = 0;
  for (const run of frameRuns(changed, image, frameUnits)) {
    const frame = frameOf(run.map((unit) => image.get(unit) ?? ''));
    stored.push(frame.stored);
    added.push({
      firstUnit: run[0] ?? 0,
      units: run.length,
      firstUnitInFrame: 0,
      frameUnits: run.length,
      object: 0,
      offset,
      storedBytes: frame.stored.length,
      sha256: frame.sha256,
    });
    offset += frame.stored.length;
  }
  const body = Buffer.concat(stored);
  const object = body.length > 0 ? framesObjectOf(id, body) : undefined;
  const alive = new Set(
    parent ? [...unchangedRecords(parent.index, changed)].map((each) => each.object) : [],
  );
  const inherited = (parent?.manifest.frames ?? []).filter((_, number) => alive.has(number));
  const objects = [...inherited, ...(object ? [object] : [])];
  const records = parent
    ? nextRecords(
        parent.index,
        changed,
        added.map((record) => ({ ...record, object: inherited.length })),
        parent.manifest.frames.map((each) => {
          const number = inherited.indexOf(each);
          return number < 0 ? undefined : number;
        }),
      )
    : added;
  const builder = indexBuilder({ imageUnits, objects: objects.length });
  for (const record of records) builder.add(record);
  const index = builder.finish(options.fetchFirst);
  const manifest: Manifest = {
    formatVersion: 2,
    set,
    id,
    createdAt: new Date(snapshotTime(id).getTime() || 0).toISOString(),
    platform: { os: 'linux', arch: 'x64', ext4Features: [...EXT4_FEATURES] },
    image: { bytes: bytesOf(imageUnits) },
    ...(parent && {
      parent: parent.manifest.id,
      startedFrom: options.manifest?.parent ?? parent.manifest.id,
    }),
    paths: ['/home/runner/.cache'],
    e2fsck: { version: '1.47.0', exitCode: 0 },
    index: { sha256: sha256Of(index.bytes), bytes: index.bytes.length, records: index.count },
    frames: objects,
    totals: index.totals(),
    tool: { name: 'test', version: '1' },
    ...options.manifest,
  };
  const text = JSON.stringify(manifest);
  return {
    image,
    manifest,
    text,
    manifestSha256: sha256Of(text),
    index,
    ...(object && { frames: { object, stored: body } }),
  };
}

/** Frames by their content: a property test makes the same ones again and again. */
const encoded = new Map<string, ReturnType<typeof encodeFrame>>();

function frameOf(texts: readonly string[]): ReturnType<typeof encodeFrame> {
  const key = JSON.stringify(texts);
  const known = encoded.get(key) ?? encodeFrame(Buffer.concat(texts.map(unitContent)));
  encoded.set(key, known);
  return known;
}

/** Stores a snapshot in the order of a save: frames, index, manifest. */
export function storeSnapshot(
  store: MemoryStore,
  { manifest, text, index, frames }: FakeSnapshot,
  at?: Date,
) {
  const { set, id } = manifest;
  if (frames) store.put(framesKey(set, id), frames.stored, at, compositeChecksum(frames.object));
  store.put(indexKey(set, id), index.bytes, at, createHash('sha256').update(index.bytes).digest('base64'));
  store.put(manifestKey(set, id), text, at);
}

/** The manifest's entry of an object that was sent in one part. */
export function framesObjectOf(id: string, body: Uint8Array): FramesObject {
  const part = createHash('sha256').update(body).digest();
  return { id, bytes: body.length, parts: 1, sha256: createHash('sha256').update(part).digest('hex') };
}

export function sha256Of(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Runs of units whose content differs. */
function changedUnits(before: FakeImage, after: FakeImage, imageUnits: number): UnitRange[] {
  const runs: UnitRange[] = [];
  for (let unit = 0; unit < imageUnits; unit += 1) {
    if (before.get(unit) === after.get(unit)) continue;
    const last = runs.at(-1);
    if (last && last.firstUnit + last.units === unit) last.units += 1;
    else runs.push({ firstUnit: unit, units: 1 });
  }
  return runs;
}

/** The units of each new frame: successive units with content. */
function frameRuns(changed: UnitRange[], image: FakeImage, frameUnits: number): number[][] {
  const runs: number[][] = [];
  for (const { firstUnit, units } of changed) {
    let run: number[] = [];
    for (let unit = firstUnit; unit < firstUnit + units; unit += 1) {
      if (image.has(unit)) run.push(unit);
      if (run.length > 0 && (!image.has(unit) || run.length === frameUnits)) {
        runs.push(run);
        run = [];
      }
    }
    if (run.length > 0) runs.push(run);
  }
  return runs;
}
