import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { installFakeAgent } from '../../scripts/local/ci/agents/install.ts';
import { type Github, startGithub } from '../../scripts/local/ci/github/server.ts';
import { cleanRun, startedFor } from '../../scripts/local/cleanup/clean.ts';
import { CGROUPS } from './job-space.ts';
import { loopsBelow, mountsBelow } from './xfs.ts';

const PROGRAM = resolve(import.meta.dirname, '../e2e/programs/job-chain.ts');

/** One instance whose chain of agents is a program of its own, with the stand-in of GitHub. Needs root. */
export type JobChain = {
  github: Github;
  /** The warm directory, as jobs see it. */
  warm: string;
  /** Directory of the images on the disk. */
  images: string;
  /** Starts the program, and waits until it has observed a state. */
  start(mode?: 'clean' | 'shared'): Promise<void>;
  /** Everything that the running program has printed. */
  output(): string;
  /** SIGKILL, or SIGTERM and the wait for its end. @returns its exit code */
  end(signal: 'SIGKILL' | 'SIGTERM'): Promise<number | null>;
  /** Mounts, loop devices, trees and cgroups of the instance, and its processes: empty before the first agent and after the last one. */
  left(): Promise<string[]>;
  close(): Promise<void>;
};

/** @param folder a directory to be made; not below `/tmp`, which a job replaces */
export async function openJobChain(folder: string): Promise<JobChain> {
  // The local units make cgroups for folders of this form.
  const run = join(folder, `.local/run/turnover-${process.pid}`);
  mkdirSync(run, { recursive: true });
  const disk = join(run, 'disk');
  const holder = await openMounts(disk);
  const here = (path: string) => join(`/proc/${holder.pid}/root`, path);
  const agent = join(folder, 'agent');
  installFakeAgent('gha', agent);
  const github = await startGithub({
    tokens: ['t'],
    behaviour: { assignmentLagSeconds: 0, pickupSeconds: 10, pollSeconds: 2, lockSeconds: 120 },
  });
  const cgroup = join(CGROUPS, 'hearth-local', `turnover-${process.pid}`);
  let child: ChildProcess | undefined;
  let output = '';
  return {
    github,
    warm: join(disk, 'warm'),
    images: join(disk, 'images'),
    async start(mode = 'clean') {
      output = '';
      const started = spawn(
        'nsenter',
        [
          `--target=${holder.pid}`,
          '--mount',
          process.execPath,
          '--no-warnings',
          PROGRAM,
          disk,
          agent,
          String(github.url),
          mode,
        ],
        {
          stdio: ['ignore', 'pipe', 'pipe'],
          env: { PATH: process.env.PATH ?? '', RUNNER_ALLOW_RUNASROOT: '1' },
        },
      );
      child = started;
      for (const stream of [started.stdout, started.stderr])
        stream.setEncoding('utf8').on('data', (text: string) => {
          output += text;
        });
      const ended = once(started, 'exit');
      while (!/^\d+ \w+$/m.test(output)) {
        const first = await Promise.race([once(started.stdout, 'data'), ended]);
        if (started.exitCode !== null) throw new Error(`the chain ended with ${first}: ${output}`);
      }
    },
    output: () => output,
    async end(signal) {
      if (!child) throw new Error('no chain was started');
      if (child.exitCode !== null) throw new Error(`the chain has ended with ${child.exitCode}: ${output}`);
      const ended = once(child, 'exit');
      child.kill(signal);
      const [code] = await ended;
      child = undefined;
      return code;
    },
    async left() {
      const list = (path: string) => (existsSync(path) ? readdirSync(path, { withFileTypes: true }) : []);
      const processes = (await startedFor(run)).filter(
        ({ pid }) => pid !== process.pid && pid !== child?.pid,
      );
      return [
        ...mountsBelow(disk, holder.pid).filter((point) => point !== disk),
        ...loopsBelow(disk),
        ...list(here(join(disk, 'images/trees'))).map(({ name }) => `tree ${name}`),
        ...list(here(join(disk, 'state/units'))).map(({ name }) => `unit ${name}`),
        ...processes.map(({ pid, command }) => `process ${pid} ${command}`),
        ...list(join(cgroup, 'disk/state/units')).flatMap((each) =>
          each.isDirectory() ? [`cgroup ${each.name}`] : [],
        ),
      ];
    },
    async close() {
      child?.kill('SIGKILL');
      await cleanRun(run);
      await github.close();
      holder.kill('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/**
 * A process in a mount namespace that has the disk of the instance. Other programs of this computer copy the mounts of theirs, and
 * would hold the trees of this one.
 */
async function openMounts(disk: string): Promise<ChildProcess & { pid: number }> {
  const script = `findmnt --raw --noheadings --output TARGET,SOURCE | awk '$2 ~ /loop/ { print $1 }' | tac | xargs --no-run-if-empty umount --lazy
mkdir -p "$0"; truncate -s 20G "$0.xfs"; mkfs.xfs -q -m reflink=1 "$0.xfs"; mount -o loop,noatime,nodev,nosuid "$0.xfs" "$0"
echo mounted; exec sleep infinity`;
  const holder = spawn('unshare', ['--mount', 'sh', '-ec', script, disk], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(holder.stdout, 'data');
  if (holder.pid === undefined) throw new Error('unshare does not start');
  return Object.assign(holder, { pid: holder.pid });
}
