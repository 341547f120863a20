import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Instance } from '../support/instance.ts';
import { whyMissing } from '../support/packages.ts';

const reason = await whyMissing({ 'mkfs.ext4': 'e2fsprogs', losetup: 'mount', findmnt: 'util-linux' });
if (reason) console.warn(`the tests of bootstrap.sh are skipped: ${reason}`);

describe.skipIf(reason !== undefined)('bootstrap.sh', () => {
  let machine: Instance;
  beforeEach(() => {
    machine = new Instance();
  });
  afterEach(() => machine.end());

  function mustBootstrap(): string {
    const { status, said } = machine.bootstrap();
    expect(status, said).toBe(0);
    return said;
  }

  describe('disks', () => {
    test('none: a folder on the root volume', () => {
      machine.addDisk('Amazon Elastic Block Store              ');
      expect(mustBootstrap()).toContain('/mnt/ephemeral is on the root volume');
      expect(machine.mountedFrom()).toBeUndefined();
      expect(statSync(join(machine.ephemeral, 'aw')).isDirectory()).toBe(true);
    });

    test('one: it is mounted, again after a reboot, and keeps what it holds', () => {
      const device = machine.addDisk();
      mustBootstrap();
      expect(machine.mountedFrom()).toBe(device);
      machine.write('mnt/ephemeral/aw/layers/layer', 'kept');
      // Each start of aw-runner comes by here.
      mustBootstrap();
      expect(machine.mountedFrom()).toBe(device);
      machine.reboot();
      mustBootstrap();
      expect(machine.mountedFrom()).toBe(device);
      expect(machine.read('mnt/ephemeral/aw/layers/layer')).toBe('kept');
    });

    test('two: one array, made once and found again', () => {
      machine.standInForMdadm();
      const disks = [machine.addDisk(), machine.addDisk()];
      mustBootstrap();
      const name = join(machine.root, 'dev/md/ephemeral');
      expect(machine.calls('mdadm')).toEqual([
        `--assemble ${name} --run ${disks.join(' ')}`,
        `--create ${name} --run --level=0 --force --homehost=any --raid-devices=2 ${disks.join(' ')}`,
      ]);
      expect(machine.mountedFrom()).toBe(disks[0]);
      machine.write('mnt/ephemeral/aw/layers/layer', 'kept');
      mustBootstrap();
      expect(machine.calls('mdadm')).toHaveLength(2);
      machine.reboot();
      mustBootstrap();
      expect(machine.calls('mdadm').slice(2)).toEqual([`--assemble ${name} --run ${disks.join(' ')}`]);
      expect(machine.read('mnt/ephemeral/aw/layers/layer')).toBe('kept');
    });

    test('two in an array that udev has started by itself, under a name of its own', () => {
      machine.stub('mdadm', 'exit 1');
      const disks = [machine.addDisk(), machine.addDisk()];
      const array = `md-hearth-${process.pid}`;
      symlinkSync(disks[1] ?? '', `/dev/${array}`);
      try {
        for (const disk of disks) machine.write(`sys/block/${basename(disk)}/holders/${array}`, '');
        mustBootstrap();
        expect(machine.mountedFrom()).toBe(disks[1]);
        expect(machine.calls('mdadm')).toEqual([]);
      } finally {
        rmSync(`/dev/${array}`);
      }
    });

    test('one that is in pieces, or held by something else, is left alone', () => {
      const [parted, held] = [machine.addDisk(), machine.addDisk()].map((disk) => basename(disk));
      machine.write(`sys/block/${parted}/${parted}p1/partition`, '1');
      machine.write(`sys/block/${held}/holders/dm-0`, '');
      const said = mustBootstrap();
      expect(said).toContain(`/dev/${parted} is in use`);
      expect(said).toContain(`/dev/${held} is in use`);
      expect(machine.mountedFrom()).toBeUndefined();
    });

    test('two, and no array to be had: the root volume, and no other choice in this boot', () => {
      machine.stub('mdadm', 'exit 1');
      machine.addDisk();
      machine.addDisk();
      expect(mustBootstrap()).toContain('no array of');
      machine.write('mnt/ephemeral/aw/warm/at-work', 'x');
      machine.standInForMdadm();
      mustBootstrap();
      expect(machine.mountedFrom()).toBeUndefined();
      expect(machine.read('mnt/ephemeral/aw/warm/at-work')).toBe('x');
    });

    test('one that somebody else has mounted is left alone', () => {
      const device = machine.addDisk();
      const theirs = join(machine.root, 'theirs');
      mkdirSync(theirs);
      execFileSync('mkfs.ext4', ['-q', device]);
      execFileSync('mount', [device, theirs]);
      try {
        writeFileSync(join(theirs, 'file'), 'theirs');
        expect(mustBootstrap()).toContain(`${device} is in use: left alone`);
        expect(machine.mountedFrom()).toBeUndefined();
        expect(existsSync(join(theirs, 'file'))).toBe(true);
      } finally {
        execFileSync('umount', [theirs]);
      }
    });

    test('one whose file system is broken is made anew', () => {
      const device = machine.addDisk();
      mustBootstrap();
      machine.reboot();
      execFileSync('dd', ['if=/dev/urandom', `of=${device}`, 'bs=1M', 'count=8', 'conv=notrunc'], {
        stdio: 'ignore',
      });
      mustBootstrap();
      expect(machine.mountedFrom()).toBe(device);
    });
  });

  describe('the program', () => {
    const fetched = () => machine.calls('aws');

    test('is fetched once, and is what systemd starts', () => {
      mustBootstrap();
      mustBootstrap();
      expect(fetched()).toHaveLength(1);
      expect(fetched()[0]).toContain('s3 cp --only-show-errors s3://bucket/tools/aw-runner.mjs');
      const program = join(machine.root, 'usr/local/lib/aw-runner/aw-runner');
      expect(execFileSync(program, { encoding: 'utf8' })).toBe('aw-runner\n');
    });

    test('is not fetched if the image has brought it', () => {
      execFileSync('cp', [
        join(machine.root, 'program'),
        join(machine.root, 'usr/local/lib/aw-runner/aw-runner.mjs'),
      ]);
      mustBootstrap();
      expect(fetched()).toEqual([]);
    });

    test('of an older image is replaced', () => {
      machine.write('usr/local/lib/aw-runner/aw-runner.mjs', 'older');
      mustBootstrap();
      expect(machine.read('usr/local/lib/aw-runner/aw-runner.mjs')).toBe(machine.read('program'));
    });

    test('that is not the one of the launch template is not run', () => {
      machine.write('program', 'changed');
      const { status, said } = machine.bootstrap();
      expect(status).toBe(1);
      expect(said).toContain('sha256 differs');
      expect(existsSync(join(machine.root, 'usr/local/lib/aw-runner/aw-runner'))).toBe(false);
    });
  });

  describe('what the image lacks', () => {
    test('is installed', () => {
      machine.without('mksquashfs');
      machine.stub('dnf', `ln -s /bin/true ${machine.root}/bin/mksquashfs`);
      expect(mustBootstrap()).toContain('this image lacks squashfs-tools');
      expect(machine.calls('dnf')).toEqual(['install -q -y squashfs-tools']);
    });

    test('mdadm too, if there is more than one disk; and the machine can do without', () => {
      machine.stub('dnf', 'exit 1');
      mustBootstrap();
      expect(machine.calls('dnf')).toEqual([]);
      machine.reboot();
      machine.addDisk();
      machine.addDisk();
      expect(mustBootstrap()).toContain('is on the root volume');
      expect(machine.calls('dnf')).toEqual(['install -q -y mdadm']);
    });

    test('on the PATH, but has of its own, is not installed', () => {
      machine.stub('node', 'exit 1');
      symlinkSync(process.execPath, join(machine.root, 'usr/local/lib/aw-runner/node'));
      mustBootstrap();
      const program = machine.read('usr/local/lib/aw-runner/aw-runner');
      expect(program).toContain(`exec ${machine.root}/usr/local/lib/aw-runner/node `);
    });

    test('and cannot be installed, is named', () => {
      machine.stub('node', 'exit 1');
      machine.without('aws');
      const { status, said } = machine.bootstrap();
      expect(status).toBe(1);
      expect(said).toContain('this image lacks awscli-2 nodejs24, which cannot be installed here');
    });
  });

  test('logs are sent from the first moment on, once a boot, and without an agent the machine boots all the same', () => {
    expect(mustBootstrap()).toContain('no amazon-cloudwatch-agent');
    const folder = join(machine.root, 'opt/aws/amazon-cloudwatch-agent/bin');
    mkdirSync(folder, { recursive: true });
    const control = join(folder, 'amazon-cloudwatch-agent-ctl');
    writeFileSync(control, `#!/bin/sh\necho "$*" >>${machine.root}/control.calls\n`);
    chmodSync(control, 0o755);
    mustBootstrap();
    mustBootstrap();
    expect(machine.calls('control')).toEqual([
      `-a fetch-config -m ec2 -s -c file:${machine.root}/etc/aw-runner/cloudwatch.json`,
    ]);
    machine.reboot();
    mustBootstrap();
    expect(machine.calls('control')).toHaveLength(2);
    machine.reboot();
    writeFileSync(control, '#!/bin/sh\necho no permission; exit 1\n');
    expect(mustBootstrap()).toContain('does not start: no permission');
  });

  test('Bazel is pointed to the caches once, and keeps its own settings', () => {
    machine.write('etc/bazel.bazelrc', 'build --jobs=4\n');
    mustBootstrap();
    mustBootstrap();
    const line = `try-import ${machine.root}/etc/aw-runner/bazelrc\n`;
    expect(machine.read('etc/bazel.bazelrc')).toBe(`build --jobs=4\n${line}`);
    rmSync(join(machine.root, 'etc/bazel.bazelrc'));
    mustBootstrap();
    expect(machine.read('etc/bazel.bazelrc')).toBe(line);
  });
});
