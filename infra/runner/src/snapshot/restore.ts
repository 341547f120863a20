import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import type { S3Client } from '@aws-sdk/client-s3';
import type { RestoreOutcome } from '../../../../shared/fleet/report.ts';
import { errorText } from '../../../../shared/runtime/errors.ts';
import type { Manifest } from '../../../../shared/snapshot/format-1/manifest.ts';
import {
  CorruptRecord,
  readManifest,
  readPointer,
  UnsupportedFormat,
} from '../../../../shared/snapshot/format-1/records.ts';
import { s3Store } from '../../../../shared/snapshot/store.ts';
import { raceAbort } from '../abortable.ts';
import { removeUnused } from './clean-up.ts';
import { BrokenLayer, downloadLayers } from './download.ts';
import { extractLayers } from './extract.ts';
import { canMount, discardUpper, mountLayer, mountWarm, unmountAll } from './mounts.ts';
import { type Directories, type Paths, snapshotPaths } from './paths.ts';
import { platformProblem } from './platform.ts';
import { type Progress, silentProgress } from './progress.ts';
import { forgetRestored, type Restored, readRestored, writeRestored } from './restored-state.ts';

export type RestoreOptions = {
  s3: Pick<S3Client, 'send'>;
  bucket: string;
  /** Undefined: the runner group has no warming set. */
  set: string | undefined;
  directories: Directories;
  progress?: Progress;
  /** Ends the download: the restore is cold then. A mount that has begun is completed. */
  signal?: AbortSignal;
  /** Receives one line per problem that does not fail the restore. */
  warn?: (line: string) => void;
};

/** The result of a restore. */
export type RestoreResult = {
  outcome: RestoreOutcome;
  /** The mounted snapshot. */
  id?: string;
  /** The current snapshot, if it could not be mounted. The function `warming` verifies it. */
  broken?: { id: string; reason: string };
  /** Downloaded bytes. */
  fetchedBytes: number;
  seconds: number;
};

/**
 * Mounts the set's current snapshot at the warm directory; if it is broken, a previous one; else leaves an empty directory.
 * An error of S3 or of a snapshot never fails a restore: a cold runner is better than none.
 */
export async function restoreSnapshot(options: RestoreOptions): Promise<RestoreResult> {
  const began = performance.now();
  const paths = snapshotPaths(options.directories);
  const result = await restoreInto(paths, options);
  return { ...result, seconds: (performance.now() - began) / 1000 };
}

type Attempt = Omit<RestoreResult, 'seconds'>;

async function restoreInto(paths: Paths, options: RestoreOptions): Promise<Attempt> {
  const warn = options.warn ?? (() => {});
  if (options.set === undefined) {
    await prepareEmpty(paths, '', warn);
    return { outcome: 'none', fetchedBytes: 0 };
  }
  const { set } = options;
  let broken: Attempt['broken'];
  try {
    const store = s3Store(options.s3, options.bucket);
    const stored = await raceAbort(options.signal, readPointer(store, set));
    const candidates = stored ? [stored.pointer.current, ...stored.pointer.previous] : [];
    for (const id of candidates) {
      if (id === null) continue;
      const tried = await tryCandidate(store, set, id, paths, options);
      if ('fetchedBytes' in tried) {
        return {
          outcome: id === stored?.pointer.current ? 'restored' : 'previous',
          id,
          ...(broken && { broken }),
          ...tried,
        };
      }
      if ('unusable' in tried) {
        warn(`snapshot ${id} is not for this instance: ${tried.unusable}`);
        continue;
      }
      warn(`snapshot ${id} is broken: ${tried.broken}`);
      // Only the first broken one is reported. The others are verified when they become current.
      broken ??= { id, reason: tried.broken.slice(0, 1000) };
    }
    if (candidates.length === 0) warn(`set ${set} has no snapshot yet`);
  } catch (error) {
    warn(`no snapshot could be restored: ${errorText(error)}`);
  }
  await prepareEmpty(paths, set, warn);
  return { outcome: 'cold', ...(broken && { broken }), fetchedBytes: 0 };
}

