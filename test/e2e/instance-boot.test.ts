import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseSetKey } from '../../shared/snapshot/layout.ts';
import { type Container, container, whyNoContainer } from '../support/container.ts';
import { type InstanceServices, startInstanceServices } from '../support/instance-services.ts';
import { whyMissing } from '../support/packages.ts';
import { type S3Server, startS3Server } from '../support/s3-server.ts';
import { rendered, whyNoTerraform } from '../support/user-data.ts';

const program = resolve(import.meta.dirname, '../../dist/aw-runner.mjs');
const reason =
  (await whyMissing({
    'cloud-init': 'cloud-init',
    'systemd-nspawn': 'systemd-container',
    '/sbin/init': 'systemd-sysv',
    'mkfs.xfs': 'xfsprogs',
  })) ??
  whyNoTerraform() ??
  whyNoContainer();
if (reason) console.warn(`the test of a complete boot is skipped: ${reason}`);

const INSTANCE = 'i-0123456789abcdef0';
const KEY = 'tools/aw-runner.mjs';
/** The private Node of aw-runner. */
const NODE = '/usr/local/lib/aw-runner/node';

/** The part of the AWS CLI that bootstrap.sh uses: `aws s3 cp --only-show-errors s3://bucket/key FILE`. */
const AWS = `#!${NODE}
const [, , , , , from, to] = process.argv;
const got = await fetch(process.env.AWS_ENDPOINT_URL_S3 + '/b' + new URL(from).pathname);
if (!got.ok) throw new Error(from + ': ' + got.status);
(await import('node:fs')).writeFileSync(to, Buffer.from(await got.arrayBuffer()));
`;

describe.skipIf(reason !== undefined)('an instance with systemd and cloud-init', () => {
  let folder: string;
  let s3: S3Server;
  let services: InstanceServices;
  let instance: Container;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hearth-boot-'));
    [s3, services] = await Promise.all([startS3Server(), startInstanceServices(INSTANCE)]);
    s3.put(KEY, readFileSync(program));
    instance = container(folder, { [NODE]: process.execPath });
  });
  afterEach(async () => {
    await instance.end();
    await Promise.all([s3.close(), services.close()]);
    await rm(folder, { recursive: true, force: true });
  });

  /** The files of a new instance. Services that have fixed addresses on EC2 are configured. */
  function prepare(command: string[]): void {
    const sha256 = createHash('sha256').update(readFileSync(program)).digest('hex');
    const userData = rendered({
      bucket_name: 'b',
      reports: { url: `${services.url}/aw-reports` },
      runner: { key: KEY, sha256 },
      warming: { command, timeoutSeconds: 600 },
    }).replace('\\"version\\":1', `\\"version\\":1,\\"metadataEndpoint\\":\\"${services.url}\\"`);
    instance.write('/var/lib/cloud/seed/nocloud/user-data', userData);
    instance.write('/var/lib/cloud/seed/nocloud/meta-data', `instance-id: ${INSTANCE}\n`);
    instance.write(
      '/etc/cloud/cloud.cfg',
      [
        'datasource_list: [NoCloud]',
        'network: {config: disabled}',
        'cloud_init_modules: [write-files]',
        'cloud_config_modules: [runcmd]',
        'cloud_final_modules: [scripts-user]',
        'output: {all: ">> /var/log/cloud-init-output.log"}',
        '',
      ].join('\n'),
    );
    instance.write('/usr/local/bin/aws', AWS, 0o755);
    // The container has the network of this computer, whose rules must not change.
    instance.write('/usr/local/bin/nft', '#!/bin/sh\nexec cat >>/var/log/nft.rules\n', 0o755);
    instance.write(
      '/etc/systemd/system/aw-runner.service.d/endpoints.conf',
      [
        '[Service]',
        `Environment=AWS_ENDPOINT_URL_S3=${s3.url} AWS_ENDPOINT_URL_SQS=${services.url}`,
        'Environment=AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test',
        '',
      ].join('\n'),
    );
  }

  const log = () => instance.read('/var/log/aw-runner.log');
  const times = (words: string) => log().split(words).length - 1;
  const manifests = () => [...s3.objects.keys()].filter((key) => parseSetKey(key)?.kind === 'manifest');
  const reported = (report: string) => services.reports.filter((each) => each.report === report);
  /** The limit ends what hangs. */
  const soon = { timeout: 200_000, interval: 100 };

  test('boots from user data to Ready and a snapshot, through a crash, and makes no second snapshot after a reboot', async () => {
    prepare([
      'sh',
      '-c',
      'grep hearth /proc/self/cgroup; echo x >>starts; test "$(wc -l <starts)" -gt 1 || sleep 500',
    ]);
    instance.boot();
    await expect.poll(() => reported('Runner Ready').length, soon).toBe(1);
    expect(reported('Runner Ready')[0]).toMatchObject({ instanceId: INSTANCE, group: 'gha/default' });
    expect(log()).toContain('bootstrap: /mnt/ephemeral is on the root volume');
    await expect.poll(log, soon).toContain('warming: sh with');
    // The first command waits, and the second one does not.
    await expect
      .poll(() => instance.run('sh', '-c', 'cat /mnt/ephemeral/aw/warm/starts').stdout, soon)
      .toBe('x\n');

    // systemd starts it again, and the first command is stopped before the second one starts.
    // By its unit: another container of this computer can have a program at the same path.
    const kill = ['systemctl', 'kill', '--signal=KILL', '--kill-whom=main', 'aw-runner'];
    expect(instance.run(...kill)).toMatchObject({ status: 0 });
    await expect.poll(() => manifests().length, soon).toBe(1);
    expect(log()).toContain('warming: the run is killed');
    // As the user of jobs, in a unit of its own, without the metadata service.
    expect(log()).toContain('(as runner)');
    expect(instance.read('/var/log/nft.rules')).toContain('reject');
    expect(log()).toContain('/hearth.slice/hearth-jobs.slice/hearth-agent-warming.service');

    // The snapshot is visible before its run is over.
    await expect
      .poll(() => instance.read('/var/lib/aw-runner/runner.json'), soon)
      .toMatch(/"warmingRun":\s*"saved"/);
    const before = reported('Runner Ready').length;
    // Reports and the snapshot survive a halt.
    await instance.halt();
    expect(times('has no snapshot yet')).toBe(1);
    instance.boot();
    await expect.poll(() => times(`run on ${INSTANCE}`), soon).toBe(3);
    // Without clones the warm directory holds files of its own, and these survive too.
    expect(times('has no snapshot yet')).toBe(1);
    expect(manifests()).toHaveLength(1);
    // Once more: after a stop in a warm pool a launch hook waits for it.
    await expect.poll(() => reported('Runner Ready').length, soon).toBeGreaterThan(before);
    expect(reported('Runner Failed')).toEqual([]);
    expect(s3.calls.filter(({ key }) => key === KEY)).toHaveLength(1);
  });

  test('that cannot start aw-runner logs the reason at each try', async () => {
    prepare(['true']);
    s3.put(KEY, 'another program');
    instance.boot();
    await expect.poll(() => times('sha256 differs'), soon).toBeGreaterThan(1);
    expect(services.reports).toEqual([]);
  });
});
