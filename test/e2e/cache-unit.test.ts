import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { digestOf } from '../../infra/runner/src/cache/testing/messages.ts';
import { buildRunner } from '../../scripts/build/runner.ts';
import { lowPort } from '../../scripts/local/free-port.ts';
import { type Container, container, whyNoContainer } from '../support/container.ts';
import { whyMissing } from '../support/packages.ts';
import { type S3Server, startS3Server } from '../support/s3-server.ts';

/** The unit of the build cache under a running systemd, with the user, the paths and the program of an instance. */

const reason =
  (await whyMissing({
    'systemd-nspawn': 'systemd-container',
    '/sbin/init': 'systemd-sysv',
    nsenter: 'util-linux',
    pgrep: 'procps',
    setpriv: 'util-linux',
  })) ?? whyNoContainer();
if (reason) console.warn(`the test of the unit of the build cache is skipped: ${reason}`);

const ROOT = resolve(import.meta.dirname, '../..');
const NODE = '/usr/local/lib/aw-runner/node';
const PROGRAM = '/usr/local/lib/aw-runner/aw-runner.mjs';
const DRIVER = resolve(import.meta.dirname, 'programs/cache-unit.ts');
const DISK = '/var/lib/aw-runner-test/images/cache';
const ENTRY = randomBytes(1_000);
/** The limit ends what hangs. */
const soon = { timeout: 200_000, interval: 100 };

