import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { unmountBelow } from './xfs.ts';

const script = resolve(import.meta.dirname, '../../infra/runner/bootstrap.sh');

/** The tools of the system that bootstrap.sh uses; a test adds others. */
const TOOLS = [
  ...['basename', 'bash', 'blkid', 'cat', 'chmod', 'cp', 'dirname', 'find', 'findmnt', 'grep', 'mkdir'],
  ...['mkfs.xfs', 'mount', 'mountpoint', 'mv', 'rm', 'sh', 'sha256sum', 'tail', 'timeout', 'touch', 'ln'],
  ...['fallocate', 'losetup', 'umount'],
];

const PROGRAM = 'console.log("aw-runner")\n';

/**
 * An instance whose file system is a folder. The unchanged bootstrap.sh runs there, on real loop devices that the folder's
 * `/sys` lists as instance store, with a PATH that contains only the programs of the test.
 */
export class Instance {
  readonly root = mkdtempSync(join(tmpdir(), 'hearth-instance-'));
  readonly ephemeral = join(this.root, 'mnt/ephemeral');
  readonly #loops: string[] = [];

  constructor() {
    for (const folder of ['etc/aw-runner', 'run', 'bin', 'usr/local/lib/aw-runner', 'sys/block'])
      mkdirSync(join(this.root, folder), { recursive: true });
    for (const tool of TOOLS) this.link(tool, execFileSync('which', [tool], { encoding: 'utf8' }).trim());
    this.link('node', process.execPath);
    for (const tool of ['nft', 'xfs_io', 'mke2fs', 'e2fsck', 'debugfs']) this.stub(tool, 'exit 0');
    // The root volume has 500 MB left.
    this.stub('df', 'echo Avail; echo 500000');
    // `aws s3 cp --only-show-errors URL FILE`
    this.stub('aws', `cp ${this.root}/program "$5"`);
    writeFileSync(join(this.root, 'program'), PROGRAM);
    const sha256 = createHash('sha256').update(PROGRAM).digest('hex');
    const source = `RUNNER_URL=s3://bucket/tools/aw-runner.mjs\nRUNNER_SHA256=${sha256}\nAWS_DEFAULT_REGION=us-east-1\n`;
    writeFileSync(join(this.root, 'etc/aw-runner/source.env'), source);
  }

  link(name: string, to: string): void {
    rmSync(join(this.root, 'bin', name), { force: true });
    symlinkSync(to, join(this.root, 'bin', name));
  }

  /** A program that records its arguments and then runs `body` in a shell. */
  stub(name: string, body: string): void {
    const file = join(this.root, 'bin', name);
    rmSync(file, { force: true });
    writeFileSync(file, `#!/bin/sh\necho "$*" >>${this.root}/${name}.calls\n${body}\n`);
    chmodSync(file, 0o755);
  }

  without(name: string): void {
    rmSync(join(this.root, 'bin', name));
  }

  calls(name: string): string[] {
    const file = join(this.root, `${name}.calls`);
    return existsSync(file) ? readFileSync(file, 'utf8').trimEnd().split('\n') : [];
  }

  /** @returns the device of a new, blank instance store disk */
  addDisk(model = 'Amazon EC2 NVMe Instance Storage        '): string {
    const image = join(this.root, `disk-${this.#loops.length}`);
    execFileSync('truncate', ['-s', '320M', image]);
    const device = execFileSync('losetup', ['--find', '--show', image], { encoding: 'utf8' }).trim();
    this.#loops.push(device);
    const block = join(this.root, 'sys/block', basename(device));
    mkdirSync(join(block, 'device'), { recursive: true });
    mkdirSync(join(block, 'holders'));
    writeFileSync(join(block, 'device/model'), `${model}\n`);
    return device;
  }

  /**
   * Replaces mdadm, since few kernels of test environments have its driver: an array is a link to its first disk. A file
   * replaces the superblocks that mdadm writes to the disks.
   */
  fakeMdadm(): void {
    const array = join(this.root, 'array');
    this.stub(
      'mdadm',
      `name=$2
       case "$1" in
         --assemble) [ -e ${array} ] || exit 2 ;;
         --create) for word; do case "$word" in /dev/loop*) [ -e ${array} ] || echo "$word" >${array} ;; esac; done ;;
       esac
       ln -sfn "$(cat ${array})" "$name"`,
    );
  }

  /** @param logFile gets the log instead of the result */
  bootstrap(logFile?: string): { status: number | null; log: string } {
    const output = logFile === undefined ? ('pipe' as const) : openSync(logFile, 'w');
    const { status, stderr } = spawnSync(join(this.root, 'bin/bash'), [script], {
      encoding: 'utf8',
      stdio: ['ignore', 'ignore', output],
      env: { PATH: join(this.root, 'bin'), AW_BOOTSTRAP_ROOT: this.root },
      timeout: 300_000,
    });
    if (output !== 'pipe') closeSync(output);
    return { status, log: stderr ?? '' };
  }

  /** The device of `/mnt/ephemeral`; undefined if it is a folder. */
  mountedFrom(): string | undefined {
    const table = readFileSync('/proc/self/mounts', 'utf8').split('\n');
    return table.map((line) => line.split(' ')).findLast(([, path]) => path === this.ephemeral)?.[0];
  }

  /** Whether `/mnt/ephemeral` is the file system in a file on the root volume. */
  isInFile(): boolean {
    const device = this.mountedFrom();
    if (device === undefined) return false;
    const file = execFileSync('losetup', ['--noheadings', '--output', 'BACK-FILE', device], {
      encoding: 'utf8',
    });
    return file.trim() === join(this.root, 'var/lib/aw-runner/disk.xfs');
  }

  /** Disks keep their files; mounts, `/run` and `/dev` do not survive. */
  reboot(): void {
    this.#unmount();
    for (const folder of ['run', 'dev']) rmSync(join(this.root, folder), { recursive: true, force: true });
    mkdirSync(join(this.root, 'run'));
  }

  write(path: string, text: string): void {
    mkdirSync(dirname(join(this.root, path)), { recursive: true });
    appendFileSync(join(this.root, path), text);
  }

  read(path: string): string {
    return readFileSync(join(this.root, path), 'utf8');
  }

  #unmount(): void {
    unmountBelow(this.ephemeral);
  }

  end(): void {
    this.#unmount();
    for (const device of this.#loops) execFileSync('losetup', ['--detach', device]);
    rmSync(this.root, { recursive: true, force: true });
  }
}
