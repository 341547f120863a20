import { hash, randomBytes } from 'node:crypto';
import { access, type FileHandle, mkdir, open, readdir, readFile, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { S3Client } from '@aws-sdk/client-s3';
import { redactText } from '../../../../shared/runtime/redact.ts';
import { type FrameIndex, IndexTooLarge, indexBuilder } from '../../../../shared/snapshot/frame-index.ts';
import {
  framesKey,
  indexKey,
  manifestKey,
  snapshotId,
  snapshotTime,
} from '../../../../shared/snapshot/layout.ts';
import {
  EXT4_FEATURES,
  FORMAT_VERSION,
  type FramesObject,
  MAX_TEXT,
  MAX_WORDS,
  type Manifest,
} from '../../../../shared/snapshot/manifest.ts';
import { nextRecords, unchangedRecords } from '../../../../shared/snapshot/next-records.ts';
import { readPointer } from '../../../../shared/snapshot/records.ts';
import { s3Store } from '../../../../shared/snapshot/store.ts';
import { MAX_FRAME_UNITS, UNIT_BYTES, unitsOf } from '../../../../shared/snapshot/units.ts';
import { execute } from '../child-process.ts';
import { type Base, readBase } from './base.ts';
import { changedUnits, type Extent, extentsOf } from './extents.ts';
import { type NewFrame, sendFrames, unmarkEqual } from './frames.ts';
import { checkImage, growImage } from './image.ts';
import { metadataUnits, wipeDeletedInodes } from './inodes.ts';
import { lockFile } from './lock.ts';
import { deviceOf, errorsOf, isMounted, unmountImage } from './mounts.ts';
import { type Directories, type Paths, snapshotPaths, WARM } from './paths.ts';
import { type Patience, patiently } from './patience.ts';
import { imageOfPlain } from './plain.ts';
import { type Progress, silentProgress } from './progress.ts';
import { balanceReserve } from './reserve.ts';
import { type Restored, readRestored } from './restored-state.ts';
import { markedUnits, planSave, ranges, runs } from './save-plan.ts';
import { bindWarm, cloneFile, isBound, KEPT, openTree, unboundPaths } from './trees.ts';
import { framesUpload, putOnce, UploadConflict } from './upload.ts';
import { copyInto, inTree, PATHS } from './warm-paths.ts';

/** Time for which a save repeats a call that fails, in milliseconds: a night's run is not lost to minutes of throttling. */
const PATIENCE_MS = 1_800_000;

/** How often everything is sent again because S3 dropped the upload for another write of its key. */
const MAX_CONFLICTS = 3;

/** Size of an image of a plain directory, in bytes. It is sparse. */
const PLAIN_IMAGE = 64 * 2 ** 30;

/** What a warming run was, for the manifest. */
export type SaveFacts = { command?: readonly string[]; user?: string; commit?: string };

export type SaveOptions = {
  s3: Pick<S3Client, 'send'>;
  bucket: string;
  set: string;
  directories: Directories;
  toolVersion: string;
  /**
   * Copies directories of the set that the tree is not bound to into the tree, so that a save by hand has them. Default: false,
   * they end the save.
   */
  adopt?: boolean;
  progress?: Progress;
  signal?: AbortSignal;
  /** Facts for the manifest. */
  facts?: SaveFacts;
  now?: () => Date;
};

export type SaveResult = {
  id: string;
  manifest: Manifest;
  /** Whether the whole image was sent, or only the changes. */
  kind: 'full' | 'difference';
  /** Bytes of frames that were sent. */
  uploadedBytes: number;
  seconds: { prepare: number; upload: number };
};

/** The warm directory is not in a state that a snapshot can be made of. */
export class NothingToSave extends Error {
  override readonly name = 'NothingToSave';
}

/**
 * Saves the tree of the warm directory as a new snapshot. Nothing may run in it. The manifest is the last object to be written and
 * never replaces another one, so a save that is killed earlier leaves no snapshot. The tree stays usable.
 *
 * @throws {NothingToSave} if the tree is not there, is empty, or has lost writes; {TreeHeld} if something holds it; {Locked} if
 *   another save runs; {BadImage}; errors of S3
 */
export async function saveSnapshot(options: SaveOptions): Promise<SaveResult> {
  options.signal?.throwIfAborted();
  const paths = await snapshotPaths(options.directories);
  const lock = await lockFile(paths.saveLock);
  try {
    const began = performance.now();
    await rm(paths.saving, { force: true });
    const restored = await readRestored(paths);
    await refuseUnbound(options, paths, restored);
    await refuseToEmpty(options, paths, restored);
    if (restored?.mode === 'mounted') await freezeTree(paths, restored, options.signal);
    else await imageOfPlain(paths, paths.saving, PLAIN_IMAGE);
    const e2fsck = await checked(paths.saving, options.signal);
    options.signal?.throwIfAborted();
    const prepared = performance.now();
    const saved = {
      ...options,
      e2fsck,
      startedFrom: restored?.snapshot?.id,
      paths: paths.warmPaths.map(({ path }) => path),
    };
    const sent = await send(paths, await parentOf(paths, restored, options.set), saved);
    const seconds = { prepare: (prepared - began) / 1000, upload: (performance.now() - prepared) / 1000 };
    return { ...sent, seconds };
  } finally {
    await rm(paths.saving, { force: true });
    await lock.release();
  }
}

/**
 * What is not bound to the tree would not be in the snapshot.
 *
 * @throws {NothingToSave}
 */
async function refuseUnbound(
  { adopt }: SaveOptions,
  paths: Paths,
  restored: Restored | undefined,
): Promise<void> {
  if (!restored)
    throw new NothingToSave('nothing was restored here; `aw-runner snapshot restore` makes a tree');
  if (restored.mode === 'image' || restored.mode === 'lazy') {
    throw new NothingToSave(
      'each job of this instance has a tree of its own, which is thrown away; a warming group makes snapshots',
    );
  }
  if (
    restored.mode === 'mounted' &&
    !(restored.tree !== undefined && (await isBound(paths, restored.tree)))
  ) {
    throw new NothingToSave(
      `the warm tree ${paths.warm} is not mounted any more; \`aw-runner snapshot restore\` mounts it`,
    );
  }
  const [refused] = paths.refusedPaths;
  if (refused !== undefined) throw new NothingToSave(refused);
  if (restored.mode !== 'mounted' || restored.tree === undefined) return;
  const point = paths.treeMount(restored.tree);
  for (const path of await unboundPaths(paths, restored.tree)) {
    if (!adopt) throw new NothingToSave(`${path.path} does not show the tree any more: it was unmounted`);
    await access(path.place).catch(() => {
      throw new NothingToSave(`${path.path} does not exist`);
    });
    await copyInto(point, path);
  }
  await bindWarm(paths, { name: restored.tree, point });
}

/**
 * An empty tree on top of a snapshot is the sign of a restore or a command that failed. Every runner would restore it, so it is
 * not published.
 *
 * @throws {NothingToSave}
 */
async function refuseToEmpty(
  { s3, bucket, set }: SaveOptions,
  paths: Paths,
  restored: Restored | undefined,
): Promise<void> {
  for (const place of [paths.warm, ...paths.warmPaths.map((each) => each.place)])
    if ((await readdir(place).catch(() => [])).length > 0) return;
  const replaced =
    restored?.snapshot?.id ?? (await readPointer(s3Store(s3, bucket), set))?.pointer.current?.id;
  if (replaced !== undefined)
    throw new NothingToSave(`the warm tree is empty, and snapshot ${replaced} is not`);
}

/**
 * Makes `paths.saving` the image of the tree: everything outside the saved directories is deleted, freed blocks are discarded,
 * the file system is unmounted and freed inodes are wiped, so that no deleted content is in the image. The tree is mounted again
 * at once.
 */
async function freezeTree(paths: Paths, restored: Restored, signal: AbortSignal | undefined): Promise<void> {
  const name = restored.tree ?? '';
  const [image, point] = [paths.tree(name), paths.treeMount(name)];
  const loop = await deviceOf(image);
  if (loop === undefined) throw new NothingToSave(`the tree ${point} has no loop device`);
  // Also before the sync: it reports the same loss with other words.
  await refuseLosses(loop);
  await deleteOutside(point, paths, signal);
  await execute('sync', ['--file-system', point]);
  await discardFreed(loop, point);
  await refuseLosses(loop);
  try {
    await unmountImage(image, point);
  } catch (error) {
    if (await isMounted(point)) await bindWarm(paths, { name, point });
    throw error;
  }
  try {
    await wipeDeletedInodes(image);
    await growImage(image, signal);
    await cloneFile(image, paths.saving);
  } finally {
    await bindWarm(paths, await openTree(paths, name));
    await balanceReserve(paths);
  }
}

/** @throws {NothingToSave} if the kernel has lost writes */
async function refuseLosses(loop: string): Promise<void> {
  const errors = await errorsOf(loop);
  if (errors === 0) return;
  throw new NothingToSave(
    `the kernel has counted ${errors} errors or warnings in the tree: the disk was full or fails, and writes are lost`,
  );
}

/** The root, homes and temporary files of jobs are beside the saved directories; they can hold credentials. */
async function deleteOutside(point: string, paths: Paths, signal: AbortSignal | undefined): Promise<void> {
  await mkdir(join(point, PATHS), { recursive: true });
  const named = paths.warmPaths.map(({ path }) => basename(inTree(path)));
  const left = [
    ...(await deleteOthers(point, KEPT, signal)),
    // A directory that the set does not name any more.
    ...(await deleteOthers(join(point, PATHS), named, signal)),
    ...(await readdir(join(point, 'lost+found')).catch(() => [])),
  ];
  if (left.length > 0) throw new NothingToSave(`${left.join(', ')} in the tree cannot be deleted`);
}

/** @returns the names that could not be deleted */
async function deleteOthers(
  directory: string,
  kept: readonly string[],
  signal: AbortSignal | undefined,
): Promise<string[]> {
  const names = kept.flatMap((name) => ['!', '-name', name]);
  const others = [directory, '-mindepth', '1', '-maxdepth', '1', ...names];
  const abortable = signal ? { signal } : {};
  // Names can be any bytes, so they stay within find.
  await execute('find', [...others, '-exec', 'rm', '-rf', '--one-file-system', '--', '{}', '+'], abortable);
  return (await execute('find', [...others, '-printf', '%f\\n'])).split('\n').filter(Boolean);
}

/** Freed blocks keep their content until they are discarded. */
async function discardFreed(loop: string, point: string): Promise<void> {
  const granularity = await readFile(`/sys/block/${loop}/queue/discard_granularity`, 'utf8');
  if (Number(granularity) === 0) {
    throw new NothingToSave(`/dev/${loop} does not discard blocks: deleted files would be published`);
  }
  await execute('fstrim', [point]);
}

/** @returns the version of e2fsck @throws {BadImage} */
async function checked(image: string, signal: AbortSignal | undefined): Promise<string> {
  await checkImage(image, signal);
  // The version is printed to standard error.
  const text = await execute('sh', ['-c', 'e2fsck -V 2>&1']);
  return /e2fsck ([\w.-]+)/.exec(text)?.[1] ?? 'unknown';
}

/** The image that the tree is a clone of, if only the difference to it is to be sent. */
async function parentOf(
  paths: Paths,
  restored: Restored | undefined,
  set: string,
): Promise<Base | undefined> {
  // The frames of the parent must be of this set: the index names them by their place in it.
  if (restored?.mode !== 'mounted' || restored.set !== set || !restored.snapshot) return undefined;
  return readBase(paths, restored.snapshot.id);
}

type Sent = Omit<SaveResult, 'seconds'>;
type SendOptions = SaveOptions & {
  e2fsck: string;
  startedFrom: string | undefined;
  paths: readonly string[];
};

async function send(paths: Paths, parent: Base | undefined, options: SendOptions): Promise<Sent> {
  const { size } = await stat(paths.saving);
  const extents = await extentsOf(paths.saving).catch((error: unknown) => {
    // Without a file system that has extents everything is read.
    if (parent) throw error;
    return [{ start: 0, end: size, physical: 0, isShared: false }];
  });
  const changed = await changesOf(paths, parent, extents, size);
  const plan = planSave(
    changed,
    changedUnits(undefined, extents, size),
    parent && { index: parent.index, frames: parent.manifest.frames },
  );
  const metadata = await metadataUnits(paths.saving);
  const inherits = plan.isFull ? undefined : parent;
  try {
    return await sendAgain(paths, { send: plan.send, metadata, size }, inherits, options);
  } catch (error) {
    if (!(error instanceof IndexTooLarge) || !inherits) throw error;
    return send(paths, undefined, options);
  }
}

/** The units that differ from the parent's image: first by their addresses, then by their content. */
async function changesOf(
  paths: Paths,
  parent: Base | undefined,
  extents: Extent[],
  size: number,
): Promise<Uint8Array> {
  if (!parent) return changedUnits(undefined, extents, size);
  const base = paths.base(parent.id);
  const changed = changedUnits(await extentsOf(base), extents, size);
  const [image, theirs] = await Promise.all([open(paths.saving, 'r'), open(base, 'r')]);
  try {
    await unmarkEqual(changed, image, theirs);
  } finally {
    await Promise.all([image.close(), theirs.close()]);
  }
  return changed;
}

type Content = { send: Uint8Array; metadata: Uint8Array; size: number };

async function sendAgain(
  paths: Paths,
  content: Content,
  parent: Base | undefined,
  options: SendOptions,
): Promise<Sent> {
  for (let attempt = 1; ; attempt += 1) {
    const image = await open(paths.saving, 'r');
    try {
      return await sendOnce(image, content, parent, options);
    } catch (error) {
      if (!(error instanceof UploadConflict) || attempt === MAX_CONFLICTS) throw error;
    } finally {
      await image.close();
    }
  }
}

async function sendOnce(
  image: FileHandle,
  content: Content,
  parent: Base | undefined,
  options: SendOptions,
): Promise<Sent> {
  const { s3, bucket, set, signal } = options;
  const progress = options.progress ?? silentProgress;
  const patience: Patience = { until: performance.now() + PATIENCE_MS, ...(signal && { signal }) };
  const { id, createdAt } = newId(parent?.id, options.now?.() ?? new Date());
  progress.begin('save', content.send.reduce((sum, each) => sum + each, 0) * UNIT_BYTES);
  const target = { s3, bucket, key: framesKey(set, id) };
  const upload = framesUpload(target, patience, () => {});
  let frames: NewFrame[];
  let stored: Awaited<ReturnType<typeof upload.finish>>;
  try {
    const wanted = runs(content.send, content.metadata, MAX_FRAME_UNITS);
    frames = await sendFrames(image, wanted, upload, progress, signal);
    stored = await upload.finish();
  } catch (error) {
    const left = await upload.abort();
    progress.end(left === undefined ? 'aborted' : `not aborted: ${left}`);
    throw signal?.aborted ? signal.reason : error;
  }
  const { index, objects } = indexOf(content, parent, frames, stored && { id, ...stored });
  const manifest = manifestOf(options, { id, createdAt, content, parent, index, objects });
  await putOnce({ s3, bucket, key: indexKey(set, id) }, index.bytes, patience);
  signal?.throwIfAborted();
  const store = s3Store(s3, bucket);
  const written = await patiently(patience, () =>
    store.write(manifestKey(set, id), manifest, { ifNoneMatch: true }),
  );
  if (written === undefined) throw new Error(`a snapshot ${id} exists already`);
  progress.end(`${frames.length} frames`);
  return { id, manifest, kind: parent ? 'difference' : 'full', uploadedBytes: stored?.bytes ?? 0 };
}

/** Ids sort by time, and a snapshot is newer than its parent also if a clock is late. */
function newId(parent: string | undefined, now: Date): { id: string; createdAt: Date } {
  const earliest = parent === undefined ? 0 : snapshotTime(parent).getTime() + 1000;
  const createdAt = new Date(Math.max(now.getTime(), earliest));
  return { id: snapshotId(createdAt, randomBytes(4).toString('hex')), createdAt };
}

/** The index of the new snapshot, and the objects that it names. */
function indexOf(
  content: Content,
  parent: Base | undefined,
  frames: readonly NewFrame[],
  added: FramesObject | undefined,
): { index: FrameIndex; objects: FramesObject[] } {
  const objects: FramesObject[] = [];
  const numbers: (number | undefined)[] = [];
  if (parent) {
    const used = new Set<number>();
    for (const { object } of unchangedRecords(parent.index, ranges(content.send))) used.add(object);
    for (const [number, object] of parent.manifest.frames.entries()) {
      if (used.has(number)) numbers[number] = objects.push(object) - 1;
    }
  }
  const own = added ? objects.push(added) - 1 : 0;
  const sorted = [...frames]
    .sort((a, b) => a.firstUnit - b.firstUnit)
    .map((frame) => ({ ...frame, object: own }));
  const builder = indexBuilder({ imageUnits: unitsOf(content.size), objects: objects.length });
  const records = parent ? nextRecords(parent.index, ranges(content.send), sorted, numbers) : sorted;
  for (const record of records) builder.add(record);
  return { index: builder.finish(markedUnits(content.metadata)), objects };
}

type Parts = {
  id: string;
  createdAt: Date;
  content: Content;
  parent: Base | undefined;
  index: FrameIndex;
  objects: FramesObject[];
};

/** A command as a manifest has it: whoever restores the snapshot can read it, so nothing of a credential's form is in it. */
function wordsOf(command: readonly string[]): string[] {
  return command.slice(0, MAX_WORDS).map((word) => redactText(word).slice(0, MAX_TEXT));
}

function manifestOf(options: SendOptions, parts: Parts): Manifest {
  const { command, user, commit } = options.facts ?? {};
  const { bytes } = parts.index;
  return {
    formatVersion: FORMAT_VERSION,
    set: options.set,
    id: parts.id,
    createdAt: parts.createdAt.toISOString(),
    platform: { os: 'linux', arch: process.arch, ext4Features: [...EXT4_FEATURES] },
    image: { bytes: parts.content.size },
    ...(parts.parent && { parent: parts.parent.id }),
    ...(options.startedFrom !== undefined && { startedFrom: options.startedFrom }),
    paths: [WARM, ...options.paths],
    ...(commit !== undefined && { commit }),
    ...(command && { command: wordsOf(command) }),
    ...(user !== undefined && { user }),
    e2fsck: { version: options.e2fsck, exitCode: 0 },
    index: { sha256: hash('sha256', bytes, 'hex'), bytes: bytes.length, records: parts.index.count },
    frames: parts.objects,
    totals: parts.index.totals(),
    tool: { name: 'aw-runner', version: options.toolVersion },
  };
}
