import { mkdtemp, rm } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { startBucket } from './snapshot/bucket.ts';
import { dropPageCache, freshExt4, freshTmpfs, must, unmountBelow } from './snapshot/file-systems.ts';
import { instanceOn } from './snapshot/instance.ts';
import { peaksOfLarge } from './snapshot/large.ts';
import { drawIfAsked } from './snapshot/picture.ts';
import { compare, memoryRow, table } from './snapshot/report.ts';
import { type Timed, timedShell } from './snapshot/timed.ts';
import { makeTree } from './snapshot/tree.ts';

/**
 * `npm run bench:restore`: a warm tree on a new instance, compared with unpacking of archives. Every round runs every side once,
 * in turn, each on an empty file system in memory; the figures are medians of ratios within a round. BENCH_ROUNDS sets the
 * rounds, `--svg` draws the picture in docs/bench. Needs root, to mount.
 */
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 5);

const root = resolve(import.meta.dirname, '../..');
if (process.getuid?.() !== 0) throw new Error('bench:restore mounts file systems: run it as root');

const folder = await mkdtemp(join(tmpdir(), 'hearth-bench-restore-'));
const bucket = await startBucket();
const READ_ALL = 'find . -type f -print0 | xargs -0 cat | wc -c';

try {
  freshTmpfs(join(folder, 'source'));
  const tree = join(folder, 'source/warm');
  const size = await makeTree(root, tree);
  console.log(
    `${size.files} files, ${(size.contentBytes / 1e6).toFixed(0)} MB of ${size.madeOf.join(', ')}; ${ROUNDS} interleaved rounds on ${cpus().length} cores`,
  );
  console.log(
    'restores: each on a fresh tmpfs; reads: on a fresh ext4 (loop device on tmpfs), page cache dropped before each',
  );

  // The same tree as a snapshot, and as the archives that it is compared with.
  const maker = await instanceOn(root, join(folder, 'source'), bucket);
  await maker.snapshot('save');
  const [id = ''] = await bucket.manifests();
  await bucket.makeCurrent(id);
  const plain = join(folder, 'source/plain.tar');
  await timedShell(`tar c -C ${tree} . >${plain}`);
  await timedShell(`zstd -q -3 -T0 <${plain} | curl -sf -T - ${bucket.urlOf('tree.tar.zst')}`);
  await timedShell(`gzip -6 <${plain} | curl -sf -T - ${bucket.urlOf('tree.tar.gz')}`);

  const onFreshTmpfs = async (run: (disk: string) => Promise<Timed>): Promise<Timed> => {
    const disk = join(folder, 'disk');
    freshTmpfs(disk);
    try {
      return await run(disk);
    } finally {
      unmountBelow(disk);
    }
  };
  const sides = {
    ours: (disk: string) => instanceOn(root, disk, bucket).then((instance) => instance.snapshot('restore')),
    tar: (disk: string) => timedShell(`tar x -C ${disk} -f ${plain}`),
    zstd: (disk: string) =>
      timedShell(`curl -sf ${bucket.urlOf('tree.tar.zst')} | zstd -q -d | tar x -C ${disk}`),
    gzip: (disk: string) => timedShell(`curl -sf ${bucket.urlOf('tree.tar.gz')} | tar xz -C ${disk}`),
  };
  const times = { ours: [] as number[], tar: [] as number[], zstd: [] as number[], gzip: [] as number[] };
  let peakBytes = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const name of ['ours', 'tar', 'zstd', 'gzip'] as const) {
      const { seconds, peakBytes: peak } = await onFreshTmpfs(sides[name]);
      times[name].push(seconds);
      if (name === 'ours') peakBytes = Math.max(peakBytes, peak);
    }
  }

  const reads = await readBoth();
  bucket.close();
  unmountBelow(join(folder, 'source'));
  const large = await peaksOfLarge(root, join(folder, 'large'));
  const rows = [
    compare({ what: 'restore', against: 'tar x, page cache', goal: 0.35 }, times.ours, times.tar),
    compare({ what: 'restore', against: 'curl | zstd -d | tar x', goal: 0.2 }, times.ours, times.zstd),
    compare({ what: 'restore', against: 'curl | tar xz', goal: 0.1 }, times.ours, times.gzip),
    compare({ what: 'read everything', against: 'plain files on ext4', goal: 1.1 }, reads.warm, reads.plain),
    memoryRow('memory of the restore', peakBytes),
    memoryRow(`the same, ${large.bytes / 1e9} GB`, large.restore),
  ];
  console.log(table(rows));
  await drawIfAsked(root, 'restore', 'Restoring a warm tree', { ...size, rounds: ROUNDS }, rows);
  console.log(JSON.stringify({ bench: 'restore', rounds: ROUNDS, tree: size, large, rows }));

  /** A full read of the mounted tree and of plain files, both from a file system that has nothing in memory. */
  async function readBoth() {
    const disk = join(folder, 'ext4');
    freshExt4(join(folder, 'source/ext4.img'), disk, 8e9);
    const found = { warm: [] as number[], plain: [] as number[] };
    try {
      const instance = await instanceOn(root, join(disk, 'instance'), bucket);
      await instance.snapshot('restore');
      must('cp', '-a', tree, join(disk, 'plain'));
      for (let round = 0; round < ROUNDS; round += 1) {
        dropPageCache();
        const warm = await timedShell(`cd ${instance.warm} && ${READ_ALL}`);
        dropPageCache();
        const files = await timedShell(`cd ${join(disk, 'plain')} && ${READ_ALL}`);
        if (warm.output !== files.output) throw new Error(`read ${warm.output} and ${files.output} bytes`);
        found.warm.push(warm.seconds);
        found.plain.push(files.seconds);
      }
      return found;
    } finally {
      unmountBelow(disk);
    }
  }
} finally {
  bucket.close();
  unmountBelow(folder);
  await rm(folder, { recursive: true, force: true });
}
