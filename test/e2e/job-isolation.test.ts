import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { closeMetadata, openMetadata } from '../../infra/runner/src/isolation/metadata-access.ts';
import { childrenOf, processes } from '../../infra/runner/src/processes.ts';
import { waitFor } from '../../scripts/local/demo/wait-for.ts';
import { CGROUPS, type JobSpace, networkOf, openJobSpace } from '../support/job-space.ts';
import { whyMissing } from '../support/packages.ts';

const missing = await whyMissing({
  'mkfs.xfs': 'xfsprogs',
  'mkfs.ext4': 'e2fsprogs',
  nft: 'nftables',
  ip: 'iproute2',
  setpriv: 'util-linux',
});
if (missing !== undefined) console.warn(`tests of job isolation are skipped: ${missing}`);

/** Without the programs that a space replaces. */
const HOST = { env: { ...process.env } };
const FOLDER = `/var/tmp/hearth-isolation-${process.pid}`;
/** A text that a job leaves behind, wherever it can. */
const MARK = `left-by-a-job-${process.pid}`;
/** Network namespace of the metadata service. */
const IMDS = `hearth-imds-${process.pid}`;
/** Beginning of a number of seconds that no other test sleeps for. */
const SLEEP = `7${process.pid}`;
/** The limit ends what hangs. */
const soon = { timeout: 200_000, interval: 100 };

