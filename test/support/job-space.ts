import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { rmdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { emptyCgroup } from '../../infra/runner/src/isolation/job-cgroup.ts';
import { type JobRoot, jobCommand } from '../../infra/runner/src/isolation/job-root.ts';
import {
  type KernelState,
  readKernelState,
  restoreKernelState,
} from '../../infra/runner/src/isolation/kernel-state.ts';
import { mountXfs, unmountFree, unmountImageFile } from './xfs.ts';

/** What a job printed, and how it ended. */
export type JobEnd = { code: number | null; output: string };

export type JobOptions = {
  /** `nobody` if absent. */
  user?: string;
  /** Most processes of the job. */
  mostProcesses?: number;
  /** Most bytes of memory of the job. */
  mostMemory?: number;
  /** Parts of the root that differ. */
  root?: Partial<JobRoot>;
  environment?: Readonly<Record<string, string>>;
  /** The tree of the job becomes the image of later jobs, as that of a warming run does. */
  becomesBase?: boolean;
  /** Runs beside the job, with the process id of the command. What it throws ends the job. */
  meanwhile?: (pid: number) => Promise<void>;
};

/**
 * Jobs one after the other in the way of a runner: each on a clone of one image, in a root and a cgroup of its own, and with
 * the turnover between two of them.
 */
export type JobSpace = {
  /** Directory of the image's content, to be filled before the first job. */
  fill(write: (directory: string) => void): void;
  /** Runs one shell script as a job, and the turnover after it. */
  run(script: string, options?: JobOptions): Promise<JobEnd>;
  /** Lines of `restoreKernelState` after the last job. */
  restored: string[];
  /** Takes the present state of the kernel as the one to restore. */
  accept(): Promise<void>;
  /** Lists the space's mounts, loop devices, links and rules. A turnover must leave them as they were. */
  inventory(): string;
  close(): Promise<void>;
};

/** Longest time until the kernel has ended the processes of a job, in milliseconds. */
const RELEASE_MS = 120_000;

/** Where version 2 of the cgroups is: alone, or beside version 1. */
export const CGROUPS = existsSync('/sys/fs/cgroup/unified') ? '/sys/fs/cgroup/unified' : '/sys/fs/cgroup';

/** The limits of a job, and the files of the controllers that have them in version 2 and in version 1. */
const LIMITS = [
  { option: 'mostProcesses', file: 'pids.max', controller: '/sys/fs/cgroup/pids', fileOf1: 'pids.max' },
  {
    option: 'mostMemory',
    file: 'memory.max',
    controller: '/sys/fs/cgroup/memory',
    fileOf1: 'memory.limit_in_bytes',
  },
] as const;

/** @param folder an empty directory; not below `/tmp`, which a job replaces */
export async function openJobSpace(folder: string): Promise<JobSpace> {
  const path = (name: string) => join(folder, name);
  const mnt = path('disk');
  const base = join(mnt, 'base.img');
  const images = join(mnt, 'trees');
  const tree = path('tree');
  for (const name of ['tree', 'root']) mkdirSync(path(name), { recursive: true });
  const endDisk = mountXfs(mnt, '2G');
  let close = () => {};
  let state: KernelState;
  try {
    mkdirSync(images);
    execFileSync('truncate', ['-s', '512M', base]);
    execFileSync('mkfs.ext4', ['-q', '-F', '-O', '^has_journal', '-m', '0', base]);
    close = enterOwnNetwork(folder);
    state = await readKernelState();
  } catch (error) {
    close();
    endDisk();
    throw error;
  }
  let jobs = 0;
  const space: JobSpace = {
    restored: [],
    fill(write) {
      execFileSync('mount', ['-o', 'loop', base, tree]);
      try {
        write(tree);
      } finally {
        unmountImageFile(tree, base);
      }
    },
    async run(script, options = {}) {
      jobs += 1;
      const image = join(images, `${jobs}.img`);
      const name = `hearth-test-job-${process.pid}-${jobs}`;
      const cgroup = join(CGROUPS, name);
      execFileSync('cp', ['--reflink=always', base, image]);
      execFileSync('mount', ['-o', 'loop,nodev,nosuid,noatime', image, tree]);
      const cgroups = [cgroup];
      mkdirSync(cgroup);
      for (const { option, file, controller, fileOf1 } of LIMITS) {
        const limit = options[option];
        if (limit === undefined) continue;
        const isOf1 = existsSync(controller);
        const place = isOf1 ? join(controller, name) : cgroup;
        if (isOf1) {
          mkdirSync(place);
          cgroups.push(place);
        }
        writeFileSync(join(place, isOf1 ? fileOf1 : file), String(limit));
      }
      try {
        return await runIn(cgroups, script, options, {
          mountPoint: path('root'),
          tree,
          warm: [{ source: 'warm', target: '/opt/warm' }],
          views: [],
          sharedMounts: [],
          hidden: [folder],
          files: [],
          docker: false,
          ...options.root,
        });
      } finally {
        await emptyCgroup(cgroup, RELEASE_MS);
        for (const each of cgroups) await removeCgroup(each);
        space.restored = await restoreKernelState(state, tree);
        await unmountFree(tree);
        if (options.becomesBase) renameSync(image, base);
        else rmSync(image);
      }
    },
    async accept() {
      state = await readKernelState();
    },
    inventory() {
      const lines = (program: string, ...args: string[]) => execFileSync(program, args, { encoding: 'utf8' });
      return [
        ...[
          'findmnt --raw --noheadings --output TARGET,SOURCE',
          'losetup --list --raw --noheadings --output BACK-FILE',
        ].map((command) => lines('sh', '-c', `${command} | grep ${folder} || :`)),
        lines('ip', '-brief', 'link'),
        lines('nft', 'list', 'ruleset'),
      ].join('\n');
    },
    async close() {
      close();
      endDisk();
      rmSync(folder, { recursive: true });
    },
  };
  return space;
}

/**
 * A network namespace for the programs that read and change the network, and for the jobs: a test must change nothing of the
 * network of the computer that it runs on.
 */
function enterOwnNetwork(folder: string): () => void {
  const name = networkOf(folder);
  execFileSync('ip', ['netns', 'add', name]);
  execFileSync('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
  const before = process.env.PATH ?? '';
  const bin = join(folder, 'bin');
  mkdirSync(bin);
  // nft resolves the names of cgroups below /sys/fs/cgroup, where version 2 is not in a hybrid layout.
  const view = CGROUPS === '/sys/fs/cgroup' ? ':' : `mount --bind ${CGROUPS} /sys/fs/cgroup`;
  for (const program of [
    'ip',
    'nft',
    'iptables-save',
    'iptables-restore',
    'ip6tables-save',
    'ip6tables-restore',
  ]) {
    const path = execFileSync('sh', ['-c', `command -v ${program} || :`], { encoding: 'utf8' }).trim();
    const script = `#!/bin/sh\nexec nsenter --net=/run/netns/${name} unshare --mount sh -c '${view} && exec ${path} "$@"' sh "$@"\n`;
    if (path) writeFileSync(join(bin, program), script, { mode: 0o755 });
  }
  process.env.PATH = `${bin}:${before}`;
  return () => {
    process.env.PATH = before;
    execFileSync('ip', ['netns', 'del', name]);
  };
}

/** Name of the network namespace of a space of this process. */
export function networkOf(folder: string): string {
  return `hearth-${basename(folder)}-${process.pid}`;
}

function runIn(
  cgroups: readonly string[],
  script: string,
  options: JobOptions,
  root: JobRoot,
): Promise<JobEnd> {
  const join = cgroups.map((each) => `echo $$ >${each}/cgroup.procs`).join(' && ');
  const command = jobCommand(root, options.user ?? 'nobody', ['/bin/sh', '-c', script]);
  const network = networkOf(dirname(root.tree));
  const child = spawn(
    'nsenter',
    [`--net=/run/netns/${network}`, '/bin/sh', '-c', `${join} && exec "$@"`, 'sh', ...command],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env.PATH ?? '', ...options.environment },
    },
  );
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (piece: string) => {
      output += piece;
    });
  }
  const ended = new Promise<JobEnd>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, output }));
  });
  if (child.pid === undefined || !options.meanwhile) return ended;
  // The caller kills the rest of the job then.
  const beside = options.meanwhile(child.pid).catch((error: unknown) => {
    child.kill('SIGKILL');
    throw error;
  });
  return Promise.all([ended, beside]).then(([end]) => end);
}

/** The kernel can still count a process that has just ended, for a moment. */
async function removeCgroup(path: string): Promise<void> {
  for (const end = performance.now() + RELEASE_MS; ; await sleep(20)) {
    try {
      await rmdir(path);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EBUSY' || performance.now() > end) throw error;
    }
  }
}
