import { mkdtemp, rm } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { readManifest } from '../../shared/snapshot/records.ts';
import { type Bucket, SET, startBucket } from './snapshot/bucket.ts';
import { changeAsANight } from './snapshot/change-files.ts';
import { dropPageCache, freshXfs, unmountBelow } from './snapshot/file-systems.ts';
import { type Instance, instanceOn } from './snapshot/instance.ts';
import { drawIfAsked } from './snapshot/picture.ts';
import { compare, memoryRow, type Row, table } from './snapshot/report.ts';
import { timedShell } from './snapshot/timed.ts';
import { makeTree } from './snapshot/tree.ts';

/**
 * `npm run bench:save`: a whole tree saved, compared with an archive of it; a touch of everything; and what ten nights of changes
 * cost a restore. Every round runs every side once, in turn; the figures are medians of ratios within a round. BENCH_ROUNDS sets the
 * rounds, `--svg` draws the picture in docs/bench. Needs root, to mount.
 */
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 5);
const NIGHTS = 10;

const root = resolve(import.meta.dirname, '../..');
if (process.getuid?.() !== 0) throw new Error('bench:save mounts file systems: run it as root');

const folder = await mkdtemp(join(tmpdir(), 'hearth-bench-save-'));
const rows: Row[] = [];
let about = { files: 0, contentBytes: 0 };

try {
  await measureSaves('unshaped');
  // BENCH_SMALL=1 leaves out the rest, which takes minutes.
  if (process.env.BENCH_SMALL !== '1') {
    await measureSaves('shaped');
    await measureNights();
  }
  console.log(table(rows));
  await drawIfAsked(root, 'save', 'Saving a warm tree', { ...about, rounds: ROUNDS }, rows);
  console.log(JSON.stringify({ bench: 'save', rounds: ROUNDS, tree: about, rows }));
} finally {
  unmountBelow(folder);
  await rm(folder, { recursive: true, force: true });
}

async function newTree(bucket: Bucket): Promise<Instance> {
  const disk = join(folder, 'disk');
  freshXfs(disk);
  const maker = await instanceOn(root, disk, bucket);
  // There is no snapshot yet, which the program reports with its exit code.
  await maker.snapshot('restore').catch(() => undefined);
  about = await makeTree(root, maker.warm);
  return maker;
}

async function measureSaves(link: 'shaped' | 'unshaped'): Promise<void> {
  const bucket = await startBucket(link);
  try {
    const maker = await newTree(bucket);
    console.log(
      `${link}, ${about.files} files, ${(about.contentBytes / 1e6).toFixed(0)} MB; ${ROUNDS} interleaved rounds on ${cpus().length} cores`,
    );
    const found = {
      full: [] as number[],
      archive: [] as number[],
      fullBytes: [] as number[],
      archiveBytes: [] as number[],
    };
    let peak = 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      await bucket.empty();
      dropPageCache();
      const full = await maker.snapshot('save');
      found.full.push(full.seconds);
      found.fullBytes.push(await addedBytes(bucket));
      peak = Math.max(peak, full.peakBytes);
      dropPageCache();
      const line = `tar c -C ${maker.warm} . | zstd -q -3 -T0 | curl -sf -T - ${bucket.urlOf('tree.tar.zst')}`;
      found.archive.push((await timedShell(line)).seconds);
      for await (const { bytes } of bucket.store.list('tree.tar.zst')) found.archiveBytes.push(bytes);
    }
    const archive = 'tar c | zstd -3 -T0 | curl';
    rows.push(compare({ what: `full save, ${link}`, against: archive, goal: 1 }, found.full, found.archive));
    if (link === 'shaped') {
      rows.push(memoryRow('memory of the save', peak));
      return;
    }
    const bytes = { what: 'its size', against: archive, goal: 1.1, unit: 'MB' } as const;
    rows.push(compare(bytes, found.fullBytes, found.archiveBytes));
    const [id = ''] = await bucket.manifests();
    await bucket.makeCurrent(id);
    await maker.snapshot('restore');
    await timedShell(`find ${maker.warm} -type f -exec touch {} +`);
    const touch = await maker.snapshot('save');
    const touched = {
      what: 'size after touch of all',
      against: 'full save',
      goal: 0.01,
      unit: 'MB',
    } as const;
    rows.push(compare(touched, [await addedBytes(bucket)], [found.fullBytes.at(-1) ?? Number.NaN]));
    console.log(`the save after a touch of everything took ${touch.seconds.toFixed(2)} s`);
  } finally {
    bucket.close();
    unmountBelow(join(folder, 'disk'));
  }
}

/** Bytes that the newest snapshot has added. */
async function addedBytes({ manifests, store }: Bucket): Promise<number> {
  const newest = (await manifests()).sort().at(-1) ?? '';
  const read = await readManifest(store, SET, newest);
  return read?.manifest.frames.find(({ id }) => id === newest)?.bytes ?? 0;
}

/** What a restore fetches after ten nights, each from a restored snapshot, compared with a fresh image of the same tree. */
async function measureNights(): Promise<void> {
  const bucket = await startBucket('unshaped');
  try {
    const maker = await newTree(bucket);
    for (let number = 0; number <= NIGHTS; number += 1) {
      if (number > 0) {
        await changeAsANight(maker.warm, number);
        // Packages are deleted and installed again.
        if (number % 3 === 2) {
          const packages = join(maker.warm, 'node_modules');
          await timedShell(`rm -rf ${packages} && cp -a ${root}/node_modules/. ${packages}`);
        }
      }
      const before = new Set(await bucket.manifests());
      await maker.snapshot('save');
      const id = (await bucket.manifests()).find((each) => !before.has(each)) ?? '';
      const totals = (await readManifest(bucket.store, SET, id))?.manifest;
      console.log(
        `night ${number}: ${((await addedBytes(bucket)) / 1e6).toFixed(1)} MB sent, a restore fetches ${((totals?.totals.storedBytes ?? 0) / 1e6).toFixed(1)} MB from ${totals?.frames.length} objects`,
      );
      await bucket.makeCurrent(id);
      await maker.snapshot('restore');
    }
    const newest = (await bucket.manifests()).sort().at(-1) ?? '';
    const fetched =
      (await readManifest(bucket.store, SET, newest))?.manifest.totals.storedBytes ?? Number.NaN;
    // The same tree on a disk that has no parent of it.
    const fresh = join(folder, 'fresh');
    freshXfs(fresh);
    await bucket.empty();
    const other = await instanceOn(root, fresh, bucket);
    await other.snapshot('restore').catch(() => undefined);
    await timedShell(`cp -a ${maker.warm}/. ${other.warm}`);
    await other.snapshot('save');
    const full = await addedBytes(bucket);
    const names = {
      what: `fetched after ${NIGHTS} nights`,
      against: 'a fresh full image',
      goal: 1.25,
      unit: 'MB',
    } as const;
    rows.push(compare(names, [fetched], [full]));
  } finally {
    bucket.close();
    unmountBelow(folder);
  }
}
