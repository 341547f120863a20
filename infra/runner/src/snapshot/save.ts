import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import type { S3Client } from '@aws-sdk/client-s3';
import { manifestKey, snapshotId } from '../../../../shared/snapshot/layout.ts';
import { FORMAT_VERSION, type Layer, type Manifest } from '../../../../shared/snapshot/manifest.ts';
import { s3Store } from '../../../../shared/snapshot/store.ts';
import { shouldCompact } from './compaction.ts';
import { withLowerMounted } from './mounts.ts';
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
  /** Whether the whole tree was packed, or only what changed. */
  kind: 'full' | 'layer';
  /** Bytes that were sent. */
  uploadedBytes: number;
  seconds: { pack: number; upload: number };
};

/**
 * Saves the warm directory as a new snapshot. Nothing of it can be seen before its manifest is written, as the last of all
 * writes and never over another one; a save that dies before leaves at most a layer that nobody names.
 */
export async function saveSnapshot(options: SaveOptions): Promise<SaveResult> {
  const paths = snapshotPaths(options.directories);
  const progress = options.progress ?? silentProgress;
  const restored = await readRestored(paths);
  // What lies below must be of this set: its layers are named from there.
  const base = restored?.mode === 'mounted' && restored.set === options.set ? restored.manifest : null;
  const began = performance.now();
  const plan = await planSave(paths, restored, base);
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
    const written = await s3Store(options.s3, options.bucket).write(
      manifestKey(options.set, manifest.id),
      manifest,
      { ifNoneMatch: true },
    );
    if (written === undefined) throw new Error(`a snapshot ${manifest.id} exists already`);
    const seconds = { pack: (packedAt - began) / 1000, upload: (performance.now() - packedAt) / 1000 };
    return { id: manifest.id, manifest, kind: plan.kind, uploadedBytes, seconds };
  } finally {
    await rm(paths.packed, { force: true });
  }
}

type SavePlan = {
  kind: SaveResult['kind'];
  folder: string;
  size: { files: number; contentBytes: number };
  overlayOnly: boolean;
};

/** Changes alone where they are kept apart and the stack below is worth keeping; else the whole tree. */
async function planSave(
  paths: Paths,
  restored: Restored | undefined,
  base: Manifest | null,
): Promise<SavePlan> {
  const whole = async (): Promise<SavePlan> => ({
    kind: 'full',
    folder: paths.warm,
    size: await measureTree(paths.warm),
    overlayOnly: false,
  });
  if (restored?.mode !== 'mounted' || !base) return whole();
  const changed = await measureTree(paths.upper);
  const full = await whole();
  if (shouldCompact(base.layers, changed.contentBytes, full.size.contentBytes)) return full;
  const lower = base.layers.map((layer) => paths.layerMount(layer.sha256));
  const overlayOnly = await withLowerMounted(paths, lower, (below) =>
    isOverlayOnly(paths.upper, below, paths.warm),
  );
  return { kind: 'layer', folder: paths.upper, size: changed, overlayOnly };
}

function manifestOf(options: SaveOptions, below: Manifest | null, layer: Layer): Manifest {
  const now = options.now?.() ?? new Date();
  // The same layer twice would be a mistake of the stack, and happens only when nothing has changed at all.
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
