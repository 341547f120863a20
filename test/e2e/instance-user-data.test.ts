import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, globSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import * as v from 'valibot';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { bazelRc } from '../../infra/runner/src/warming/bazel-caches.ts';
import { whyMissing } from '../support/packages.ts';
import { rendered, whyNoTerraform } from '../support/user-data.ts';

const root = resolve(import.meta.dirname, '../..');
const reason =
  (await whyMissing({
    'cloud-init': 'cloud-init',
    'systemd-analyze': 'systemd',
    shellcheck: 'shellcheck',
  })) ?? whyNoTerraform();
if (reason) console.warn(`the tests of user data are skipped: ${reason}`);

const cloudConfig = v.strictObject({
  write_files: v.array(v.strictObject({ path: v.string(), permissions: v.string(), content: v.string() })),
  runcmd: v.array(v.array(v.string())),
});

describe.skipIf(reason !== undefined)('user data', () => {
  let folder: string;
  let text: string;
  let files: Map<string, string>;
  let commands: string[][];

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'hearth-user-data-'));
    text = rendered();
    const { write_files, runcmd } = v.parse(cloudConfig, parse(text));
    files = new Map(write_files.map(({ path, content }) => [path, content]));
    commands = runcmd;
    // The file system of the instance after cloud-init.
    for (const { path, content, permissions } of write_files) {
      const file = join(folder, path);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, content);
      chmodSync(file, Number.parseInt(permissions, 8));
    }
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test('is valid for cloud-init', () => {
    const file = join(folder, 'user-data');
    writeFileSync(file, text);
    const output = execFileSync('cloud-init', ['schema', '--config-file', file], { encoding: 'utf8' });
    expect(output).toContain('Valid');
  });

  test('contains a unit that is valid for systemd, with a program at each of its paths', () => {
    const unit = join(folder, 'etc/systemd/system/aw-runner.service');
    // bootstrap.sh creates it before systemd starts it.
    const program = join(folder, 'usr/local/lib/aw-runner/aw-runner');
    writeFileSync(program, '#!/bin/sh\n');
    chmodSync(program, 0o755);
    writeFileSync(
      unit,
      (files.get('/etc/systemd/system/aw-runner.service') ?? '').replaceAll(
        '=/usr/local',
        `=${folder}/usr/local`,
      ),
    );
    const { status, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', unit], {
      encoding: 'utf8',
    });
    expect(stderr.split('\n').filter((line) => line.includes('aw-runner'))).toEqual([]);
    expect(status).toBe(0);
  });

  test('starts that unit now, and at every boot', () => {
    expect(commands).toEqual([
      ['systemctl', 'daemon-reload'],
      ['systemctl', 'enable', '--now', '--no-block', 'aw-runner.service'],
    ]);
    expect(files.get('/etc/systemd/system/aw-runner.service')).toContain('WantedBy=multi-user.target');
  });

  test('sends the files that the unit and cloud-init write', () => {
    const { logs } = JSON.parse(files.get('/etc/aw-runner/cloudwatch.json') ?? '');
    const sent = logs.logs_collected.files.collect_list;
    expect(sent).toEqual([
      {
        file_path: '/var/log/aw-runner.log',
        log_group_name: 'aw_runners',
        log_stream_name: 'aw-gha-default/{instance_id}/aw-runner',
      },
      {
        file_path: '/var/log/cloud-init-output.log',
        log_group_name: 'aw_runners',
        log_stream_name: 'aw-gha-default/{instance_id}/cloud-init',
      },
    ]);
    expect(files.get('/etc/systemd/system/aw-runner.service')).toContain('=append:/var/log/aw-runner.log');
  });

  test('configures Bazel with the caches that a warming run fills', () => {
    expect(files.get('/etc/aw-runner/bazelrc')).toBe(bazelRc('/mnt/ephemeral/aw/warm'));
  });

  test('is far below the limit of 16 KB, so that a long configuration fits', () => {
    expect(Buffer.byteLength(text)).toBeLessThan(14_000);
  });
});

describe.skipIf(reason !== undefined)('shell scripts of an instance', () => {
  const scripts = globSync('infra/**/*.sh', { cwd: root });

  test('are found', () => {
    expect(scripts).toContain('infra/runner/bootstrap.sh');
    expect(scripts).toEqual(
      expect.arrayContaining(['infra/runner/image/check.sh', 'infra/runner/image/install.sh']),
    );
  });

  test.each(scripts)('%s satisfies shellcheck', (script) => {
    const { status, stdout } = spawnSync('shellcheck', [join(root, script)], { encoding: 'utf8' });
    expect(stdout).toBe('');
    expect(status).toBe(0);
    expect(existsSync(join(root, script))).toBe(true);
  });

  test('check.sh checks what aw-runner needs, and names what is missing', () => {
    const check = (path: string) =>
      spawnSync('bash', [join(root, 'infra/runner/image/check.sh')], {
        encoding: 'utf8',
        env: { PATH: path },
        timeout: 300_000,
      });
    const here = check(`${dirname(process.execPath)}:${process.env.PATH}`).stdout;
    for (const what of [
      'Node 24',
      'xfsprogs and xfs with reflink in the kernel',
      'e2fsprogs',
      'ext4 and loop devices in the kernel',
      'xfs_io',
      'overlayfs in the kernel',
    ])
      expect(here).toContain(`ok       ${what}\n`);
    const without = check('/usr/bin:/bin');
    expect(without.status).toBe(1);
  });
});
