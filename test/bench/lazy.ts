import { execFileSync, spawn } from 'node:child_process';
import { hash } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeImage } from '../../infra/runner/src/snapshot/image.ts';
import { metadataUnits } from '../../infra/runner/src/snapshot/inodes.ts';
import {
  lazyHealth,
  mountLazyImage,
  removeLazyImage,
  showLazyImage,
  startLazyImage,
} from '../../infra/runner/src/snapshot/lazy/lazy-image.ts';
import { lazyPaths, readStatus } from '../../infra/runner/src/snapshot/lazy/status.ts';
import { buildRunner } from '../../scripts/build/runner.ts';
import { storeImage } from '../support/stored-image.ts';
import { dropPageCache, freshTmpfs, must, unmountBelow } from './snapshot/file-systems.ts';
import { compare, memoryRow, type Row, table } from './snapshot/report.ts';
import { timedShell } from './snapshot/timed.ts';

/**
 * `npm run bench:lazy`: from an instance without an image to the first reads of a job, over a link of 2 Gbit/s with 20 ms. Three
 * sides in turn, in every round: a lazy start, the same frames completely before the start, and `tar x` from the page cache. The
 * figures are medians of ratios within a round. BENCH_ROUNDS sets the rounds. Needs root, 12 GB of memory and 20 GB of disk.
 */
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 3);
const IMAGE_BYTES = 64 * 2 ** 30;
const KEY = 'frames';

const root = resolve(import.meta.dirname, '../..');
if (process.getuid?.() !== 0) throw new Error('bench:lazy mounts file systems: run it as root');

/** Real trees of installed packages, of at least this size. */
const TREES = [
  {
    name: '1 GB',
    least: 1e9,
    sources: [join(root, 'node_modules/.'), '/usr/share', '/usr/local', '/usr/include', '/usr/lib'],
    usable: 1.5,
  },
  {
    name: '4 GB',
    least: 3.5e9,
    sources: ['/usr/lib', '/usr/share', join(root, 'node_modules/.'), '/usr/local'],
    usable: 0.35,
  },
];

const folder = await mkdtemp(join(tmpdir(), 'hearth-bench-lazy-'));
const memory = join(folder, 'memory');
freshTmpfs(memory);
const bucket = join(memory, 'bucket');
await mkdir(bucket);
const endpoint = spawn(process.execPath, [join(import.meta.dirname, 'snapshot/shaped-endpoint.ts'), bucket], {
  stdio: ['pipe', 'pipe', 'inherit'],
});

try {
  const [address] = await once(endpoint.stdout, 'data');
  const url = String(address).trim();
  Object.assign(process.env, {
    AWS_ENDPOINT_URL: url,
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'test',
  });
  const program = await buildRunner(root, folder);
  const rows: Row[] = [];
  for (const tree of TREES) {
    const source = await prepare(tree);
    console.log(
      `${tree.name}: ${source.files} files, ${megabytes(source.bytes)}; ${megabytes(source.read)} of it read; ${ROUNDS} interleaved rounds on ${cpus().length} cores`,
    );
    const times = {
      usable: [] as number[],
      tar: [] as number[],
      lazy: [] as number[],
      whole: [] as number[],
    };
    let peak = 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      const lazy = await lazyStart(url, program, source.request);
      times.usable.push(lazy.usable);
      times.lazy.push(lazy.done);
      peak = Math.max(peak, lazy.peakBytes);
      const whole = await wholeFirst(url, program, source.request);
      times.whole.push(whole.done);
      const disk = join(memory, 'tar');
      await mkdir(disk);
      times.tar.push((await timedShell(`tar x -C ${disk} -f ${source.tar}`)).seconds);
      await rm(disk, { recursive: true });
      console.log(
        `  usable ${lazy.usable.toFixed(2)}, stat ${lazy.stat.toFixed(2)}, read ${lazy.done.toFixed(2)}, complete ${lazy.complete.toFixed(2)} | complete first ${whole.usable.toFixed(2)}, stat ${whole.stat.toFixed(2)}, read ${whole.done.toFixed(2)} | tar ${times.tar.at(-1)?.toFixed(2)}`,
      );
    }
    rows.push(
      compare(
        { what: `lazy start, ${tree.name}: usable`, against: 'tar x, page cache', goal: tree.usable },
        times.usable,
        times.tar,
      ),
    );
    if (tree.least > 2e9) {
      rows.push(
        compare(
          { what: 'boot, stat all, read 20 %', against: 'complete restore first', goal: 0.9 },
          times.lazy,
          times.whole,
        ),
      );
    }
    rows.push(memoryRow(`anonymous memory, ${tree.name}`, peak));
    await rm(source.tar);
  }
  console.log(table(rows));
  console.log(JSON.stringify({ bench: 'lazy', rounds: ROUNDS, rows }));
} finally {
  endpoint.stdin.end();
  unmountBelow(folder);
  await rm(folder, { recursive: true, force: true });
}

