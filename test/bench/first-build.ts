import { execFileSync } from 'node:child_process';
import { appendFileSync, cpSync, mkdirSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { type Bucket, startBucket } from './snapshot/bucket.ts';
import { dropPageCache, freshXfs, must, unmountBelow } from './snapshot/file-systems.ts';
import { instanceOn } from './snapshot/instance.ts';
import { drawIfAsked } from './snapshot/picture.ts';
import { compare, type Row, table } from './snapshot/report.ts';
import { timed } from './snapshot/timed.ts';

/**
 * `npm run bench:first-build`: from a new instance to the end of the first build and test of a real project, one commit after the last
 * warming run: cold; with an archive of the same caches, as actions for caches use it (tar, zstd, one stream of 400 MB/s); and with
 * Hearth. The start of the kernel is in none of them. Downloads of tools come from their registries, at the speed of this computer.
 * BENCH_ROUNDS sets the rounds (1), BENCH_PROJECTS chooses projects, `--svg` draws the picture in docs/bench. Needs root, to mount.
 */
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 1);
const FOLDER = '/var/tmp/hearth-first-build';
const path = (name: string) => join(FOLDER, name);
const root = resolve(import.meta.dirname, '../..');
if (process.getuid?.() !== 0) throw new Error('bench:first-build mounts file systems: run it as root');

type Project = {
  name: string;
  /** Writes the sources into an empty directory. */
  sources(directory: string): void;
  /** Caches and outputs of the tool. */
  caches: string[];
  /** What a job runs in the checkout. */
  build: string;
  /** The file that the next commit changes, and the line that it gets. */
  edit: [file: string, line: string];
};

const env = {
  ...process.env,
  HOME: path('i/home'),
  RUSTUP_HOME: process.env.RUSTUP_HOME ?? join(homedir(), '.rustup'),
  CARGO_TARGET_DIR: path('i/ci/target'),
  GOTOOLCHAIN: 'local',
  GOFLAGS: '-buildvcs=false',
  npm_config_userconfig: join(homedir(), '.npmrc'),
  // Only what a job has.
  NODE_OPTIONS: '',
};

/** Files of a package that a tool has downloaded, as the sources of a project. */
function download(command: string, pattern: string, directory: string): void {
  const home = path('download');
  rmSync(home, { recursive: true, force: true });
  mkdirSync(join(home, 'project'), { recursive: true });
  const own = { ...env, HOME: home, GOFLAGS: '-modcacherw' };
  execFileSync('sh', ['-euc', command], { cwd: join(home, 'project'), env: own, stdio: 'pipe' });
  const found = execFileSync('sh', ['-c', `ls -d ${home}/${pattern}`], { encoding: 'utf8' }).trim();
  cpSync(found, directory, { recursive: true });
}

const PROJECTS: Project[] = [
  {
    name: 'Rust: hexyl 0.16',
    sources: (directory) =>
      download(
        'cargo init -q --name x && cargo add -q hexyl@=0.16.0 && cargo fetch -q',
        '.cargo/registry/src/*/hexyl-0.16.0',
        directory,
      ),
    caches: [path('i/home/.cargo/registry'), path('i/ci/target')],
    build: 'cargo test --quiet --locked',
    edit: ['src/main.rs', '// The next commit.'],
  },
  {
    name: 'Go: cobra 1.8',
    sources: (directory) =>
      download(
        'go mod init x >/dev/null 2>&1; go mod download github.com/spf13/cobra@v1.8.1',
        'go/pkg/mod/github.com/spf13/cobra@v1.8.1',
        directory,
      ),
    caches: [path('i/home/go/pkg/mod'), path('i/home/.cache/go-build')],
    // The tests that are left out expect the file system to refuse a write, which it does not for root.
    build: 'go build ./... && go test -skip ^TestFailGen ./...',
    edit: ['cobra.go', '// The next commit.'],
  },
  {
    name: 'Node: this repository',
    sources: (directory) =>
      execFileSync('sh', ['-euc', `git -C ${root} archive HEAD | tar x -C ${directory}`], { stdio: 'pipe' }),
    caches: [path('i/work/app/node_modules'), path('i/ci/types')],
    build: `cmp -s package-lock.json node_modules/.installed || { npm ci --no-audit --no-fund --loglevel=error && cp package-lock.json node_modules/.installed; }
node_modules/.bin/tsc -p . --incremental --tsBuildInfoFile ${path('i/ci/types/info')}
node_modules/.bin/vitest run --project unit shared`,
    edit: ['shared/snapshot/units.ts', '// The next commit.'],
  },
];

const chosen = process.env.BENCH_PROJECTS?.split(',');
const rows: Row[] = [];
let bytes = 0;
mkdirSync(FOLDER, { recursive: true });
try {
  for (const project of PROJECTS) {
    if (chosen && !chosen.some((each) => project.name.startsWith(each))) continue;
    // The figures of the others are worth their time.
    await measure(project).catch((error: unknown) => {
      console.error(`${project.name}:`, error);
      process.exitCode = 1;
    });
    console.log(table(rows));
  }
  const about = { files: PROJECTS.length, contentBytes: bytes, rounds: ROUNDS };
  await drawIfAsked(root, 'first-build', 'The first build and test on a new instance', about, rows);
  console.log(JSON.stringify({ bench: 'first-build', rounds: ROUNDS, rows }));
} finally {
  unmountBelow(FOLDER);
  rmSync(FOLDER, { recursive: true, force: true });
}

