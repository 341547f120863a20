import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AgentUnit, UnitState } from '../../infra/runner/src/agents/units.ts';
import { type JobRoot, jobCommand } from '../../infra/runner/src/isolation/job-root.ts';
import { type Container, container, whyNoContainer } from '../support/container.ts';
import { whyMissing } from '../support/packages.ts';

const reason =
  (await whyMissing({
    'systemd-nspawn': 'systemd-container',
    '/sbin/init': 'systemd-sysv',
    nsenter: 'util-linux',
    pgrep: 'procps',
  })) ?? whyNoContainer();
if (reason) console.warn(`the tests of agents as units of systemd are skipped: ${reason}`);

const NODE = '/usr/local/lib/aw-runner/node';
const LEFT = '/run/aw-runner-left';
const BOOTSTRAP = `#!/bin/sh\npgrep -xf 'sleep 30303' >>${LEFT} || :\n`;
const UNIT_FILE = '/etc/systemd/system/aw-runner.service';
const SECRET = 'not-for-anybody-else';
/** What follows an event a moment later. The limit ends what hangs. */
const soon = { timeout: 200_000, interval: 200 };
const program = resolve(import.meta.dirname, 'programs/agent-units.ts');

describe.skipIf(reason !== undefined)('agents as units of systemd', () => {
  let folder: string;
  let instance: Container;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hearth-units-'));
    // A container has a `/tmp` of its own, and the repository can be there.
    const root = resolve(import.meta.dirname, '../..');
    instance = container(folder, {
      [NODE]: process.execPath,
      ...(root.startsWith('/tmp/') && { [root]: root }),
    });
    // The unit of the product; what it runs before each start finds what an earlier one has left.
    instance.write('/usr/local/lib/aw-runner/bootstrap.sh', BOOTSTRAP, 0o755);
    const start = `${NODE} --no-warnings ${program} start '${JSON.stringify(unit('gha-2', 'exec sleep 30002'))}'`;
    const script = `#!/bin/sh\n${start}\nsetsid sleep 30303 &\nexec sleep 30003\n`;
    instance.write('/usr/local/lib/aw-runner/aw-runner', script, 0o755);
    instance.write(UNIT_FILE, readFileSync(join(root, 'infra/runner/aw-runner.service'), 'utf8'));
    instance.boot();
    for (const end = performance.now() + soon.timeout; ; await sleep(200)) {
      if (/running|degraded/.test(shell('systemctl is-system-running'))) break;
      if (performance.now() > end) throw new Error('systemd of the container does not start');
    }
    call('ensureUser', 'runner');
  });
  afterAll(async () => {
    await instance.end();
    await rm(folder, { recursive: true, force: true });
  });

  function shell(script: string): string {
    try {
      return instance.run('sh', '-c', script).stdout.trim();
    } catch {
      // It has not booted yet.
      return '';
    }
  }

  function call(method: string, ...args: unknown[]): unknown {
    const done = instance.run(
      NODE,
      '--no-warnings',
      program,
      method,
      ...args.map((each) => JSON.stringify(each)),
    );
    if (done.status !== 0) throw new Error(done.stderr);
    return JSON.parse(done.stdout);
  }

  const state = (name: string) => call('state', name) as UnitState | null;
  const unit = (name: string, script: string): AgentUnit => ({
    name,
    argv: ['/bin/sh', '-c', script],
    user: 'runner',
    directory: '/home/runner',
    env: { PLAIN: 'a b' },
    secrets: { SECRET },
    logFile: `/var/log/${name}.log`,
  });
  const until = (name: string) => expect.poll(() => state(name)?.ended, soon).toBeDefined();

  test('runs as its user in a cgroup below hearth-jobs.slice, and every process of it is found', async () => {
    // Longer than all tests of this file take.
    call('start', unit('gha-1', 'echo "$(id -un) $PLAIN $HOME $SECRET"; sleep 30000 & exec sleep 30001'));
    await expect.poll(() => shell("ps -eo args | grep -c '^sleep 3000[01]$'"), soon).toBe('2');
    const { main, pids, ended } = state('gha-1') ?? {};
    expect(ended).toBeUndefined();
    expect(pids).toHaveLength(2);
    expect(pids).toContain(main?.pid);
    expect(shell('cat /var/log/gha-1.log')).toBe(`runner a b /home/runner ${SECRET}`);
    expect(shell('stat -c "%a %U" /var/log/gha-1.log')).toBe('600 root');
    expect(shell('systemctl show -P Slice hearth-agent-gha-1')).toBe('hearth-jobs.slice');
    expect(call('list')).toEqual(['gha-1']);
  });

  test('its secret is in no property of the unit, no argument, no file, and in the environment of its own processes only', () => {
    const pids = state('gha-1')?.pids ?? [];
    expect(shell('systemctl show hearth-agent-gha-1; systemctl cat hearth-agent-gha-1')).not.toContain(
      SECRET,
    );
    expect(shell('systemctl show -P Environment hearth-agent-gha-1')).toBe('"PLAIN=a b"');
    const inArguments = shell(`cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' | grep -c "^${SECRET.slice(0, 7)}"`);
    expect(inArguments).toBe('0');
    const having = shell(
      `grep -l "SECRET=${SECRET.slice(0, 8)}" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3`,
    );
    expect(having.split('\n').map(Number).sort()).toEqual([...pids].sort());
    expect(shell('ls -A /run/aw-runner')).toBe('');
    expect(shell(`grep -rl "${SECRET}" /run/systemd /etc/systemd /run/aw-runner 2>/dev/null`)).toBe('');
    // Another user of the instance cannot read it.
    expect(shell(`setpriv --reuid=nobody --clear-groups cat /proc/${pids[0]}/environ 2>&1`)).toMatch(
      /denied/i,
    );
  });

  test('outlives a restart of the service that has started it, and is found by the next one; other processes of the service do not', async () => {
    const starts = () => Number(shell('systemctl show --property=NRestarts --value aw-runner'));
    instance.run('systemctl', 'start', 'aw-runner');
    await expect.poll(() => state('gha-2')?.main?.pid ?? 0, soon).toBeGreaterThan(0);
    await expect.poll(() => shell('pgrep -xf "sleep 30303"'), soon).not.toBe('');
    const before = state('gha-2')?.main;
    shell('systemctl kill --signal=KILL --kill-whom=main aw-runner');
    await expect.poll(starts, soon).toBe(1);
    await expect.poll(() => shell('systemctl is-active aw-runner'), soon).toBe('active');
    expect(state('gha-2')?.main).toEqual(before);
    expect(shell('systemctl restart aw-runner && systemctl is-active aw-runner')).toBe('active');
    expect(state('gha-2')?.main).toEqual(before);
    instance.run('systemctl', 'stop', 'aw-runner');
    expect(state('gha-2')?.main).toEqual(before);
    expect(shell(`cat ${LEFT}; pgrep -xf "sleep 30303"`)).toBe('');
  });

  test('is not started twice under one name', () => {
    expect(() => call('start', unit('gha-1', 'exit 0'))).toThrow(/already loaded/);
  });

  test('a signal reaches its main process alone; what it leaves behind goes on', async () => {
    call('signal', 'gha-1', 'SIGTERM');
    await until('gha-1');
    const { main, ended, pids } = state('gha-1') ?? {};
    expect(main).toBeUndefined();
    expect(ended).toEqual({ code: null });
    expect(pids).toHaveLength(1);
    call('remove', 'gha-1');
    expect(shell(`kill -0 ${pids?.[0]} && echo alive`)).toBe('alive');
  });

  test.each([
    ['at once', 'exit 7', 7],
    ['later', 'sleep 1; exit 3', 3],
    ['well', 'sleep 0.5', 0],
  ])('its exit code is kept until it is removed: %s', async (what, script, code) => {
    const name = `bk-${what.replace(' ', '')}`;
    call('start', unit(name, script));
    await until(name);
    expect(state(name)?.ended).toEqual({ code });
    call('remove', name);
    expect(state(name)).toBeNull();
    call('remove', name);
  });

  describe('as the root of a job', () => {
    const root: JobRoot = {
      mountPoint: '/var/lib/tree.root',
      tree: '/var/lib/tree',
      warm: [{ source: 'warm', target: '/opt/warm' }],
      views: [],
      sharedMounts: [],
      hidden: [],
      files: [],
      docker: false,
    };
    const start = (name: string, script: string) =>
      call('start', {
        ...unit(name, ''),
        argv: jobCommand(root, 'runner', ['/bin/sh', '-c', script]),
        user: 'root',
      });
    beforeAll(() => {
      shell('mkdir -p /var/lib/tree && mount -t tmpfs tree /var/lib/tree');
      // The files of the resolver are passed on where they are.
      shell('mkdir -p /run/systemd/resolve && echo resolver >/run/systemd/resolve/hearth');
    });
    afterAll(() => void shell('umount /var/lib/tree'));

    test('runs its program with its environment and secret, and its exit code arrives', async () => {
      start(
        'gha-20',
        // Neither form is one of systemd's.
        `echo "$(id -un) $PLAIN $SECRET $(cat /run/systemd/resolve/hearth) $(ls /run) \${PLAIN}$$"; touch /var/tmp/left; exit 7`,
      );
      await until('gha-20');
      expect(state('gha-20')?.ended).toEqual({ code: 7 });
      expect(shell('cat /var/log/gha-20.log')).toMatch(
        new RegExp(`^runner a b ${SECRET} resolver [^/]*\\bsystemd\\b[^/]* a b\\d+$`),
      );
      expect(shell('ls /var/tmp/left 2>&1')).toMatch(/No such file/);
      call('remove', 'gha-20');
    });

    test('sees its own cgroup as the root of the hierarchy', async () => {
      start(
        'gha-23',
        'stat -f -c %T /sys/fs/cgroup; grep ^0:: /proc/self/cgroup; ls -d /sys/fs/cgroup/*.slice',
      );
      await until('gha-23');
      expect(shell('cat /var/log/gha-23.log')).toMatch(/^cgroup2fs\n0::\/\nls: cannot access/);
      call('remove', 'gha-23');
    });

    test('a signal reaches its agent once, and its cgroup is empty after a kill', async () => {
      start(
        'gha-21',
        `got=; trap 'echo got TERM; got=1' TERM; setsid sleep 30300 & echo ready; until [ -n "$got" ]; do sleep 0.1; done; sleep 1; setsid sleep 30300 & exec sleep 30301`,
      );
      await expect.poll(() => shell('cat /var/log/gha-21.log'), soon).toBe('ready');
      // The agent is the child of the first process of the namespaces: the one that has its number.
      const number = shell('cat /var/lib/tree/agent-pid');
      const agent = (state('gha-21')?.pids ?? []).find((pid) =>
        new RegExp(`^NSpid:\\s.*\\s${number}$`, 'm').test(shell(`cat /proc/${pid}/status`)),
      );
      shell(`kill -TERM ${agent}`);
      await expect.poll(() => shell('cat /var/log/gha-21.log'), soon).toBe('ready\ngot TERM');
      await expect.poll(() => shell("ps -eo args | grep -c '^sleep 3030[01]$'"), soon).toBe('3');
      expect(shell('cat /var/log/gha-21.log')).toBe('ready\ngot TERM');
      const cgroup = String(call('cgroup', 'gha-21'));
      shell(`echo 1 >${cgroup}/cgroup.kill`);
      await until('gha-21');
      await expect.poll(() => state('gha-21'), soon).toMatchObject({ ended: { code: null }, pids: [] });
      expect(shell("ps -eo args | grep -c '^sleep 3030[01]$'")).toBe('0');
      call('remove', 'gha-21');
    });

    test('has no keyring: what a job puts there would stay until the instance ends', async () => {
      start('gha-22', 'grep Seccomp: /proc/self/status; sudo -n true 2>&1 | grep -c "no new privileges"');
      await until('gha-22');
      expect(shell('cat /var/log/gha-22.log')).toMatch(/^Seccomp:\s+2\n0$/);
      call('remove', 'gha-22');
    });
  });

  test('the pipe of a start whose aw-runner was killed is removed with the unit', () => {
    shell('mkfifo /run/aw-runner/gha-5.0123456789abcdef /run/aw-runner/gha-55.0123456789abcdef');
    call('remove', 'gha-5');
    expect(shell('ls -A /run/aw-runner')).toBe('gha-55.0123456789abcdef');
    call('remove', 'gha-55');
    expect(shell('ls -A /run/aw-runner')).toBe('');
  });

  test('a secret with two lines is refused, and no unit is left', async () => {
    // A start that an earlier test has interrupted removes its pipe.
    await expect.poll(() => shell('ls -A /run/aw-runner'), soon).toBe('');
    expect(() => call('start', { ...unit('gha-9', 'true'), secrets: { A: 'x\nPATH=/evil' } })).toThrow(
      /not one line/,
    );
    expect(state('gha-9')).toBeNull();
    expect(shell('ls -A /run/aw-runner')).toBe('');
  });

  test('an existing user stays as it is', () => {
    const before = shell('getent passwd runner');
    call('ensureUser', 'runner');
    expect(shell('getent passwd runner')).toBe(before);
  });
});
