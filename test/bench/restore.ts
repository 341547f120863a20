import { mkdtemp, rm } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { type Bucket, startBucket } from './snapshot/bucket.ts';
import { changeAsANight } from './snapshot/change-files.ts';
import { dropPageCache, freshXfs, unmountBelow } from './snapshot/file-systems.ts';
import { instanceOn } from './snapshot/instance.ts';
import { drawIfAsked } from './snapshot/picture.ts';
import { compare, memoryRow, type Row, table } from './snapshot/report.ts';
import { type Timed, timedShell } from './snapshot/timed.ts';
import { LARGE, makeTree } from './snapshot/tree.ts';

/**
 * `npm run bench:restore`: a warm tree on a new instance, compared with an archive that is unpacked, from an endpoint with the rate
 * and the latency of S3 and from one without, for two sizes; and the step from one snapshot to the next. Every round runs every
 * side once, in turn, each on an empty XFS; the figures are medians of ratios within a round. BENCH_ROUNDS sets the rounds, `--svg`
 * draws the picture in docs/bench. Needs root, to mount.
 */
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 5);

const root = resolve(import.meta.dirname, '../..');
if (process.getuid?.() !== 0) throw new Error('bench:restore mounts file systems: run it as root');

const folder = await mkdtemp(join(tmpdir(), 'hearth-bench-restore-'));
const rows: Row[] = [];
let about = { files: 0, contentBytes: 0 };

try {
  // BENCH_SMALL=1 leaves out the large tree, which takes 10 GB of memory.
  for (const large of process.env.BENCH_SMALL === '1' ? [false] : [false, true]) {
    for (const link of ['unshaped', 'shaped'] as const) {
      const size = await measure(link, large);
      if (!large) about = size;
      console.log(table(rows));
    }
  }
  await drawIfAsked(root, 'restore', 'Restoring a warm tree', { ...about, rounds: ROUNDS }, rows);
  console.log(JSON.stringify({ bench: 'restore', rounds: ROUNDS, tree: about, rows }));
} finally {
  unmountBelow(folder);
  await rm(folder, { recursive: true, force: true });
}

async function measure(link: 'shaped' | 'unshaped', large: boolean) {
  const bucket = await startBucket(link);
  const source = join(folder, 'source');
  try {
    freshXfs(source);
    const maker = await instanceOn(root, source, bucket);
    await maker.snapshot('restore').catch(() => undefined);
    const size = await makeTree(root, maker.warm, large ? LARGE : undefined);
    const gigabytes = `${(size.contentBytes / 1e9).toFixed(1)} GB`;
    console.log(
      `${link}, ${size.files} files, ${gigabytes} of ${size.madeOf.join(', ')}; ${ROUNDS} interleaved rounds on ${cpus().length} cores`,
    );
    await maker.snapshot('save');
    const [first = ''] = await bucket.manifests();
    await bucket.makeCurrent(first);
    await timedShell(
      `tar c -C ${maker.warm} . | zstd -q -3 -T0 | curl -sf -T - ${bucket.urlOf('tree.tar.zst')}`,
    );
    await maker.snapshot('restore');
    await changeAsANight(maker.warm, 1);
    await maker.snapshot('save');
    const second = (await bucket.manifests()).find((id) => id !== first) ?? '';

    const times = { ours: [] as number[], archive: [] as number[], night: [] as number[] };
    let peak = 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      const [ours, night] = await restoreBoth(bucket, first, second);
      times.ours.push(ours.seconds);
      times.night.push(night.seconds);
      peak = Math.max(peak, ours.peakBytes, night.peakBytes);
      const disk = join(folder, 'disk');
      freshXfs(disk);
      dropPageCache();
      const line = `curl -sf ${bucket.urlOf('tree.tar.zst')} | zstd -q -d | tar x -C ${disk}`;
      times.archive.push((await timedShell(line)).seconds);
      unmountBelow(disk);
    }
    const names = { what: `restore, ${gigabytes}, ${link}`, against: 'curl | zstd -d | tar x', goal: 0.6 };
    rows.push(compare(names, times.ours, times.archive));
    const night = {
      what: `a night's difference, ${gigabytes}, ${link}`,
      against: 'the full restore',
      goal: 0.1,
    };
    rows.push(compare(night, times.night, times.ours));
    rows.push(memoryRow(`memory, ${gigabytes}, ${link}`, peak));
    return size;
  } finally {
    bucket.close();
    unmountBelow(source);
  }
}

/** A full restore of the first snapshot on an empty disk, and the step from it to the second. */
async function restoreBoth(bucket: Bucket, first: string, second: string): Promise<[Timed, Timed]> {
  const disk = join(folder, 'disk');
  freshXfs(disk);
  try {
    await bucket.makeCurrent(first);
    dropPageCache();
    const runner = await instanceOn(root, disk, bucket);
    const full = await runner.snapshot('restore');
    await bucket.makeCurrent(second);
    return [full, await runner.snapshot('restore')];
  } finally {
    unmountBelow(disk);
  }
}