/** The image of a tree as frames in the bucket, its archive in memory, and a list of files to read. */
async function prepare({ least, sources }: (typeof TREES)[number]) {
  const image = join(folder, 'image');
  const mount = join(folder, 'mount');
  const warm = join(mount, 'warm');
  await makeImage(image, IMAGE_BYTES);
  await mkdir(mount, { recursive: true });
  must('mount', '-o', 'loop,noatime,noinit_itable', image, mount);
  await mkdir(warm);
  let [bytes, files] = [0, [] as { path: string; bytes: number }[]];
  for (const [place, from] of sources.entries()) {
    if (bytes >= least || !existsSync(from)) continue;
    must('cp', '-a', from, join(warm, String(place)));
    files = must('find', warm, '-type', 'f', '-printf', '%s %P\\n')
      .trim()
      .split('\n')
      .map((line) => {
        const [size = '', ...path] = line.split(' ');
        return { path: path.join(' '), bytes: Number(size) };
      });
    bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  }
  if (bytes < least) throw new Error(`${sources.join(', ')} have ${bytes} bytes, less than ${least}`);
  const read = someOf(files, bytes);
  writeFileSync(join(memory, 'list'), read.map(({ path }) => `${path}\0`).join(''));
  const tar = join(memory, 'tree.tar');
  must('sh', '-c', `tar c -C ${warm} . >${tar}`);
  must('umount', mount);

  const metadata = await metadataUnits(image);
  const frames = openSync(join(bucket, KEY), 'w');
  const stored = storeImage(
    image,
    (frame) => writeSync(frames, frame),
    (unit) => metadata[unit] === 1,
  );
  closeSync(frames);
  writeFileSync(join(bucket, 'index'), stored.index.bytes);
  await rm(image);
  const request = {
    bucket: 'bucket',
    region: 'us-east-1',
    objects: [KEY],
    index: {
      file: join(memory, 'index'),
      sha256: hash('sha256', stored.index.bytes),
      imageBytes: IMAGE_BYTES,
      objects: [{ bytes: stored.bytes }],
    },
    image: { file: join(memory, 'local.img'), bytes: IMAGE_BYTES },
    patienceSeconds: 60,
  };
  return { request, tar, files: files.length, bytes, read: read.reduce((sum, file) => sum + file.bytes, 0) };
}

/** A fifth of the files, by directories, as a job uses some of the packages; at most a quarter of the bytes. */
function someOf(files: { path: string; bytes: number }[], bytes: number) {
  const groups = Object.values(
    Object.groupBy(files, ({ path }) => path.split('/').slice(0, 4).join('/')),
  ).flatMap((group) => (group ? [group] : []));
  const order = groups.toSorted((a, b) =>
    hash('sha256', a[0]?.path ?? '') < hash('sha256', b[0]?.path ?? '') ? -1 : 1,
  );
  const chosen: typeof files = [];
  let left = bytes / 4;
  for (const group of order) {
    const size = group.reduce((sum, file) => sum + file.bytes, 0);
    if (chosen.length >= files.length / 5) break;
    if (size > bytes / 20 || size > left) continue;
    chosen.push(...group);
    left -= size;
  }
  return chosen.toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

type Request = Awaited<ReturnType<typeof prepare>>['request'];

/** Removes the local image, fetches the index over the link, and starts the process. */
async function begin(url: string, program: string, request: Request, directory: string) {
  await rm(request.image.file, { force: true });
  await writeFile(request.image.file, '');
  await truncate(request.image.file, IMAGE_BYTES);
  dropPageCache();
  const began = performance.now();
  const answer = await fetch(`${url}/bucket/index`);
  writeFileSync(request.index.file, Buffer.from(await answer.arrayBuffer()));
  await startLazyImage({ directory, request, program });
  return () => (performance.now() - began) / 1000;
}

/** A walk over all files, and the read of some of them, in a tree that is usable. */
async function use(warm: string, elapsed: () => number) {
  must('ls', warm);
  const usable = elapsed();
  await timedShell(`find ${warm} -printf '%s %T@\\n' | wc -l`);
  const stat = elapsed();
  await timedShell(`cd ${warm} && xargs -0 cat <${join(memory, 'list')} | wc -c`);
  return { usable, stat, done: elapsed() };
}

async function lazyStart(url: string, program: string, request: Request) {
  const directory = join(folder, 'lazy');
  const tree = join(folder, 'tree');
  await mkdir(tree, { recursive: true });
  try {
    const elapsed = await begin(url, program, request, directory);
    must('mount', '-t', 'tmpfs', 'hearth-bench', tree);
    await mountLazyImage(directory);
    const warm = await showLazyImage(directory, tree, 'warm');
    const watch = peakAnonymous(directory);
    const times = await use(warm, elapsed);
    while ((await lazyHealth(directory)).state === 'filling') await sleep(10);
    const complete = elapsed();
    return { ...times, complete, peakBytes: await watch() };
  } finally {
    await removeLazyImage(directory);
    execFileSync('umount', [tree]);
  }
}

/** The same process, but nothing is mounted before the image is complete. */
async function wholeFirst(url: string, program: string, request: Request) {
  const directory = join(folder, 'lazy');
  const mount = join(folder, 'mount');
  const elapsed = await begin(url, program, request, directory);
  while ((await lazyHealth(directory)).state === 'filling') await sleep(5);
  must('mount', '-o', 'loop,ro,noload', request.image.file, mount);
  const times = await use(join(mount, 'warm'), elapsed);
  must('umount', mount);
  await removeLazyImage(directory);
  await rm(request.image.file);
  return times;
}

/** The most anonymous memory of the process (RssAnon of proc(5)), until it is asked for. */
function peakAnonymous(directory: string): () => Promise<number> {
  let peak = 0;
  const timer = setInterval(async () => {
    const status = await readStatus(lazyPaths(directory));
    if (!status) return;
    const text = readFileSync(`/proc/${status.process.pid}/status`, 'utf8');
    peak = Math.max(peak, Number(/^RssAnon:\s+(\d+) kB$/m.exec(text)?.[1] ?? 0) * 1024);
  }, 20);
  return async () => {
    clearInterval(timer);
    return peak;
  };
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(0)} MB`;
}
