import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isolatedUnits, type PlacedUnits, sharedUnits } from '../../infra/runner/src/agents/placed-units.ts';
import { instanceKernel, jobPlaces, type KernelPort } from '../../infra/runner/src/isolation/job-places.ts';
import { jobTrees } from '../../infra/runner/src/isolation/job-trees.ts';
import { readKernelState } from '../../infra/runner/src/isolation/kernel-state.ts';
import { closeMetadata } from '../../infra/runner/src/isolation/metadata-access.ts';
import { isSameProcess } from '../../infra/runner/src/processes.ts';
import { makeImage } from '../../infra/runner/src/snapshot/image.ts';
import { snapshotPaths, WARM } from '../../infra/runner/src/snapshot/paths.ts';
import { writeRestored } from '../../infra/runner/src/snapshot/restored-state.ts';
import { cleanRun } from '../../scripts/local/cleanup/clean.ts';
import { localUnits } from '../../scripts/local/runners/agent-units.ts';
import { mountXfs } from '../support/xfs.ts';
import { median } from './median.ts';
import { must } from './snapshot/file-systems.ts';
import { drawIfAsked } from './snapshot/picture.ts';
import { compare, table } from './snapshot/report.ts';
import { makeTree } from './snapshot/tree.ts';

/**
 * `npm run bench:turnover`: from the end of one job to the moment at which the next registration can be requested, after a job that
 * wrote 20,000 files and 2 GB beside a warm tree of at least 1 GB. In turn, in every round: clean jobs, shared jobs, and a new
 * container of an image with the same tree. BENCH_ROUNDS sets the rounds. Needs root and 12 GB of disk below `/var/tmp`.
 *
 * It runs in namespaces of its own: nothing of the network or of the firewall of this computer changes.
 */
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 5);
const GOAL_SECONDS = 0.5;
/** Time between two checks of an agent, as in the chain of agents, in milliseconds. */
const LOOK_MS = 50;

const FILES = 20_000;
const BYTES = 2e9;
/** What a job writes into the directory `$1`; then it prints the time of its end. */
const JOB = `mkdir -p "$1/new" && cd "$1/new" && perl -e '
for my $n (0 .. ${FILES - 1}) {
  mkdir($at = $n) if $n % 500 == 0;
  open(my $file, ">", "$at/$n") or die; print $file "x" x 4096; close $file;
}' && dd if=/dev/urandom of=big bs=1M count=${Math.round((BYTES - FILES * 4096) / 2 ** 20)} 2>/dev/null && date +%s.%N`;

const root = resolve(import.meta.dirname, '../..');
if (process.getuid?.() !== 0) throw new Error('bench:turnover mounts file systems: run it as root');
const FOLDER = process.env.HEARTH_BENCH_FOLDER ?? '';
if (FOLDER === '') enterNamespaces();

