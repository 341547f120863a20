import { appendFile, mkdtemp, readdir, rm } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { readManifest } from '../../shared/snapshot/format-1/records.ts';
import { type Bucket, SET, startBucket } from './snapshot/bucket.ts';
import { freshTmpfs, unmountBelow } from './snapshot/file-systems.ts';
import { instanceOn } from './snapshot/instance.ts';
import { peaksOfLarge } from './snapshot/large.ts';
import { drawIfAsked } from './snapshot/picture.ts';
import { compare, memoryRow, table } from './snapshot/report.ts';
import { timedShell } from './snapshot/timed.ts';
import { makeTree } from './snapshot/tree.ts';

/**
 * `npm run bench:save`: a whole tree saved, and one in which a package has changed, against an archive of it. Every round runs
 * every side once, in turn; the figures are medians of ratios within a round. BENCH_ROUNDS sets the rounds, `--svg` draws
 * the picture in docs/bench. Needs root, to mount.
 */
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 5);

/** What changes: a package of the project's own dependencies, every file of it. */
const PACKAGE = 'node_modules/fast-check';

const root = resolve(import.meta.dirname, '../..');
if (process.getuid?.() !== 0) throw new Error('bench:save mounts file systems: run it as root');

const folder = await mkdtemp(join(tmpdir(), 'hearth-bench-save-'));
const bucket = await startBucket();

try {
  freshTmpfs(folder);
  // A cold instance: the whole tree is new, and its save is a full one.
  const cold = await instanceOn(root, join(folder, 'cold'), bucket);
  const size = await makeTree(root, cold.warm);
  console.log(
    `${size.files} files, ${(size.contentBytes / 1e6).toFixed(0)} MB of ${size.madeOf.join(', ')}; ${ROUNDS} interleaved rounds on ${cpus().length} cores`,
  );
  // A warm one, on which one package changes.
  await cold.snapshot('save');
  const [base = ''] = await bucket.manifests();
  await bucket.makeCurrent(base);
  const warm = await instanceOn(root, join(folder, 'warm'), bucket);
  await warm.snapshot('restore');

  const found = {
    full: [] as number[],
    archive: [] as number[],
    layer: [] as number[],
    fullBytes: [] as number[],
    archiveBytes: [] as number[],
    layerBytes: [] as number[],
  };
  let [peakBytes, packerBytes] = [0, 0];
  for (let round = 0; round < ROUNDS; round += 1) {
    await bucket.empty();
    const full = await cold.snapshot('save');
    found.full.push(full.seconds);
    found.fullBytes.push(await newestLayer(bucket));

    const key = 'tree.tar.zst';
    const line = `tar c -C ${cold.warm} . | zstd -q -3 -T0 | curl -sf -T - ${bucket.urlOf(key)}`;
    found.archive.push((await timedShell(line)).seconds);
    found.archiveBytes.push((await bucket.store.head(key))?.bytes ?? Number.NaN);

    await changeFiles(join(warm.warm, PACKAGE), `// ${round}\n`);
    const layer = await warm.snapshot('save');
    found.layer.push(layer.seconds);
    found.layerBytes.push(await newestLayer(bucket));
    for (const side of [full, layer]) {
      peakBytes = Math.max(peakBytes, side.peakBytes);
      packerBytes = Math.max(packerBytes, side.peakBytesOfChildren);
    }
  }

  bucket.close();
  unmountBelow(folder);
  const large = await peaksOfLarge(root, folder);

  const archive = 'tar c | zstd -3 -T0';
  const rows = [
    compare({ what: 'full save', against: archive, goal: 1.2 }, found.full, found.archive),
    compare(
      { what: 'its size', against: archive, goal: 1.05, unit: 'MB' },
      found.fullBytes,
      found.archiveBytes,
    ),
    compare({ what: 'one changed package', against: 'full save', goal: 0.3 }, found.layer, found.full),
    compare(
      { what: 'its size', against: 'full save', goal: 0.02, unit: 'MB' },
      found.layerBytes,
      found.fullBytes,
    ),
    memoryRow('memory of the save', peakBytes),
    memoryRow(`the same, ${large.bytes / 1e9} GB`, large.save),
  ];
  console.log(table(rows));
  console.log(
    `mksquashfs itself took ${megabytes(packerBytes)} of memory, and ${megabytes(large.packer)} for the ${large.bytes / 1e9} GB: it takes a quarter of the computer's if there is so much to pack`,
  );
  await drawIfAsked(root, 'save', 'Saving a warm tree', { ...size, rounds: ROUNDS }, rows);
  console.log(JSON.stringify({ bench: 'save', rounds: ROUNDS, tree: size, large, packerBytes, rows }));
} finally {
  bucket.close();
  unmountBelow(folder);
  await rm(folder, { recursive: true, force: true });
}

/** Bytes of the layer that the newest snapshot has on top. */
async function newestLayer({ manifests, store }: Bucket): Promise<number> {
  const newest = (await manifests()).sort().at(-1) ?? '';
  return (await readManifest(store, SET, newest))?.layers.at(-1)?.bytes ?? Number.NaN;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(0)} MB`;
}

/** Appends a line to every file below a directory. */
async function changeFiles(path: string, line: string): Promise<void> {
  for (const entry of await readdir(path, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) await appendFile(join(entry.parentPath, entry.name), line);
  }
}
