import { mkdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { cloneTree } from '../../infra/runner/src/snapshot/job-tree.ts';
import { discardTree } from '../../infra/runner/src/snapshot/trees.ts';
import { startBucket } from './snapshot/bucket.ts';
import { dropPageCache, freshXfs, must, unmountBelow } from './snapshot/file-systems.ts';
import { instanceOn } from './snapshot/instance.ts';
import { drawIfAsked } from './snapshot/picture.ts';
import { compare, type Row, table } from './snapshot/report.ts';
import { timedShell } from './snapshot/timed.ts';
import { makeTree } from './snapshot/tree.ts';

/**
 * `npm run bench:clone`: what a job finds in a clone of an image, compared with plain files on the same XFS. Every round runs every
 * side once, in turn; the figures are medians of ratios within a round. BENCH_ROUNDS sets the rounds, `--svg` draws the picture in
 * docs/bench. Needs root, to mount.
 */
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 5);

const root = resolve(import.meta.dirname, '../..');
if (process.getuid?.() !== 0) throw new Error('bench:clone mounts file systems: run it as root');

const folder = await mkdtemp(join(tmpdir(), 'hearth-bench-clone-'));
const bucket = await startBucket('unshaped');

const READ_ALL = 'find . -type f -print0 | xargs -0 cat | wc -c';
const OVERWRITE = `python3 -c '
import os, random
random.seed(1)
file = os.open("large", os.O_WRONLY)
for _ in range(20000): os.pwrite(file, b"x" * 4096, 4096 * random.randrange(os.fstat(file).st_size // 4096))
os.fsync(file)'`;
const SQLITE = `python3 -c '
import sqlite3
database = sqlite3.connect("database")
database.execute("create table t (k integer primary key, v text)")
for key in range(300):
    database.execute("insert into t values (?, ?)", (key, "x" * 500))
    database.commit()'`;
const GIT =
  'git init -q repository && cd repository && cp -a ../node_modules/typescript . && git add . && git -c user.name=a -c user.email=a@b commit -qm x && git status --short && git checkout -q --detach && rm -rf typescript && git checkout -q .';

/** What is compared: the same command in a clone and on plain files. */
const JOBS = {
  read: { what: 'read everything, cold', goal: 1.1, line: READ_ALL },
  unpack: {
    what: 'unpack an archive',
    goal: 1.1,
    line: `mkdir u && tar x -C u -f ${folder}/packages.tar && sync -f u`,
  },
  overwrite: { what: '20,000 random writes of 4 KiB', goal: 3, line: OVERWRITE },
  sqlite: { what: '300 transactions of sqlite', goal: 1.2, line: SQLITE },
  git: { what: 'git commit and checkout', goal: 1.2, line: GIT },
};

try {
  const disk = join(folder, 'disk');
  freshXfs(disk);
  const maker = await instanceOn(root, disk, bucket);
  await maker.snapshot('restore').catch(() => undefined);
  const size = await makeTree(root, maker.warm);
  must('sh', '-c', `head -c 1500000000 /dev/urandom >${maker.warm}/large`);
  await timedShell(`tar c -C ${root}/node_modules/ . >${folder}/packages.tar`);
  await maker.snapshot('save');
  const [id = ''] = await bucket.manifests();
  await bucket.makeCurrent(id);
  await maker.snapshot('restore');
  const plain = join(disk, 'plain');
  console.log(
    `${size.files} files, ${(size.contentBytes / 1e6).toFixed(0)} MB and one of 1500 MB; ${ROUNDS} interleaved rounds on ${cpus().length} cores`,
  );

  const found: Record<string, { ours: number[]; theirs: number[] }> = {};
  const note = (name: string, ours: number, theirs: number) => {
    found[name] ??= { ours: [], theirs: [] };
    found[name]?.ours.push(ours);
    found[name]?.theirs.push(theirs);
  };
  for (let round = 0; round < ROUNDS; round += 1) {
    const began = performance.now();
    const tree = await cloneTree(maker.directories);
    must('ls', join(tree.point, 'warm'));
    note('clone', (performance.now() - began) / 1000, 1);
    mkdirSync(plain);
    must('cp', '-a', '--reflink=never', `${maker.warm}/.`, plain);
    const clone = join(tree.point, 'warm');
    for (const [name, { line }] of Object.entries(JOBS)) {
      dropPageCache();
      const ours = (await timedShell(`cd ${clone} && ${line}`)).seconds;
      dropPageCache();
      note(name, ours, (await timedShell(`cd ${plain} && ${line}`)).seconds);
    }
    must('sync');
    const removing = performance.now();
    await discardTree(maker.directories, tree.name);
    const discarded = (performance.now() - removing) / 1000;
    note('discard', discarded, (await timedShell(`rm -rf ${plain}`)).seconds);
  }
  const rows: Row[] = [
    compare(
      { what: 'clone, mount and list', against: 'one second', goal: 0.05 },
      found.clone?.ours ?? [],
      found.clone?.theirs ?? [],
    ),
    compare(
      { what: 'discard', against: 'rm -rf of the same files', goal: 0.5 },
      found.discard?.ours ?? [],
      found.discard?.theirs ?? [],
    ),
    ...Object.entries(JOBS).map(([name, { what, goal }]) =>
      compare(
        { what, against: 'plain files on XFS', goal },
        found[name]?.ours ?? [],
        found[name]?.theirs ?? [],
      ),
    ),
  ];
  console.log(table(rows));
  await drawIfAsked(root, 'clone', "A job's clone of a warm tree", { ...size, rounds: ROUNDS }, rows);
  console.log(JSON.stringify({ bench: 'clone', rounds: ROUNDS, tree: size, rows }));
} finally {
  bucket.close();
  unmountBelow(folder);
  await rm(folder, { recursive: true, force: true });
}