const run = join(FOLDER, '.local/run/bench');
const disk = join(run, 'disk');
mkdirSync(run, { recursive: true });
const endDisk = mountXfs(disk, '40G');
let docker: ChildProcess | undefined;
try {
  const directories = { images: join(disk, 'images'), warm: join(disk, 'warm'), state: join(disk, 'state') };
  for (const each of [...Object.values(directories), join(disk, 'work')])
    mkdirSync(each, { recursive: true });
  const tree = await prepare(directories);
  const log = (line: string) => console.log(`  ${line}`);
  const units = localUnits({ stateDirectory: directories.state, log });
  const settings = {
    stateDirectory: directories.state,
    warm: [{ source: WARM, target: directories.warm }],
    views: [join(disk, 'work')],
    sharedMounts: [],
    hidden: [directories.state, directories.images],
    files: [],
    docker: false,
    jobsUseInstanceRole: false,
  };
  const clean = isolatedUnits(units, jobPlaces(settings, jobTrees(directories, log), kernel()), log);
  const image = await startDocker(directories);
  const times = {
    clean: [] as number[],
    start: [] as number[],
    shared: [] as number[],
    docker: [] as number[],
  };
  for (let round = 0; round < ROUNDS; round += 1) {
    const one = await turnover(clean, `clean-${round}`, directories);
    times.clean.push(one.ready);
    times.start.push(one.start);
    times.shared.push((await turnover(sharedUnits(units), `shared-${round}`, directories)).ready);
    rmSync(join(directories.warm, 'new'), { recursive: true, force: true });
    if (image) times.docker.push(container());
    const last = [
      one.parts,
      `shared ${times.shared.at(-1)?.toFixed(3)}`,
      `docker ${times.docker.at(-1)?.toFixed(3)}`,
    ];
    console.log(`  ${last.join(' | ')}`);
  }
  const goals = times.clean.map(() => GOAL_SECONDS);
  const rows = [
    compare({ what: 'clean turnover', against: 'the goal', goal: 1 }, times.clean, goals),
    compare({ what: 'clean turnover', against: 'shared', goal: 10 }, times.clean, times.shared),
    ...(image
      ? [
          compare(
            { what: 'clean turnover', against: 'docker rm -f, docker run', goal: 1 },
            times.clean,
            times.docker,
          ),
        ]
      : []),
  ];
  console.log(table(rows));
  console.log(`root and namespaces until the agent runs, apart: ${median(times.start).toFixed(3)} s`);
  console.log(JSON.stringify({ bench: 'turnover', rounds: ROUNDS, rows }));
  await drawIfAsked(
    root,
    'turnover',
    'From the end of a job to the next registration',
    { ...tree, rounds: ROUNDS },
    rows,
  );
} finally {
  docker?.kill('SIGTERM');
  if (docker) await new Promise((end) => docker?.once('exit', end));
  await cleanRun(run);
  endDisk();
  rmSync(FOLDER, { recursive: true, force: true });
}

/** A network of its own, and version 2 of the cgroups at its usual place, which nft expects. */
function enterNamespaces(): never {
  const folder = `/var/tmp/hearth-bench-turnover-${process.pid}`;
  const script = `if [ -d /sys/fs/cgroup/unified ]; then mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup; fi
# A copy of the mounts of other programs would keep their images in use.
findmnt --raw --noheadings --output TARGET,SOURCE | awk '$2 ~ /loop/ { print $1 }' | tac | xargs --no-run-if-empty umount --lazy
ip link set lo up; exec "$@"`;
  execFileSync(
    'unshare',
    [
      '--net',
      '--mount',
      'sh',
      '-ec',
      script,
      'sh',
      process.execPath,
      '--no-warnings',
      ...process.argv.slice(1),
    ],
    { stdio: 'inherit', env: { ...process.env, HEARTH_BENCH_FOLDER: folder } },
  );
  process.exit(0);
}

/**
 * Reads what an instance reads, and changes nothing but the rules of the metadata service: other programs of this computer have
 * loop devices and sysctls of their own.
 */
function kernel(): KernelPort {
  return {
    ...instanceKernel,
    async restore() {
      await readKernelState();
      must('losetup', '--list', '--noheadings', '--raw', '--output', 'NAME,BACK-MAJ:MIN');
      return [];
    },
    closeMetadata: () => closeMetadata([]),
  };
}

/** The image of a snapshot with a warm tree, as a restore leaves it, and the same tree in the warm directory of shared jobs. */
async function prepare(directories: { images: string; warm: string; state: string }) {
  const paths = await snapshotPaths(directories);
  mkdirSync(paths.bases, { recursive: true });
  const point = join(run, 'image');
  mkdirSync(point);
  await makeImage(paths.base('bench'), 64 * 2 ** 30);
  must('mount', '-o', 'loop,noatime,noinit_itable', paths.base('bench'), point);
  const size = await makeTree(root, join(point, WARM), { files: 60_000, contentBytes: 1e9 });
  must('cp', '-a', '--reflink=auto', `${join(point, WARM)}/.`, directories.warm);
  must('umount', point);
  await writeRestored(paths, {
    version: 2,
    set: 'bench',
    mode: 'image',
    snapshot: { id: 'bench', manifestSha256: '' },
  });
  return size;
}