describe.skipIf(reason !== undefined)('the build cache as a unit of systemd', () => {
  let folder: string;
  let s3: S3Server;
  let instance: Container;
  let port: number;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hearth-cache-unit-'));
    s3 = await startS3Server();
    port = await lowPort();
    instance = container(folder, {
      [NODE]: process.execPath,
      [PROGRAM]: await buildRunner(ROOT, folder),
      // A container has a `/tmp` of its own, and the repository can be there.
      ...(ROOT.startsWith('/tmp/') && { [ROOT]: ROOT }),
    });
    // In place of the credentials of the instance's role.
    instance.write(
      '/etc/systemd/system/aw-cache.service.d/endpoints.conf',
      `[Service]\nEnvironment=AWS_ENDPOINT_URL_S3=${s3.url} AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test\n`,
    );
    // The directory of the configuration.
    instance.write('/etc/aw-runner/bazelrc', '');
    instance.boot();
    await vi.waitFor(() => expect(isUp()).toBe(true), { timeout: 300_000, interval: 500 });
    // aw-runner gives a process that starts five seconds, and goes on without it.
    await vi.waitFor(() => must('ensure'), { timeout: 300_000, interval: 500 });
  });
  afterAll(async () => {
    await instance?.end();
    await s3?.close();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  });

  function isUp(): boolean {
    try {
      return instance.run('systemctl', 'is-active', 'multi-user.target').stdout.trim() === 'active';
    } catch {
      return false;
    }
  }

  let drives = 0;

  /** In the background: S3 is in this process. @returns what the call printed, and its exit code */
  async function drive(call: string): Promise<string> {
    drives += 1;
    const output = `/var/log/drive-${drives}`;
    instance.run(
      ...['sh', '-c', '("$@"; echo "exit $?") >"$0" 2>&1 &', output],
      ...[NODE, '--no-warnings', DRIVER, PROGRAM, call, String(port)],
    );
    return vi.waitFor(() => {
      const [, text, code] = /^(.*)exit (\d+)\n$/s.exec(instance.read(output)) ?? [];
      if (code === undefined) throw new Error(`${call} does not end`);
      return code === '0' ? (text ?? '') : `${call} ended with ${code}: ${text}`;
    }, soon);
  }

  async function must(call: string): Promise<void> {
    const text = await drive(call);
    if (/ended with|build cache:/.test(text))
      throw new Error(`${text} ${instance.read('/var/log/aw-runner.log')}`);
  }

  const shell = (script: string) => instance.run('sh', '-c', script).stdout.trim();
  const property = (name: string) => shell(`systemctl show -P ${name} aw-cache`);

  /** @returns 0 if nobody answers */
  function call(method: string, path: string, body: Buffer | string = ''): Promise<number> {
    return new Promise((done) => {
      const sent = httpRequest({ port, method, path, agent: false }, (response) => {
        response.resume().once('close', () => done(response.statusCode ?? 0));
      });
      sent.once('error', () => done(0)).end(body);
    });
  }

  test('runs as its own user, with the limits and the confinement that the unit names', () => {
    const expected = {
      ActiveState: 'active',
      User: 'aw-cache',
      MemoryMax: String(512 * 2 ** 20),
      TasksMax: '256',
      Nice: '5',
      OOMPolicy: 'kill',
      OOMScoreAdjust: '200',
      Restart: 'always',
      StartLimitIntervalUSec: '0',
      TimeoutStopUSec: '2s',
      LimitNOFILE: '65536',
      UMask: '0077',
      NoNewPrivileges: 'yes',
      ProtectSystem: 'strict',
      ProtectHome: 'yes',
      PrivateTmp: 'yes',
      PrivateDevices: 'yes',
      ReadWritePaths: DISK,
    };
    for (const [name, value] of Object.entries(expected)) expect(property(name), name).toBe(value);
    const pid = property('MainPID');
    expect(shell(`stat -c %U /proc/${pid}`)).toBe('aw-cache');
    expect(shell(`cat /proc/${pid}/status`)).toMatch(/^NoNewPrivs:\s+1$/m);
    expect(shell(`cat /proc/${pid}/cgroup`)).toContain('/system.slice/aw-cache.service');
    // What the process can write.
    const inside = (script: string) =>
      shell(
        `nsenter --mount --target=${pid} -- setpriv --reuid=aw-cache --clear-groups sh -c '${script}' 2>&1`,
      );
    expect(inside('touch /var/lib/x')).toContain('Read-only file system');
    expect(inside('ls /root')).toMatch(/Permission denied|^$/);
    expect(inside(`touch ${DISK}/x && rm ${DISK}/x && echo ok`)).toBe('ok');
  });

  test('a job reaches neither the files of the cache nor its control socket', () => {
    const other = (script: string) => shell(`setpriv --reuid=nobody --clear-groups sh -c '${script}' 2>&1`);
    expect(other(`ls ${DISK}`)).toContain('Permission denied');
    expect(other('ls /run/aw-cache')).toContain('Permission denied');
    expect(other('cat /run/aw-runner/cache.json')).not.toContain('SECRET');
    expect(shell('cat /proc/self/mountinfo >/dev/null; cat /etc/aw-runner/cache.bazelrc')).toContain(
      `--remote_cache=http://127.0.0.1:${port}/bazel`,
    );
  });

  test('serves, stores in a drain, and starts again after its end with what it had and no claim of the job', async () => {
    const output = `/bazel/cas/${digestOf(ENTRY).sha256}`;
    expect(await call('PUT', output, ENTRY)).toBe(200);
    expect(await call('PUT', '/ccache/a', ENTRY)).toBe(200);
    await must('drain');
    expect([...s3.objects.keys()].filter((key) => key.startsWith('cache/main/ccache/'))).toHaveLength(1);
    const pid = property('MainPID');
    await must('ensure');
    expect(property('MainPID')).toBe(pid);

    s3.objects.clear();
    shell('systemctl kill --signal=KILL aw-cache');
    await expect.poll(() => call('GET', output), soon).toBe(200);
    expect(property('MainPID')).not.toBe(pid);
    expect(await call('GET', '/ccache/a')).toBe(404);
  });

  test('a turnover ends the claims of the job, also when the process does not answer or is down', async () => {
    // A claim that is in S3 is one for every job.
    s3.allows = ({ method }) => method !== 'PUT';
    await call('PUT', '/ccache/b', ENTRY);
    expect(await call('GET', '/ccache/b')).toBe(200);
    await must('turnover');
    expect(await call('GET', '/ccache/b')).toBe(404);

    await call('PUT', '/ccache/c', ENTRY);
    shell('systemctl kill --signal=STOP aw-cache');
    expect(await drive('turnover')).not.toContain('ended with');
    await expect.poll(() => call('GET', '/ccache/c'), soon).toBe(404);
    expect(property('NRestarts')).toMatch(/^\d+$/);

    // A job that ends it again and again does not use up its starts.
    for (let count = 0; count < 6; count += 1) {
      await expect.poll(() => property('ActiveState'), soon).toBe('active');
      shell('systemctl kill --signal=KILL aw-cache');
    }
    await expect.poll(() => call('GET', '/status'), soon).toBe(200);
    shell('systemctl stop aw-cache');
    expect(await call('GET', '/status')).toBe(0);
    await vi.waitFor(() => must('ensure'), soon);
    expect(await call('GET', '/status')).toBe(200);
  });
});
