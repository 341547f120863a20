import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import type { S3Client } from '@aws-sdk/client-s3';
import { FORMAT_VERSION, type Layer, type Manifest } from '../../../../shared/snapshot/format-1/manifest.ts';
import {
  CorruptRecord,
  readManifest,
  readPointer,
  UnsupportedFormat,
} from '../../../../shared/snapshot/format-1/records.ts';
import { manifestKey, snapshotId } from '../../../../shared/snapshot/layout.ts';
import { type ObjectStore, s3Store } from '../../../../shared/snapshot/store.ts';
import { shouldCompact } from './compaction.ts';
import { isMounted, withLowerMounted } from './mounts.ts';
import { isOverlayOnly } from './overlay-only.ts';
import { packTree } from './pack.ts';
import { type Directories, type Paths, snapshotPaths } from './paths.ts';
import { thisPlatform } from './platform.ts';
import { type Progress, silentProgress } from './progress.ts';
import { type Restored, readRestored } from './restored-state.ts';
import { uploadLayer } from './upload.ts';
import { measureTree } from './walk.ts';

export type SaveOptions = {
  s3: S3Client;
  bucket: string;
  set: string;
  directories: Directories;
  toolVersion: string;
  bazelVersion?: string;
  progress?: Progress;
  signal?: AbortSignal;
  now?: () => Date;
};

export type SaveResult = {
  id: string;
  manifest: Manifest;
  /** Whether the whole tree was packed, or only the changes. */
  kind: 'full' | 'layer';
  /** Bytes that were sent. */
  uploadedBytes: number;
  seconds: { pack: number; upload: number };
};

/** The warm directory is not in a state that a snapshot can be made of. */
export class NothingToSave extends Error {
  override readonly name = 'NothingToSave';
}

/**
 * Saves the warm directory as a new snapshot. The manifest is the last object to be written, and never replaces another one.
 * A save that is killed earlier leaves at most a layer that no manifest names.
 *
 * @throws {NothingToSave} if the tree should be mounted and is not, or has lost all of its files
 */
export async function saveSnapshot(options: SaveOptions): Promise<SaveResult> {
  const paths = snapshotPaths(options.directories);
  const progress = options.progress ?? silentProgress;
  const store = s3Store(options.s3, options.bucket);
  const restored = await readRestored(paths);
  if (restored?.mode === 'mounted' && !(await isMounted(paths.warm))) {
    throw new NothingToSave(
      `the warm tree ${paths.warm} is not mounted any more; \`aw-runner snapshot restore\` mounts it`,
    );
  }
  // The layers below must be of this set: the manifest names them by their place in it.
  const base = restored?.mode === 'mounted' && restored.set === options.set ? restored.manifest : null;
  const began = performance.now();
  const plan = await planSave(paths, restored, base);
  if (plan.treeFiles === 0) await refuseToEmpty(store, options.set, restored?.manifest ?? null);
  options.signal?.throwIfAborted();
  try {
    const packed = await packTree(plan.folder, paths.packed, options.signal);
    const packedAt = performance.now();
    const uploadedBytes = await uploadLayer(
      options.s3,
      options.bucket,
      options.set,
      packed,
      progress,
      options.signal,
    );
    const { file: _, ...bytes } = packed;
    const layer: Layer = { ...bytes, ...plan.size, overlayOnly: plan.overlayOnly };
    const manifest = manifestOf(options, plan.kind === 'layer' && base ? base : null, layer);
    options.signal?.throwIfAborted();
    const written = await store.write(manifestKey(options.set, manifest.id), manifest, { ifNoneMatch: true });
    if (written === undefined) throw new Error(`a snapshot ${manifest.id} exists already`);
    const seconds = { pack: (packedAt - began) / 1000, upload: (performance.now() - packedAt) / 1000 };
    return { id: manifest.id, manifest, kind: plan.kind, uploadedBytes, seconds };
  } finally {
    await rm(paths.packed, { force: true });
  }
}

/**
 * An empty tree on top of a snapshot with files is the sign of a restore or a command that failed. Every runner would restore
 * it, so it is not published.
 *
 * @param parent the snapshot that was restored here, if any; else the set's current one counts
 * @throws {NothingToSave}
 */
async function refuseToEmpty(store: ObjectStore, set: string, parent: Manifest | null): Promise<void> {
  const replaced = parent?.set === set ? parent : await currentManifest(store, set);
  if (!replaced || replaced.totals.files === 0) return;
  throw new NothingToSave(
    `the warm tree has no files, and snapshot ${replaced.id} of set ${set} has ${replaced.totals.files}`,
  );
}

async function currentManifest(store: ObjectStore, set: string): Promise<Manifest | undefined> {
  const current = (await readPointer(store, set))?.pointer.current;
  if (!current) return undefined;
  return readManifest(store, set, current).catch((error: unknown) => {
    if (error instanceof UnsupportedFormat || error instanceof CorruptRecord) return undefined;
    throw error;
  });
}

type SavePlan = {
  kind: SaveResult['kind'];
  folder: string;
  size: { files: number; contentBytes: number };
  overlayOnly: boolean;
  /** Regular files in the whole tree. */
  treeFiles: number;
};

/** Only the changes, if the upper directory has them and the stack below is worth keeping; else the whole tree. */
async function planSave(
  paths: Paths,
  restored: Restored | undefined,
  base: Manifest | null,
): Promise<SavePlan> {
  const whole = async (): Promise<SavePlan> => {
    const size = await measureTree(paths.warm);
    return { kind: 'full', folder: paths.warm, size, overlayOnly: false, treeFiles: size.files };
  };
  if (restored?.mode !== 'mounted' || !base) return whole();
  const changed = await measureTree(paths.upper);
  const full = await whole();
  if (shouldCompact(base.layers, changed.contentBytes, full.size.contentBytes)) return full;
  const lower = base.layers.map((layer) => paths.layerMount(layer.sha256));
  const overlayOnly = await withLowerMounted(paths, lower, (below) =>
    isOverlayOnly(paths.upper, below, paths.warm),
  );
  return { kind: 'layer', folder: paths.upper, size: changed, overlayOnly, treeFiles: full.treeFiles };
}

function manifestOf(options: SaveOptions, below: Manifest | null, layer: Layer): Manifest {
  const now = options.now?.() ?? new Date();
  // A layer with the same bytes exists in the stack only if nothing has changed at all.
  const layers = [...(below?.layers ?? []).filter(({ sha256 }) => sha256 !== layer.sha256), layer];
  const total = (key: 'bytes' | 'files' | 'contentBytes') => layers.reduce((sum, each) => sum + each[key], 0);
  return {
    formatVersion: FORMAT_VERSION,
    set: options.set,
    id: snapshotId(now, randomBytes(4).toString('hex')),
    createdAt: now.toISOString(),
    platform: thisPlatform(),
    ...(options.bazelVersion !== undefined && { bazelVersion: options.bazelVersion }),
    layers,
    totals: { bytes: total('bytes'), files: total('files'), contentBytes: total('contentBytes') },
    ...(below && { parent: below.id }),
    tool: { name: 'aw-runner', version: options.toolVersion },
  };
}
