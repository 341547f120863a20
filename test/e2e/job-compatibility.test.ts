import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type JobSpace, openJobSpace } from '../support/job-space.ts';
import { whyMissing } from '../support/packages.ts';

const missing = await whyMissing({
  'mkfs.xfs': 'xfsprogs',
  'mkfs.ext4': 'e2fsprogs',
  nft: 'nftables',
  ip: 'iproute2',
  iptables: 'iptables',
  dockerd: 'docker.io',
  busybox: 'busybox-static',
  'dpkg-deb': 'dpkg',
});
if (missing !== undefined) console.warn(`tests of what a job can do in its root are skipped: ${missing}`);

const FOLDER = `/var/tmp/hearth-compatibility-${process.pid}`;

describe.skipIf(missing !== undefined)('in its own root, a job', () => {
  let space: JobSpace;

  beforeAll(async () => {
    mkdirSync(FOLDER, { recursive: true });
    space = await openJobSpace(join(FOLDER, 'space'));
    space.fill((directory) => mkdirSync(join(directory, 'warm')));
  });
  afterAll(async () => {
    await space?.close();
    rmSync(FOLDER, { recursive: true, force: true });
  });

  const root = { user: 'root' };

  test('installs a package, and the next job does not have it', async () => {
    const install = `set -e; mkdir -p /tmp/p/DEBIAN /tmp/p/usr/bin; echo 'echo installed' >/tmp/p/usr/bin/hearth-tool; chmod 755 /tmp/p/usr/bin/hearth-tool
printf 'Package: hearth-tool\\nVersion: 1\\nArchitecture: all\\nMaintainer: nobody\\nDescription: test\\n' >/tmp/p/DEBIAN/control
dpkg-deb -b /tmp/p /tmp/p.deb >/dev/null; apt-get install -q -y /tmp/p.deb >/tmp/log 2>&1 || cat /tmp/log; hearth-tool; grep -c hearth-tool /var/log/dpkg.log`;
    const first = await space.run(install, root);
    expect(first.output).toMatch(/^installed\n[1-9]/);
    expect((await space.run('command -v hearth-tool || echo gone')).output).toBe('gone\n');
  });

  test('resolves names, and has the time zone, the locale and the users of the instance', async () => {
    const script =
      'cat /etc/resolv.conf; date +%Z; id -un; getent hosts localhost; locale | head -1; hostname';
    const here = execFileSync('setpriv', ['--reuid=65534', '--clear-groups', 'sh', '-c', script], {
      env: { PATH: process.env.PATH },
      encoding: 'utf8',
    });
    expect((await space.run(script)).output).toBe(here);
  });

  test('has a terminal, shared memory, a socket of its own and files of 4 GiB in /tmp', async () => {
    const job = await space.run(`set -e
script -qec 'tty' /dev/null </dev/null
truncate -s 5G /tmp/big; printf x | dd of=/tmp/big bs=1 seek=4294967296 conv=notrunc 2>/dev/null; stat -c %s /tmp/big
python3 - <<'PY'
import socket, multiprocessing.shared_memory as m
s = m.SharedMemory(create=True, size=1 << 20); s.close(); s.unlink()
socket.socket(socket.AF_UNIX).bind('/tmp/agent.sock')
print('ok')
PY`);
    expect(job.output.replaceAll('\r', '')).toBe('/dev/pts/0\n5368709120\nok\n');
  });

  test('traces its processes, dumps core and creates user namespaces', async () => {
    const job = await space.run(`cd /tmp && ulimit -c unlimited
python3 - <<'PY'
import ctypes, os
pid = os.fork()
if pid == 0: os._exit(0 if ctypes.CDLL(None).ptrace(0, 0, 0, 0) == 0 else 1)
print('ptrace', os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
PY
unshare --user --map-root-user --mount --pid --fork sh -c 'id -u; mount -t tmpfs x /mnt && echo mounted'`);
    expect(job.output).toBe('ptrace 0\n0\nmounted\n');
  });

  test('finds the mounts that the group passes on, and writes there', async () => {
    const shared = join(FOLDER, 'efs');
    mkdirSync(shared);
    execFileSync('mount', ['-t', 'tmpfs', 'hearth-efs', shared]);
    try {
      const job = await space.run(`cat ${shared}/in; echo out >${shared}/out`, {
        ...root,
        root: { sharedMounts: [shared] },
      });
      expect(job.output).toContain('No such file');
      writeFileSync(join(shared, 'in'), 'from the instance\n');
      expect((await space.run(`cat ${shared}/in`, { root: { sharedMounts: [shared] } })).output).toBe(
        'from the instance\n',
      );
      expect(readFileSync(join(shared, 'out'), 'utf8')).toBe('out\n');
    } finally {
      execFileSync('umount', [shared]);
    }
  });

  test('keeps the environment that its agent gets', async () => {
    const job = await space.run('echo "$CI_TOKEN $HOME $USER"', { environment: { CI_TOKEN: 'x y' } });
    expect(job.output).toBe('x y /nonexistent nobody\n');
  });

  describe('with a Docker daemon of its own', () => {
    const docker = { ...root, root: { docker: true } };
    const image =
      'mkdir /tmp/i && cp /bin/busybox /tmp/i/ && tar -C /tmp/i -c . | docker import - base >/dev/null';

    test('mounts its own files in a container, and reads what the container wrote', async () => {
      const job = await space.run(
        `set -e; ${image}; mkdir -p /srv/work; cd /srv/work; echo mine >in
docker run --rm -v "$PWD:/w" base /busybox sh -c 'read x </w/in; echo "$x" in a container >/w/out'; cat out`,
        docker,
      );
      expect(job).toEqual({ code: 0, output: 'mine in a container\n' });
    });

    test('reaches the port of a service container', async () => {
      const job = await space.run(
        `set -e; ${image}
docker run -d --name service -p 127.0.0.1:5432:80 base /busybox httpd -f -p 80 -h / >/dev/null
until curl -sf -o /tmp/answer -w '%{http_code}\\n' http://127.0.0.1:5432/busybox >/tmp/code; do sleep 0.3; done; cat /tmp/code`,
        docker,
      );
      expect(job).toEqual({ code: 0, output: '200\n' });
      expect(space.restored).toEqual(expect.arrayContaining(['network link docker0 removed']));
    });

    test('builds an image; images, containers and volumes are gone in the next job', async () => {
      const job = await space.run(
        `set -e; ${image}; cd /tmp; printf 'FROM base\\nCOPY f /f\\n' >Dockerfile; echo f >f
DOCKER_BUILDKIT=0 docker build -q -t built . >/dev/null 2>&1; docker volume create vol >/dev/null; docker run -d --restart=always base /busybox sleep 1000 >/dev/null; docker images -q | wc -l`,
        docker,
      );
      expect(job).toEqual({ code: 0, output: '2\n' });
      const next = await space.run(
        'docker images -q | wc -l; docker ps -aq | wc -l; docker volume ls -q | wc -l',
        docker,
      );
      expect(next.output).toBe('0\n0\n0\n');
    });

    test('finds the images that the warming run has pulled', async () => {
      // What a warming run leaves in the image: a data root with an image in it.
      const warm = await space.run(
        `set -e; ${image}; docker tag base warm; cp -a /var/lib/docker /opt/warm/`,
        docker,
      );
      expect(warm.code).toBe(0);
    });

    test('a job without Docker starts no daemon', async () => {
      const job = await space.run(
        'ps -e -o args= | grep -c "^dockerd" || :; ls -l /run/docker.sock | cut -c1-10',
        docker,
      );
      expect(job.output).toBe('0\nsrw-rw----\n');
    });
  });
});