async function turnover(placed: PlacedUnits, name: string, { warm }: { warm: string }) {
  const next = `${name}-next`;
  const logFile = join(disk, `${name}.log`);
  const unit = { user: 'root', directory: '/', env: {}, secrets: {}, logFile };
  await placed.prepare(name);
  await placed.start({ ...unit, name, place: name, argv: ['/bin/sh', '-c', JOB, 'job', warm] });
  const main = (await placed.state(name))?.main;
  while (main && (await isSameProcess(main))) await sleep(LOOK_MS);
  const seen = now();
  const ended = Number(readFileSync(logFile, 'utf8').trim().split('\n').at(-1));
  if (!(ended > 0)) throw new Error(`the job failed: ${readFileSync(logFile, 'utf8')}`);
  // The unit ends shortly after its agent.
  for (; !(await placed.state(name))?.ended; await sleep(5));
  await placed.remove(name);
  const removed = now();
  await placed.discard(name);
  const discarded = now();
  await placed.prepare(next);
  const ready = now();
  await placed.start({ ...unit, name: next, place: next, argv: ['/bin/sh', '-c', 'sleep 1000'] });
  const started = now();
  await placed.signal(next, 'SIGKILL');
  for (; !(await placed.state(next))?.ended; await sleep(5));
  await placed.remove(next);
  await placed.discard(next);
  const parts = `clean ${(ready - ended).toFixed(3)}: seen ${(seen - ended).toFixed(3)}, processes ${(removed - seen).toFixed(3)}, discard ${(discarded - removed).toFixed(3)}, clone ${(ready - discarded).toFixed(3)}`;
  return { ready: ready - ended, start: started - ready, parts };
}

function now(): number {
  return (performance.timeOrigin + performance.now()) / 1000;
}

/** A daemon of its own, with the warm tree as an image. @returns whether this computer has Docker */
async function startDocker({ warm }: { warm: string }): Promise<boolean> {
  if (!existsSync('/usr/sbin/dockerd')) return false;
  const data = join(disk, 'docker');
  mkdirSync(data);
  docker = spawn(
    '/usr/sbin/dockerd',
    [
      `--host=unix://${FOLDER}/docker.sock`,
      `--data-root=${data}`,
      `--exec-root=${FOLDER}/docker-exec`,
      `--pidfile=${FOLDER}/docker.pid`,
      '--bridge=none',
      '--iptables=false',
      '--exec-opt=native.cgroupdriver=cgroupfs',
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let output = '';
  docker.stderr?.setEncoding('utf8').on('data', (text: string) => {
    output = (output + text).slice(-2000);
  });
  process.env.DOCKER_HOST = `unix://${FOLDER}/docker.sock`;
  for (let tries = 0; !existsSync(`${FOLDER}/docker.sock`); tries += 1) {
    if (docker.exitCode !== null || tries > 300) {
      console.log(`dockerd does not start here: ${output}`);
      docker = undefined;
      return false;
    }
    await sleep(100);
  }
  // The programs of this computer, so that the same job runs in it.
  must(
    'sh',
    '-c',
    `tar -c --exclude=./docker* -C / bin lib lib64 usr/bin usr/lib usr/lib64 -C ${warm}/.. warm 2>/dev/null | docker import - warm`,
  );
  return true;
}

/** The same job in a container, and then the next container. */
function container(): number {
  must('docker', 'run', '--name=job', '--network=none', 'warm', '/bin/sh', '-c', JOB, 'job', '/warm');
  const ended = Number(must('docker', 'logs', 'job').trim().split('\n').at(-1));
  must('docker', 'rm', '-f', 'job');
  must('docker', 'run', '-d', '--name=next', '--network=none', 'warm', '/bin/sleep', '1000');
  const ready = now();
  must('docker', 'rm', '-f', 'next');
  return ready - ended;
}