async function tryCandidate(
  store: ReturnType<typeof s3Store>,
  set: string,
  id: string,
  paths: Paths,
  options: RestoreOptions,
): Promise<{ fetchedBytes: number } | { broken: string } | { unusable: string }> {
  try {
    const { signal } = options;
    const manifest = await raceAbort(signal, readManifest(store, set, id));
    if (!manifest) return { broken: 'it has no manifest' };
    const problem = platformProblem(manifest);
    if (problem !== undefined) return { unusable: problem };
    const source = { s3: options.s3, bucket: options.bucket, set };
    const progress = options.progress ?? silentProgress;
    const download = downloadLayers(manifest.layers, source, paths, progress, signal);
    const fetchedBytes = await raceAbort(signal, download);
    await show(manifest, paths, options);
    await removeUnused(paths, new Set(manifest.layers.map(({ sha256 }) => sha256)));
    return { fetchedBytes };
  } catch (error) {
    if (error instanceof UnsupportedFormat) return { unusable: error.message };
    if (error instanceof CorruptRecord || error instanceof BrokenLayer) return { broken: error.message };
    throw error;
  }
}

async function show(manifest: Manifest, paths: Paths, options: RestoreOptions): Promise<void> {
  const before = await readRestored(paths);
  if (!canMount()) {
    await forgetRestored(paths);
    await rm(paths.warm, { recursive: true, force: true });
    await rm(paths.extracting, { recursive: true, force: true });
    // The tree gets its place only when it is complete: a cold boot must not present half of it.
    await extractLayers(manifest.layers, paths, paths.extracting, options.signal);
    await rename(paths.extracting, paths.warm);
    await writeRestored(paths, { version: 1, set: manifest.set, mode: 'extracted', manifest });
    return;
  }
  if (before?.manifest?.id !== manifest.id) {
    // Changes on top of another snapshot are invalid on this one. After a reboot it is the same one, and they stay.
    await forgetRestored(paths);
    await unmountAll(paths);
    await discardUpper(paths);
  }
  const lower: string[] = [];
  for (const { sha256 } of manifest.layers) {
    try {
      lower.push(await mountLayer(paths, sha256));
    } catch (error) {
      // The layer was verified at its download and cannot be mounted now: the file on this disk is bad.
      await rm(paths.layerFile(sha256), { force: true });
      options.warn?.(`layer ${sha256} could not be mounted and was removed`);
      throw error;
    }
  }
  await mountWarm(paths, lower);
  await readTop(paths);
  await writeRestored(paths, { version: 1, set: manifest.set, mode: 'mounted', manifest });
}

/** The kernel refuses a directory with entries that lead out of the tree, although all checksums match. */
async function readTop(paths: Paths): Promise<void> {
  try {
    await readdir(paths.warm);
  } catch (cause) {
    await unmountAll(paths);
    throw new BrokenLayer(`the mounted tree cannot be read: ${errorText(cause)}`, { cause });
  }
}

/** A writable directory without a snapshot. It is an overlay where one can be mounted, so that a save finds the changes. */
async function prepareEmpty(paths: Paths, set: string, warn: (line: string) => void): Promise<void> {
  let mode: Restored['mode'] = 'plain';
  await forgetRestored(paths);
  await mkdir(paths.warm, { recursive: true });
  if (canMount()) await unmountAll(paths);
  // Unused layers, complete or partial, take disk space from the jobs.
  await removeUnused(paths, new Set());
  if (canMount()) {
    try {
      await discardUpper(paths);
      await mountWarm(paths, []);
      mode = 'mounted';
    } catch (error) {
      warn(
        `no overlay can be mounted, so the warm directory is a plain one: ${error instanceof Error ? error.message : error}`,
      );
    }
  }
  await writeRestored(paths, { version: 1, set, mode, manifest: null });
}
