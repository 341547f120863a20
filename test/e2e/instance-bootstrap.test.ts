import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Instance } from '../support/instance.ts';
import { whyMissing } from '../support/packages.ts';
import { mountXfs } from '../support/xfs.ts';

const reason = await whyMissing({ 'mkfs.xfs': 'xfsprogs', losetup: 'mount', findmnt: 'util-linux' });
if (reason) console.warn(`the tests of bootstrap.sh are skipped: ${reason}`);

describe.skipIf(reason !== undefined)('bootstrap.sh', () => {
  let instance: Instance;
  beforeEach(() => {
    instance = new Instance();
  });
  afterEach(() => instance.end());

  function mustBootstrap(): string {
    const { status, log } = instance.bootstrap();
    expect(status, log).toBe(0);
    return log;
  }

  describe('disks', () => {
    test('none: a file on the root volume, which owns its space; it is found again after a reboot', () => {
      instance.addDisk('Amazon Elastic Block Store              ');
      expect(mustBootstrap()).toContain('/mnt/ephemeral is in a file on the root volume');
      expect(instance.isInFile()).toBe(true);
      const { blocks, size } = statSync(join(instance.root, 'var/lib/aw-runner/disk.xfs'));
      expect(size).toBe(400_000 * 1024);
      expect(blocks * 512).toBeGreaterThanOrEqual(size);
      instance.write('mnt/ephemeral/aw/base/image', 'kept');
      mustBootstrap();
      instance.reboot();
      mustBootstrap();
      expect(instance.isInFile()).toBe(true);
      expect(instance.read('mnt/ephemeral/aw/base/image')).toBe('kept');
    });

    test('none, and a root volume that can clone files: a folder on it', () => {
      const end = mountXfs(join(instance.root, 'mnt'), '320M');
      try {
        expect(mustBootstrap()).toContain('/mnt/ephemeral is on the root volume\n');
        expect(instance.mountedFrom()).toBeUndefined();
        expect(statSync(join(instance.ephemeral, 'aw')).isDirectory()).toBe(true);
      } finally {
        end();
      }
    });

    test('the file system can clone, and shows neither devices nor setuid bits; loop devices get no links', () => {
      instance.addDisk();
      mustBootstrap();
      instance.write('mnt/ephemeral/aw/file', 'x');
      const file = join(instance.ephemeral, 'aw/file');
      execFileSync('cp', ['--reflink=always', file, `${file}2`]);
      const table = readFileSync('/proc/self/mounts', 'utf8').split('\n');
      const line = table.find((each) => each.includes(` ${instance.ephemeral} `));
      expect(line).toMatch(/ xfs rw,nosuid,nodev,noatime/);
      expect(instance.read('run/udev/rules.d/59-aw-runner.rules')).toContain('KERNEL=="loop*"');
    });

    test('one with another file system, or one that cannot clone, is created again', () => {
      const device = instance.addDisk();
      execFileSync('mkfs.xfs', ['-q', '-f', '-m', 'reflink=0', device]);
      mustBootstrap();
      expect(instance.mountedFrom()).toBe(device);
      instance.write('mnt/ephemeral/aw/file', 'x');
      const file = join(instance.ephemeral, 'aw/file');
      execFileSync('cp', ['--reflink=always', file, `${file}2`]);
    });

    test('one: it is mounted, also after a reboot, and keeps its files', () => {
      const device = instance.addDisk();
      mustBootstrap();
      expect(instance.mountedFrom()).toBe(device);
      instance.write('mnt/ephemeral/aw/base/image', 'kept');
      // Each start of aw-runner runs the script again.
      mustBootstrap();
      expect(instance.mountedFrom()).toBe(device);
      instance.reboot();
      mustBootstrap();
      expect(instance.mountedFrom()).toBe(device);
      expect(instance.read('mnt/ephemeral/aw/base/image')).toBe('kept');
    });

    test('two: one array, created once and found again', () => {
      instance.fakeMdadm();
      const disks = [instance.addDisk(), instance.addDisk()];
      mustBootstrap();
      const name = join(instance.root, 'dev/md/ephemeral');
      expect(instance.calls('mdadm')).toEqual([
        `--assemble ${name} --run ${disks.join(' ')}`,
        `--create ${name} --run --level=0 --force --homehost=any --raid-devices=2 ${disks.join(' ')}`,
      ]);
      expect(instance.mountedFrom()).toBe(disks[0]);
      instance.write('mnt/ephemeral/aw/base/image', 'kept');
      mustBootstrap();
      expect(instance.calls('mdadm')).toHaveLength(2);
      instance.reboot();
      mustBootstrap();
      expect(instance.calls('mdadm').slice(2)).toEqual([`--assemble ${name} --run ${disks.join(' ')}`]);
      expect(instance.read('mnt/ephemeral/aw/base/image')).toBe('kept');
    });

    test('two in an array that udev has started under another name', () => {
      instance.stub('mdadm', 'exit 1');
      const disks = [instance.addDisk(), instance.addDisk()];
      const array = `md-hearth-${process.pid}`;
      symlinkSync(disks[1] ?? '', `/dev/${array}`);
      try {
        for (const disk of disks) instance.write(`sys/block/${basename(disk)}/holders/${array}`, '');
        mustBootstrap();
        expect(instance.mountedFrom()).toBe(disks[1]);
        expect(instance.calls('mdadm')).toEqual([]);
      } finally {
        rmSync(`/dev/${array}`);
      }
    });

    test('one with partitions, or used by another device, is not touched', () => {
      const [parted, held] = [instance.addDisk(), instance.addDisk()].map((disk) => basename(disk));
      instance.write(`sys/block/${parted}/${parted}p1/partition`, '1');
      instance.write(`sys/block/${held}/holders/dm-0`, '');
      const log = mustBootstrap();
      expect(log).toContain(`/dev/${parted} is in use`);
      expect(log).toContain(`/dev/${held} is in use`);
      expect(instance.isInFile()).toBe(true);
    });

    test('two without an array: the root volume, until the next reboot', () => {
      instance.stub('mdadm', 'exit 1');
      instance.addDisk();
      instance.addDisk();
      expect(mustBootstrap()).toContain('no array of');
      instance.write('mnt/ephemeral/aw/warm/at-work', 'x');
      instance.fakeMdadm();
      mustBootstrap();
      expect(instance.isInFile()).toBe(true);
      expect(instance.read('mnt/ephemeral/aw/warm/at-work')).toBe('x');
    });

    test('one that is mounted elsewhere is not touched', () => {
      const device = instance.addDisk();
      const other = join(instance.root, 'theirs');
      mkdirSync(other);
      execFileSync('mkfs.ext4', ['-q', device]);
      execFileSync('mount', [device, other]);
      try {
        writeFileSync(join(other, 'file'), 'kept');
        expect(mustBootstrap()).toContain(`${device} is in use: left alone`);
        expect(instance.isInFile()).toBe(true);
        expect(existsSync(join(other, 'file'))).toBe(true);
      } finally {
        execFileSync('umount', [other]);
      }
    });

    test('one with a broken file system is formatted again', () => {
      const device = instance.addDisk();
      mustBootstrap();
      instance.reboot();
      execFileSync('dd', ['if=/dev/urandom', `of=${device}`, 'bs=1M', 'count=8', 'conv=notrunc'], {
        stdio: 'ignore',
      });
      mustBootstrap();
      expect(instance.mountedFrom()).toBe(device);
    });
  });

  describe('the program', () => {
    const fetched = () => instance.calls('aws');

    test('is fetched once, with a wrapper that systemd starts', () => {
      mustBootstrap();
      mustBootstrap();
      expect(fetched()).toHaveLength(1);
      expect(fetched()[0]).toContain('s3 cp --only-show-errors s3://bucket/tools/aw-runner.mjs');
      const program = join(instance.root, 'usr/local/lib/aw-runner/aw-runner');
      expect(execFileSync(program, { encoding: 'utf8' })).toBe('aw-runner\n');
    });

    test('is not fetched if the image contains it', () => {
      execFileSync('cp', [
        join(instance.root, 'program'),
        join(instance.root, 'usr/local/lib/aw-runner/aw-runner.mjs'),
      ]);
      mustBootstrap();
      expect(fetched()).toEqual([]);
    });

    test('of an older image is replaced', () => {
      instance.write('usr/local/lib/aw-runner/aw-runner.mjs', 'older');
      mustBootstrap();
      expect(instance.read('usr/local/lib/aw-runner/aw-runner.mjs')).toBe(instance.read('program'));
    });

    test('that is not the one of the launch template is not used', () => {
      instance.write('program', 'changed');
      const { status, log } = instance.bootstrap();
      expect(status).toBe(1);
      expect(log).toContain('sha256 differs');
      expect(existsSync(join(instance.root, 'usr/local/lib/aw-runner/aw-runner'))).toBe(false);
    });
  });

  describe('tools that the image lacks', () => {
    test('are installed', () => {
      instance.without('xfs_io');
      instance.stub('dnf', `ln -s /bin/true ${instance.root}/bin/xfs_io`);
      expect(mustBootstrap()).toContain('this image lacks xfsprogs');
      expect(instance.calls('dnf')).toEqual(['install -q -y xfsprogs']);
    });

    test('include mdadm if there is more than one disk; the boot succeeds without it', () => {
      instance.stub('dnf', 'exit 1');
      mustBootstrap();
      expect(instance.calls('dnf')).toEqual([]);
      instance.reboot();
      instance.addDisk();
      instance.addDisk();
      expect(mustBootstrap()).toContain('on the root volume');
      expect(instance.calls('dnf')).toEqual(['install -q -y mdadm']);
    });

    test('on the PATH but contains privately are not installed', () => {
      instance.stub('node', 'exit 1');
      symlinkSync(process.execPath, join(instance.root, 'usr/local/lib/aw-runner/node'));
      mustBootstrap();
      const program = instance.read('usr/local/lib/aw-runner/aw-runner');
      expect(program).toContain(`exec ${instance.root}/usr/local/lib/aw-runner/node `);
    });

    test('and cannot be installed are named', () => {
      instance.stub('node', 'exit 1');
      instance.without('aws');
      const { status, log } = instance.bootstrap();
      expect(status).toBe(1);
      expect(log).toContain('this image lacks awscli-2 nodejs24, which cannot be installed here');
    });
  });

  test('the log agent is started once per boot, and a boot succeeds without one', () => {
    expect(mustBootstrap()).toContain('no amazon-cloudwatch-agent');
    const folder = join(instance.root, 'opt/aws/amazon-cloudwatch-agent/bin');
    mkdirSync(folder, { recursive: true });
    const control = join(folder, 'amazon-cloudwatch-agent-ctl');
    writeFileSync(control, `#!/bin/sh\necho "$*" >>${instance.root}/control.calls\n`);
    chmodSync(control, 0o755);
    mustBootstrap();
    mustBootstrap();
    expect(instance.calls('control')).toEqual([
      `-a fetch-config -m ec2 -s -c file:${instance.root}/etc/aw-runner/cloudwatch.json`,
    ]);
    instance.reboot();
    mustBootstrap();
    expect(instance.calls('control')).toHaveLength(2);
    instance.reboot();
    writeFileSync(control, '#!/bin/sh\necho no permission; exit 1\n');
    expect(mustBootstrap()).toContain('does not start: no permission');
  });

  test('Bazel gets one line for the caches and keeps its other settings', () => {
    instance.write('etc/bazel.bazelrc', 'build --jobs=4\n');
    mustBootstrap();
    mustBootstrap();
    const line = `try-import ${instance.root}/etc/aw-runner/bazelrc\n`;
    expect(instance.read('etc/bazel.bazelrc')).toBe(`build --jobs=4\n${line}`);
    rmSync(join(instance.root, 'etc/bazel.bazelrc'));
    mustBootstrap();
    expect(instance.read('etc/bazel.bazelrc')).toBe(line);
  });

  test('a start on a full disk succeeds and writes nothing', () => {
    instance.addDisk();
    const library = join(instance.root, 'usr/local/lib/aw-runner');
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'hearth-full', library]);
    try {
      mustBootstrap();
      const wrapper = statSync(join(library, 'aw-runner'));
      spawnSync('dd', ['if=/dev/zero', `of=${join(library, 'job')}`, 'bs=4k'], { stdio: 'ignore' });
      expect(() => writeFileSync(join(library, 'more'), 'x')).toThrow('ENOSPC');
      // Each write to this file fails like one to a log on a full disk.
      expect(instance.bootstrap('/dev/full').status).toBe(0);
      expect(statSync(join(library, 'aw-runner')).ino).toBe(wrapper.ino);
    } finally {
      execFileSync('umount', [library]);
    }
  });
});
