import { spawn } from 'node:child_process';
import { open, readdir, readFile, rename, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { S3Client } from '@aws-sdk/client-s3';
import * as v from 'valibot';
import { CorruptRecord } from '../../../../shared/snapshot/errors.ts';
import { type FrameIndex, openIndex } from '../../../../shared/snapshot/frame-index.ts';
import { manifestKey } from '../../../../shared/snapshot/layout.ts';
import { type Manifest, manifestSchema, platformProblem } from '../../../../shared/snapshot/manifest.ts';
import type { Vouched } from '../../../../shared/snapshot/pointer.ts';
import { readIndex, readVouchedManifest } from '../../../../shared/snapshot/records.ts';
import { planRestore, type RestorePlan } from '../../../../shared/snapshot/restore-plan.ts';
import { s3Store } from '../../../../shared/snapshot/store.ts';
import { bytesOf, unitsOf } from '../../../../shared/snapshot/units.ts';
import { raceAbort } from '../abortable.ts';
import { fetchFrames, openFrameLog } from './fill.ts';
import type { Paths } from './paths.ts';
import { type Patience, patiently } from './patience.ts';
import type { Progress } from './progress.ts';
import { balanceReserve } from './reserve.ts';
import { cloneFile, makePrivate } from './trees.ts';
import { startWriteBack } from './write-back.ts';

/** The complete image of a snapshot on this disk. */
export type Base = { id: string; manifestSha256: string; manifest: Manifest; index: FrameIndex };

/** The snapshot is for other instances, or for other versions of Hearth. */
export class Unusable extends Error {
  override readonly name = 'Unusable';
}

export type FetchOptions = {
  s3: Pick<S3Client, 'send'>;
  bucket: string;
  set: string;
  /** Whether a file can be cloned, so that only the difference to another image is fetched. */
  canClone: boolean;
  progress: Progress;
  patience: Patience;
};

const recordSchema = v.object({ manifestSha256: v.string(), manifest: manifestSchema });

/** The base with this id, or undefined if the disk does not have it completely. */
export async function readBase(paths: Paths, id: string): Promise<Base | undefined> {
  try {
    const [text, bytes, image] = await Promise.all([
      readFile(paths.baseManifest(id), 'utf8'),
      readFile(paths.baseIndex(id)),
      stat(paths.base(id)),
    ]);
    const { manifest, manifestSha256 } = v.parse(v.pipe(v.string(), v.parseJson(), recordSchema), text);
    if (image.size !== manifest.image.bytes) return undefined;
    const index = openIndex(paths.baseIndex(id), bytes, {
      imageUnits: unitsOf(manifest.image.bytes),
      records: manifest.index.records,
      objects: manifest.frames,
    });
    return { id, manifestSha256, manifest, index };
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    if (isMissing || error instanceof v.ValiError || error instanceof CorruptRecord) return undefined;
    throw error;
  }
}

/** Ids of the complete images on the disk, newest first. */
async function baseIds(paths: Paths): Promise<string[]> {
  const names = await readdir(paths.bases).catch(() => []);
  const ids = names.flatMap((name) => (name.endsWith('.img') ? name.slice(0, -'.img'.length) : []));
  return ids.sort().reverse();
}

/** Removes the images that are not in use, complete or partial. */
export async function sweepBases(paths: Paths, keep: ReadonlySet<string>): Promise<void> {
  for (const name of await readdir(paths.bases).catch(() => [])) {
    if (!keep.has(name.replace(/\.[^.]*$/, ''))) await rm(join(paths.bases, name), { force: true });
  }
}

export async function removeBase(paths: Paths, id: string): Promise<void> {
  for (const file of [paths.base, paths.baseManifest, paths.baseIndex, paths.part, paths.partFrames]) {
    await rm(file(id), { force: true });
  }
}

/**
 * Brings the complete image of a snapshot onto the disk: not at all if it is there, as the difference to another image that is,
 * or completely. A fill that was interrupted is continued.
 *
 * @returns bytes that were fetched
 * @throws {Unusable}; {CorruptRecord} and {BrokenFrame} if the snapshot is broken; {NoRoom}; errors of S3 and of the disk
 */
export async function ensureBase(paths: Paths, wanted: Vouched, options: FetchOptions): Promise<number> {
  const base = await missingBase(paths, wanted, options);
  if (!base) return 0;
  const fetchedBytes = await fill(paths, base, options);
  await writeRecords(paths, base);
  await rename(paths.part(wanted.id), paths.base(wanted.id));
  await rm(paths.partFrames(wanted.id), { force: true });
  return fetchedBytes;
}

/**
 * What is to be fetched, or undefined if the disk has the complete image.
 *
 * @throws {Unusable}; {CorruptRecord}; errors of S3 and of the disk
 */
export async function missingBase(
  paths: Paths,
  wanted: Vouched,
  options: Pick<FetchOptions, 's3' | 'bucket' | 'set' | 'patience'>,
): Promise<Base | undefined> {
  const found = await readBase(paths, wanted.id);
  if (found?.manifestSha256 === wanted.manifestSha256) return undefined;
  const store = s3Store(options.s3, options.bucket);
  await makePrivate(paths.bases);
  const { signal } = options.patience;
  const manifest = await patiently(options.patience, () =>
    raceAbort(signal, readVouchedManifest(store, options.set, wanted)),
  );
  if (!manifest) throw new CorruptRecord(manifestKey(options.set, wanted.id), 'is missing');
  const problem = platformProblem(manifest, { os: 'linux', arch: process.arch });
  if (problem !== undefined) throw new Unusable(problem);
  const index = await patiently(options.patience, () => raceAbort(signal, readIndex(store, manifest)));
  return { ...wanted, manifest, index };
}

/** Writes manifest and index beside an image. They alone do not make a base. */
export async function writeRecords(
  paths: Paths,
  { id, manifestSha256, manifest, index }: Base,
): Promise<void> {
  await writeFile(paths.baseIndex(id), index.bytes);
  await writeFile(paths.baseManifest(id), JSON.stringify({ manifestSha256, manifest }));
}

async function fill(paths: Paths, base: Base, options: FetchOptions): Promise<number> {
  const { id, manifest, index } = base;
  const older = options.canClone ? await bestBase(paths, index) : undefined;
  const plan = planRestore(index, older?.index);
  const part = paths.part(id);
  const origin = { index: manifest.index.sha256, base: older?.id ?? null };
  // A removal that was killed can have left the record of the frames alone.
  if (!(await stat(part).catch(() => undefined))) await rm(paths.partFrames(id), { force: true });
  const log = await openFrameLog(paths.partFrames(id), origin, async () => {
    await rm(part, { force: true });
    if (older) await cloneFile(paths.base(older.id), part);
    else await writeFile(part, '');
  });
  try {
    const needed = neededBytes(plan);
    await requireRoom(paths, log.isResumed ? 0 : needed.written);
    const file = await open(part, 'r+');
    try {
      await file.truncate(manifest.image.bytes);
      await balanceReserve(paths, needed.written);
      options.progress.begin('restore', needed.fetched);
      const source = { s3: options.s3, bucket: options.bucket, manifest };
      const { progress, patience } = options;
      const writeBack = startWriteBack(file);
      const target = { file: part, wrote: writeBack.add };
      const fetched = await fetchFrames(target, plan.fetches(), log, source, progress, patience);
      if (older) await punch(part, plan);
      await writeBack.end();
      options.progress.end(older ? `difference to ${older.id}` : '');
      return fetched;
    } finally {
      await file.close();
    }
  } finally {
    await log.close();
  }
}

/** The image on the disk that leaves the fewest bytes to fetch. The newest one wins, if none is better. */
export async function bestBase(paths: Paths, index: FrameIndex): Promise<Base | undefined> {
  let best: { base: Base; bytes: number } | undefined;
  const whole = index.totals().storedBytes;
  for (const id of await baseIds(paths)) {
    const base = await readBase(paths, id);
    if (!base || base.index.imageUnits > index.imageUnits) continue;
    const bytes = neededBytes(planRestore(index, base.index)).fetched;
    if (bytes < (best?.bytes ?? whole)) best = { base, bytes };
  }
  return best?.base;
}

export function neededBytes(plan: RestorePlan): { fetched: number; written: number } {
  let [fetched, units] = [0, 0];
  for (const { storedBytes, writes } of plan.fetches()) {
    fetched += storedBytes;
    for (const write of writes) units += write.units;
  }
  return { fetched, written: bytesOf(units) };
}

/** The disk has no room for the image. */
export class NoRoom extends Error {
  override readonly name = 'NoRoom';
}

export async function requireRoom(paths: Paths, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(paths.images);
  if (bytes <= bavail * bsize) return;
  throw new NoRoom(`ENOSPC: the image takes ${bytes} bytes, ${paths.images} has ${bavail * bsize}`);
}

/** Makes units zero that are zero in the snapshot and were not in the image that was cloned. Node has no call for it. */
export async function punch(file: string, plan: RestorePlan): Promise<void> {
  const child = spawn('xfs_io', [file], { stdio: ['pipe', 'ignore', 'pipe'] });
  let problem = '';
  child.stderr.setEncoding('utf8').on('data', (piece: string) => (problem += piece));
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', (cause) => reject(new Error(`xfs_io did not run: ${cause.message}`, { cause })));
    child.once('close', resolve);
  });
  for (const { firstUnit, units } of plan.punches()) {
    child.stdin.write(`fpunch ${bytesOf(firstUnit)} ${bytesOf(units)}\n`);
  }
  child.stdin.end();
  const code = await ended;
  if (code !== 0 || problem !== '') throw new Error(`units cannot be punched: ${problem.trim() || code}`);
}