async function measure(project: Project): Promise<void> {
  const checkout = path('i/work/app');
  const origin = path('origin');
  const buckets = { hearth: await startBucket('shaped'), archive: await startBucket('archive') };
  // A directory within the checkout is a part of it.
  const paths = [checkout, ...project.caches.filter((each) => !each.startsWith(`${checkout}/`))];
  try {
    makeOrigin(project, origin);
    const clone = `mkdir -p ${checkout} && cd ${checkout} && git init -q . && git remote add origin file://${origin}`;
    const fetch = 'git fetch -q --depth=1 origin HEAD && git checkout -q --force --detach FETCH_HEAD';
    // The night: one instance, whose caches both of them get.
    await onInstance(async () => {
      const maker = await instance(buckets.hearth);
      await maker.begin(paths);
      await shell(`${clone} && ${fetch} && ${project.build}`);
      await shell(
        `tar c -P ${project.caches.join(' ')} | zstd -q -3 -T0 | curl -sf -T - ${buckets.archive.urlOf('caches.tar.zst')}`,
      );
      await maker.run('save', paths);
      const [id = ''] = await buckets.hearth.manifests();
      await buckets.hearth.makeCurrent(id);
      bytes += Number(
        must('du', '-sbc', ...paths)
          .trim()
          .split('\n')
          .at(-1)
          ?.split('\t')[0],
      );
    });
    commitEdit(project, origin);
    const seconds = { cold: [] as number[], archive: [] as number[], warm: [] as number[] };
    for (let round = 0; round < ROUNDS; round += 1) {
      await onInstance(async () => {
        seconds.cold.push(await shell(`${clone} && ${fetch} && ${project.build}`));
      });
      await onInstance(async () => {
        const unpack = `curl -sf ${buckets.archive.urlOf('caches.tar.zst')} | zstd -q -d | tar x -P`;
        seconds.archive.push(await shell(`${clone} && ${fetch} && ${unpack} && ${project.build}`));
      });
      await onInstance(async () => {
        const runner = await instance(buckets.hearth);
        const restored = await runner.run('restore', paths);
        const built = await shell(`cd ${checkout} && ${fetch} && ${project.build}`);
        console.log(
          `${project.name}: restore ${restored.toFixed(1)} s, checkout, build and test ${built.toFixed(1)} s`,
        );
        seconds.warm.push(restored + built);
      });
    }
    const what = project.name;
    rows.push(compare({ what, against: 'cold', goal: 0.25 }, seconds.warm, seconds.cold));
    rows.push(compare({ what, against: 'archive', goal: 0.6 }, seconds.warm, seconds.archive));
  } finally {
    for (const bucket of Object.values(buckets)) bucket.close();
  }
}

function makeOrigin({ sources }: Project, origin: string): void {
  rmSync(origin, { recursive: true, force: true });
  mkdirSync(origin);
  sources(origin);
  git(origin, 'init', '-q', '-b', 'main');
  git(origin, 'add', '-A', '-f');
  git(origin, 'commit', '-qm', 'the night');
}

function commitEdit({ edit: [file, line] }: Project, origin: string): void {
  execFileSync('chmod', ['-R', 'u+w', origin]);
  appendFileSync(join(origin, file), `\n${line}\n`);
  git(origin, 'commit', '-qam', 'the next commit');
}

function git(cwd: string, ...args: string[]): void {
  execFileSync('git', ['-c', 'user.name=n', '-c', 'user.email=e@example.com', ...args], {
    cwd,
    stdio: 'pipe',
  });
}

/** The disk of a new instance, with everything of it, for the length of a function. */
async function onInstance(work: () => Promise<void>): Promise<void> {
  const disk = path('i');
  freshXfs(disk);
  dropPageCache();
  try {
    for (const name of ['home', 'work', 'ci']) mkdirSync(join(disk, name));
    await work();
  } finally {
    unmountBelow(disk);
  }
}

/** The built program on the disk of the instance. */
async function instance(bucket: Bucket) {
  const runner = await instanceOn(root, path('i/disk'), bucket);
  const flags = (paths: readonly string[]) => paths.flatMap((each) => ['--path', each]);
  return {
    /** The first restore of a set finds no snapshot, which the command reports as a failure. */
    begin: (paths: readonly string[]) => runner.snapshot('restore', flags(paths)).catch(() => undefined),
    run: async (what: 'save' | 'restore', paths: readonly string[]) =>
      (await runner.snapshot(what, flags(paths))).seconds,
  };
}

async function shell(script: string): Promise<number> {
  return (await timed('bash', ['-euo', 'pipefail', '-c', script], env)).seconds;
}