describe.skipIf(missing !== undefined)('a job in its own root', () => {
  let space: JobSpace;
  let before: string;

  beforeAll(async () => {
    mkdirSync(FOLDER, { recursive: true });
    space = await openJobSpace(join(FOLDER, 'space'));
    space.fill((directory) => {
      mkdirSync(join(directory, 'warm/repository/.git/hooks'), { recursive: true });
      writeFileSync(join(directory, 'warm/cache'), 'warm');
      execFileSync('chown', ['-R', 'nobody', join(directory, 'warm')]);
    });
    before = space.inventory();
  });
  afterAll(async () => {
    await space?.close();
    rmSync(FOLDER, { recursive: true, force: true });
  });

  /** The turnover after each job: nothing of it is on the instance. The kernel removes what was ended a moment later. */
  async function expectNothingLeft(): Promise<void> {
    await expect.poll(() => space.inventory(), soon).toBe(before);
    const marked = () =>
      execFileSync('sh', ['-c', `ps -eo args | grep -c '[l]eft-by-a-job-${process.pid}' || :`]);
    await expect.poll(() => marked().toString().trim(), soon).toBe('0');
  }

  /** Waits for a file that a job has written to `/opt/warm`. */
  const fromJob = (name: string) =>
    waitFor(`the file ${name} of the job`, () => existsSync(join(FOLDER, 'space/tree/warm', name)), {
      seconds: 200,
    });

  test.each([
    ['exits', 'exit 7', 7],
    ['is killed by its own signal', 'kill -TERM $$', 143],
    ['succeeds', 'exit 0', 0],
  ])('a program that %s ends the command with its code', async (_, script, code) => {
    expect(await space.run(script)).toMatchObject({ code });
    await expectNothingLeft();
  });

  test('the warm directory is there, and its changes are gone in the next job', async () => {
    const first = await space.run(
      'cat /opt/warm/cache; echo poison >/opt/warm/cache; echo evil >/opt/warm/repository/.git/hooks/pre-commit',
    );
    expect(first).toEqual({ code: 0, output: 'warm' });
    const second = await space.run('cat /opt/warm/cache; ls /opt/warm/repository/.git/hooks');
    expect(second).toEqual({ code: 0, output: 'warm' });
    await expectNothingLeft();
  });

  test.each(['nobody', 'root'])('files of %s in every writable place are gone', async (user) => {
    const written = await space.run(
      `find / -xdev -maxdepth 4 -type d -writable 2>/dev/null | while read -r d; do echo x >"$d/${MARK}" 2>/dev/null && echo "$d"; done
for d in /dev /tmp /var/tmp /dev/shm /run /run/lock /var/log /opt/warm "$HOME"; do echo x >"$d/${MARK}" 2>/dev/null && echo "$d"; done; :`,
      { user },
    );
    const places = written.output.split('\n').filter(Boolean);
    expect(places).toContain('/tmp');
    expect(places).toContain('/dev/shm');
    expect(places.length).toBeGreaterThan(user === 'root' ? 500 : 3);
    const found = await space.run(`find / -name ${MARK} -not -path '/proc/*' 2>/dev/null; :`, {
      user: 'root',
    });
    expect(found.output).toBe('');
    const left = execFileSync('sh', [
      '-c',
      `find / /tmp /dev/shm /run -xdev -name ${MARK} 2>/dev/null || :`,
    ]).toString();
    expect(left).toBe('');
    await expectNothingLeft();
  });

  test('processes that a job leaves are gone: double fork, setsid, nohup, stopped, ignoring every signal', async () => {
    const job = await space.run(
      `(setsid sleep ${SLEEP}0 >/dev/null 2>&1 &) ; (nohup sleep ${SLEEP}1 >/dev/null 2>&1 &)
(trap "" TERM INT HUP QUIT; sleep ${SLEEP}2 >/dev/null 2>&1) & (sleep ${SLEEP}3 >/dev/null 2>&1 & ) ; sleep ${SLEEP}4 >/dev/null 2>&1 &
 until [ "$(ps -e -o args= | grep -c '^sleep ${SLEEP}')" -ge 5 ]; do sleep 0.1; done; kill -STOP $!
 ps -e -o args= | grep -c '^sleep ${SLEEP}'`,
    );
    expect(Number(job.output.trim())).toBe(5);
    const after = () => execFileSync('sh', ['-c', `ps -eo args | grep -c '^sleep ${SLEEP}' || :`]).toString();
    await expect.poll(() => after().trim(), soon).toBe('0');
    await expectNothingLeft();
  });

  test('jobs for cron and at reach no daemon of the instance', async () => {
    const cron = `* * * * * root touch /var/tmp/${MARK}`;
    await space.run(
      `mkdir -p /etc/cron.d /var/spool/cron/crontabs /var/spool/cron/atjobs && echo '${cron}' | tee /etc/cron.d/${MARK} /var/spool/cron/atjobs/${MARK} >/var/spool/cron/crontabs/root`,
      {
        user: 'root',
      },
    );
    for (const folder of ['/etc/cron.d', '/var/spool/cron/atjobs'])
      expect(existsSync(join(folder, MARK))).toBe(false);
    const crontab = '/var/spool/cron/crontabs/root';
    expect(existsSync(crontab) ? readFileSync(crontab, 'utf8') : '').not.toContain(MARK);
    await expectNothingLeft();
  });

  test('a fork bomb ends with its job', async () => {
    // A shell that cannot start a process ends.
    const bomb = await space.run("trap 'exit 3' EXIT; bomb() { bomb | bomb & }; bomb; sleep 1; exit 3", {
      mostProcesses: 500,
    });
    expect(bomb.code).toBe(3);
    await expectNothingLeft();
  });

  test('memory that a job takes is taken from its job only, and free after it', async () => {
    const hog = await space.run(
      `python3 -c 'x = bytearray(400 << 20)'; echo "ended with $?"; dd if=/dev/zero of=/dev/shm/hog bs=1M count=900 2>/dev/null || echo full`,
      { mostMemory: 64 << 20 },
    );
    // Shared memory is a part of the tree, so it is bounded by the disk and not by the memory of the instance.
    expect(hog).toEqual({ code: 0, output: expect.stringMatching(/ended with 137\nfull\n$/) });
    expect((await space.run('ls -A /dev/shm')).output).not.toContain('hog');
    await expectNothingLeft();
  });

  test('a tree without free inodes is ENOSPC in its job only', async () => {
    const all = await space.run(
      `mkdir /tmp/many && cd /tmp/many && python3 -c '
import errno
try:
    for n in range(10**6): open(str(n), "x").close()
except OSError as error: print(errno.errorcode[error.errno])'`,
    );
    expect(all.output).toBe('ENOSPC\n');
    expect(await space.run('touch /tmp/next /opt/warm/next && echo room')).toEqual({
      code: 0,
      output: 'room\n',
    });
    await expectNothingLeft();
  });

  test('a job that kills its agent ends with it, and so does all that it has started', async () => {
    const job = await space.run(
      `(setsid sh -c 'sleep 0.3; kill -9 '$$'; sleep 1000 # ${MARK}' >/dev/null 2>&1 &); sleep 500; echo late`,
    );
    expect(job).toEqual({ code: 137, output: expect.not.stringContaining('late') });
    await expectNothingLeft();
  });

  /** Ends a job as the end of its unit does. */
  const endUnit = (pid: number) => {
    const [, place = ''] = /^0::(.+)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, 'utf8')) ?? [];
    writeFileSync(join(CGROUPS, place, 'cgroup.kill'), '1');
  };

  test('an agent that its job traces and stops ends with its unit', async () => {
    const trace = `import ctypes, os, time
PTRACE_ATTACH = 16
libc = ctypes.CDLL(None, use_errno=True)
attached = libc.ptrace(PTRACE_ATTACH, ctypes.c_long(int(os.environ["AGENT"])), None, None)
print("attached" if attached == 0 else os.strerror(ctypes.get_errno()), flush=True); open("/opt/warm/printed", "w"); time.sleep(1000)`;
    const stopped = () =>
      execFileSync('sh', ['-c', `ps -eo stat,args | grep '^t.*${MARK}' || :`], { encoding: 'utf8' });
    let state: string | undefined;
    const job = await space.run(`AGENT=$$ setsid python3 -c '${trace}' & sleep 1000; sleep 1000 # ${MARK}`, {
      user: 'root',
      async meanwhile(pid) {
        state = await waitFor('the stop of the agent', () => stopped() || undefined, { seconds: 200 });
        // The tracer prints its result after the stop.
        await fromJob('printed');
        endUnit(pid);
      },
    });
    expect(state).toMatch(/^t/);
    expect(job).toEqual({ code: null, output: 'attached\n' });
    await expectNothingLeft();
  });

  test('a process that has the name of a worker is no child of the agent', async () => {
    const worker = `/tmp/Runner.Worker-${process.pid}`;
    let children: string[] | undefined;
    await space.run(`cp /bin/sleep ${worker}; (setsid ${worker} 1000 >/dev/null 2>&1 &); sleep 1001; :`, {
      async meanwhile(pid) {
        for (const end = performance.now() + soon.timeout; children?.join() !== 'sleep 1001'; ) {
          if (performance.now() > end) break;
          await sleep(100);
          const all = await processes();
          const pids = all.map((each) => each.pid);
          const [init] = await childrenOf(pid, pids);
          const agent = (await childrenOf(init?.pid ?? 0, pids)).find(({ argv }) => argv.includes('/bin/sh'));
          const isRunning = all.some(({ argv }) => argv[0] === worker && argv[1] === '1000');
          if (agent && isRunning)
            children = (await childrenOf(agent.pid, pids)).map(({ argv }) => argv.slice(0, 2).join(' '));
        }
        endUnit(pid);
      },
    });
    expect(children).toEqual(['sleep 1001']);
    await expectNothingLeft();
  });

  test('queues, shared memory and semaphores of System V and POSIX are those of one job', async () => {
    const make = `ipcmk -Q >/dev/null && ipcmk -M 4096 >/dev/null && ipcmk -S 1 >/dev/null; touch /dev/mqueue/${MARK} /dev/shm/${MARK} 2>/dev/null
ipcs | grep -c '^0x'; ls /dev/mqueue /dev/shm | grep -c ${MARK}`;
    const those = execFileSync('ipcs').toString();
    const first = await space.run(make);
    expect(first.output).toMatch(/^3\n[12]\n$/);
    expect((await space.run(make)).output).toBe(first.output);
    expect(execFileSync('ipcs').toString()).toBe(those);
    await expectNothingLeft();
  });

  test('an abstract socket ends with its job, although the jobs share a network', async () => {
    const job = await space.run(
      `(setsid python3 -c '
import socket, time
s = socket.socket(socket.AF_UNIX); s.bind("\\0${MARK}"); s.listen(); open("/tmp/bound", "w"); time.sleep(1000)' >/dev/null 2>&1 &)
while [ ! -e /tmp/bound ]; do sleep 0.05; done; grep -c @${MARK} /proc/net/unix`,
    );
    expect(job.output).toBe('1\n');
    expect((await space.run(`grep -c @${MARK} /proc/net/unix`)).output).toBe('0\n');
    await expectNothingLeft();
  });

  test('threads of the kernel that poll for a job end with it', async () => {
    // io_uring_setup with IORING_SETUP_SQPOLL: x86-64 and arm64 have one number.
    const job = await space.run(
      `(setsid python3 -c '
import ctypes, struct, time
p = ctypes.create_string_buffer(120); struct.pack_into("<II", p, 8, 2, 0); struct.pack_into("<I", p, 16, 100000)
fd = ctypes.CDLL(None).syscall(425, 8, p); open("/tmp/made", "w").write(str(fd)); time.sleep(1000)' >/dev/null 2>&1 &)
while [ ! -s /tmp/made ]; do sleep 0.05; done; fd=$(cat /tmp/made)
# A thread gives itself its name when it begins.
until [ "$fd" -lt 0 ] || cat /proc/[0-9]*/task/*/comm | grep -q iou-sqp; do sleep 0.05; done
cat /proc/[0-9]*/task/*/comm | grep -c iou-sqp; echo "$fd"`,
      { user: 'root' },
    );
    const [threads, fd] = job.output.split('\n').map(Number);
    // A kernel can have io_uring switched off.
    expect(threads).toBe((fd ?? -1) >= 0 ? 1 : 0);
    await expectNothingLeft();
  });

  test('setuid files and device nodes have no effect outside of their job', async () => {
    const job = await space.run(
      `cp /bin/sh /opt/warm/sh && chmod 4755 /opt/warm/sh && cp /bin/sh /srv/sh && chmod 4755 /srv/sh
mknod -m 666 /opt/warm/mem c 1 1; mknod -m 666 /srv/null c 1 3; ls -l /srv/sh | cut -c1-10
setpriv --reuid=65534 --clear-groups /opt/warm/sh -p -c 'id -u'`,
      { user: 'root' },
    );
    // The overlay of the root honors setuid, which sudo needs. Warm directories do not.
    expect(job.output).toContain('-rwsr-xr-x');
    expect(job.output.trim().endsWith('65534')).toBe(true);
    const next = await space.run('ls /srv/sh /srv/null /opt/warm/sh /opt/warm/mem 2>/dev/null; :');
    expect(next.output).toBe('');
    for (const path of ['/srv/sh', '/srv/null']) expect(existsSync(path)).toBe(false);
    await expectNothingLeft();
  });

  test('mounts and loop devices of a job are gone', async () => {
    const job = await space.run(
      `set -e; mkdir -p /mnt/a /mnt/b; mount --bind /etc /mnt/a; mount -t tmpfs x /mnt/b
truncate -s 64M /tmp/image; mkfs.ext4 -q -F /tmp/image; mkdir /mnt/c; mount -o loop /tmp/image /mnt/c; losetup --find /tmp/image; echo mounted`,
      { user: 'root' },
    );
    expect(job).toEqual({ code: 0, output: 'mounted\n' });
    expect(space.restored.some((line) => /^loop device \/dev\/loop\d+ detached$/.test(line))).toBe(true);
    await expectNothingLeft();
  });

  test('a job sees no process, no log and no image of the instance', async () => {
    writeFileSync(join(FOLDER, 'space/secret'), 'instance only');
    const marker = execFileSync('sh', ['-c', 'echo $PPID']).toString().trim();
    const job = await space.run(
      `ps -e -o pid= | wc -l; kill -0 ${marker} 2>&1; ls /proc/${marker} 2>&1 | head -1; ls ${FOLDER}/space; ls -A /var/log | head -3; cat /proc/1/root${FOLDER}/space/secret 2>&1; :`,
      { user: 'root' },
    );
    expect(job.output).not.toContain('instance only');
    expect(Number(job.output.split('\n')[0])).toBeLessThan(10);
    const entered = await space.run('nsenter -t 1 -m -p cat /proc/1/comm; :', { user: 'root' });
    expect(entered.output.trim()).toBe('sh');
    await expectNothingLeft();
  });

  test('systemd and D-Bus of the instance are not reachable', async () => {
    const job = await space.run(
      'ls /run/systemd/private /run/dbus/system_bus_socket /run/systemd/system 2>/dev/null; :',
      {
        user: 'root',
      },
    );
    expect(job.output).toBe('');
  });

  test('sysctls, firewall rules, bridges and binary formats of a job with root are restored', async () => {
    const before = readFileSync('/proc/sys/kernel/core_pattern', 'utf8');
    const job = await space.run(
      `set -e; echo '|/tmp/evil' >/proc/sys/kernel/core_pattern; ip link add hearth-br type bridge; ip link add hearth-a type veth peer name hearth-b
nft add table inet evil; nft add chain inet evil c '{ type filter hook output priority 0; policy accept; }'; echo changed`,
      { user: 'root' },
    );
    expect(job).toEqual({ code: 0, output: 'changed\n' });
    expect(readFileSync('/proc/sys/kernel/core_pattern', 'utf8')).toBe(before);
    expect(space.restored).toEqual(
      expect.arrayContaining([
        'network link hearth-br removed',
        'firewall table inet evil removed',
        'sysctl kernel/core_pattern restored',
      ]),
    );
    await expectNothingLeft();
  });

  test('a warm directory below a hidden one is there, and nothing else of the hidden one', async () => {
    const below = join(FOLDER, 'space/warm');
    const job = await space.run(
      `cat ${below}/cache; ls -A ${FOLDER}/space; touch ${FOLDER}/space/x 2>&1 | grep -c Read-only`,
      {
        root: { warm: [{ source: 'warm', target: below }] },
        user: 'root',
      },
    );
    expect(job.output).toBe('warmwarm\n1\n');
    await expectNothingLeft();
  });

  test('a file that is passed on is in the job, and only there; a directory can be read only, and its sockets are used', async () => {
    const source = join(FOLDER, 'passed');
    mkdirSync(source);
    writeFileSync(join(source, 'settings'), 'for this job');
    const server = createServer((socket) => socket.end('an answer')).listen(join(source, 'socket'));
    const job = await space.run(
      `cd /run/aw-runner; cat settings; touch new 2>&1 | grep -c Read-only; python3 -c '
import socket
s = socket.socket(socket.AF_UNIX); s.connect("socket"); print(s.recv(100).decode())'`,
      { user: 'root', root: { files: [{ source, target: '/run/aw-runner' }] } },
    );
    server.close();
    expect(job.output).toBe('for this job1\nan answer\n');
    expect((await space.run('ls /run/aw-runner 2>/dev/null; :')).output).toBe('');
    await expectNothingLeft();
  });

  test('a full tree is ENOSPC in its job only', async () => {
    const job = await space.run(
      'dd if=/dev/zero of=/tmp/fill bs=1M count=900 2>&1; sync; echo next >/opt/warm/next 2>&1 || echo full',
      { user: 'root' },
    );
    expect(job.output).toMatch(/No space left|full/);
    expect(await space.run('echo next >/opt/warm/cache && cat /opt/warm/cache', { user: 'root' })).toEqual({
      code: 0,
      output: 'next\n',
    });
    await expectNothingLeft();
  });

  test('one signal to the first process reaches the program once', async () => {
    const job = await space.run(
      `trap 'echo got TERM; touch /opt/warm/term' TERM; trap 'echo got QUIT; quit=1' QUIT; quit=; touch /opt/warm/traps
until [ -n "$quit" ]; do sleep 0.1; done; sleep 1; echo end`,
      {
        async meanwhile(pid) {
          await fromJob('traps');
          const [init] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
          process.kill(Number(init), 'SIGTERM');
          await fromJob('term');
          process.kill(Number(init), 'SIGQUIT');
        },
      },
    );
    expect(job).toEqual({ code: 0, output: 'got TERM\ngot QUIT\nend\n' });
  });

  describe('the metadata service', () => {
    let server: ChildProcess;
    const network = networkOf(join(FOLDER, 'space'));
    const run = (script: string) =>
      execFileSync('nsenter', [`--net=/run/netns/${network}`, 'sh', '-c', script]).toString();

    beforeAll(async () => {
      // The address of the service in a network namespace of its own, as it is beyond the instance on AWS.
      execFileSync(
        'sh',
        [
          '-ec',
          `ip netns add ${IMDS}; ip -n ${network} link add imds type veth peer name v0 netns ${IMDS}
ip -n ${network} link set imds up; ip -n ${network} addr add 169.254.169.1/24 dev imds
ip -n ${IMDS} addr add 169.254.169.254/24 dev v0; ip -n ${IMDS} link set v0 up`,
        ],
        HOST,
      );
      await space.accept();
      const serve = ['netns', 'exec', IMDS, 'python3', '-m', 'http.server', '80'];
      server = spawn('ip', serve, { ...HOST, stdio: 'ignore', cwd: FOLDER });
      await waitFor('the metadata service', () => run(ask) === '200', { seconds: 200 });
    });
    afterAll(async () => {
      await openMetadata();
      server?.kill();
      execFileSync('ip', ['netns', 'del', IMDS], HOST);
    });

    const ask = 'curl -s -m 60 -o /dev/null -w "%{http_code}" http://169.254.169.254/ || :';

    test('is closed to jobs of every user and open to the services of the system', async () => {
      const allowed = `hearth-test-system-${process.pid}`;
      mkdirSync(join(CGROUPS, allowed), { recursive: true });
      const asService = () => run(`echo $$ >${join(CGROUPS, allowed)}/cgroup.procs; ${ask}`);
      try {
        expect((await space.run(ask)).output).toBe('200');
        await closeMetadata([allowed]);
        expect(asService()).toBe('200');
        for (const user of ['nobody', 'root']) expect((await space.run(ask, { user })).output).toBe('000');
        await openMetadata();
        expect((await space.run(ask)).output).toBe('200');
      } finally {
        execFileSync('rmdir', [join(CGROUPS, allowed)]);
      }
    });
  });
});
