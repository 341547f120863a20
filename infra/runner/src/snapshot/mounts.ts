import { readdir, readFile, readlink } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { errorText } from '../../../../shared/runtime/errors.ts';
import { ChildProcessFailed, execute } from '../child-process.ts';

/** Limit for a mount to become free and for a loop device to be gone, in milliseconds. After it something holds the tree. */
const RELEASE_MS = 10_000;

/**
 * The same limit when nothing of the tree is mounted here any more, in milliseconds. Each start of a job copies all mounts into a
 * namespace of its own, and drops them when the root of the job is built; on a busy instance that takes longer than ten seconds. And
 * the kernel writes some GB back of what a killed program had begun to unmount.
 */
const ELSEWHERE_MS = 60_000;

const POLL_MS = 20;

/** One line of the mount table. */
export type Mount = {
  /** `major:minor` of the file system. */
  device: string;
  /** Path within the file system that is mounted: `/` except for a bind. */
  root: string;
  point: string;
  /** Kind of the file system, such as `ext4`. */
  type: string;
  /** What is mounted: a device, or a name. */
  source: string;
};

/** A tree that cannot be unmounted. */
export class TreeHeld extends Error {
  override readonly name = 'TreeHeld';
}

/** Whether this process may mount. */
export function canMount(): boolean {
  return process.platform === 'linux' && process.getuid?.() === 0;
}

/** Mounts of this namespace, in the order of their creation. */
export async function mounts(pid: number | 'self' = 'self'): Promise<Mount[]> {
  const table = await readFile(`/proc/${pid}/mountinfo`, 'utf8');
  return table.split('\n').flatMap((line) => {
    const [place = '', source = ''] = line.split(' - ');
    const [, , device = '', root = '', point] = place.split(' ');
    if (point === undefined) return [];
    const [type = '', name = ''] = source.split(' ');
    return [{ device, root: unescaped(root), point: unescaped(point), type, source: unescaped(name) }];
  });
}

/** Blanks, tabs, newlines and backslashes are in octal (proc(5)). */
function unescaped(path: string): string {
  if (!path.includes('\\')) return path;
  const bytes = path.replace(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
  return bytes;
}

export async function isMounted(point: string): Promise<boolean> {
  return (await mounts()).some((mount) => mount.point === point);
}

/** Attributes of a mount of a tree. Device nodes and setuid bits of an image have no effect. */
const OPTIONS = 'noatime,nodev,nosuid,noinit_itable';

/**
 * Attaches, mounts, and leaves the device to the kernel: it stays until the unmount, and then goes by itself. One shell, so that a
 * mount takes one process of ours, and a program that is killed in between leaves no device that nobody uses.
 */
const MOUNT = `
file=$1 point=$2 options=$3; shift 3
device=$(losetup --find --show "$@" "$file") || exit 75
mount -t ext4 -o "$options" "$device" "$point"; status=$?
losetup --detach "$device"
echo "$device"
exit $status`;

/**
 * Loop devices have direct I/O, so that pages are cached once, and sectors of the size of a block. Disks with another sector size,
 * and file systems without direct I/O, refuse that.
 */
const LOOPS = [['--direct-io=on', '--sector-size=4096'], ['--direct-io=on', '--sector-size=512'], []];

/** Exit code of `MOUNT` if the device cannot be attached. */
const NOT_ATTACHED = 75;

/**
 * Mounts an image for writing on a loop device that the kernel removes at the unmount.
 *
 * @returns the name of the device, as `loop3`
 */
export async function mountImage(file: string, point: string): Promise<string> {
  for (const options of LOOPS) {
    try {
      const device = await execute('sh', ['-c', MOUNT, 'sh', file, point, OPTIONS, ...options]);
      return device.trim().slice('/dev/'.length);
    } catch (error) {
      if (!(error instanceof ChildProcessFailed) || error.exitCode !== NOT_ATTACHED) throw error;
      // losetup leaves the device when only direct I/O is refused.
      for (const loop of await loopsOf((path) => path === file))
        await execute('losetup', ['-d', `/dev/${loop}`]);
      if (options === LOOPS.at(-1)) throw error;
    }
  }
  throw new Error('there is no way to attach a loop device');
}

/** Names of the loop devices whose file is chosen, also if that file is deleted. */
export async function loopsOf(isChosen: (file: string) => boolean): Promise<string[]> {
  return (await loops()).filter(({ file }) => isChosen(file)).map(({ name }) => name);
}

/** All loop devices in use, with their files. */
export async function loops(): Promise<{ name: string; file: string }[]> {
  const names = await readdir('/sys/block').catch(() => []);
  const found: { name: string; file: string }[] = [];
  for (const name of names.filter((each) => each.startsWith('loop'))) {
    const file = await readFile(`/sys/block/${name}/loop/backing_file`, 'utf8').catch(() => '');
    if (file !== '') found.push({ name, file: file.replace(/\n$/, '').replace(/ \(deleted\)$/, '') });
  }
  return found;
}

/** The loop device of a mounted image, as `loop3`. */
export async function deviceOf(file: string): Promise<string | undefined> {
  return (await loopsOf((path) => path === file)).at(0);
}

export async function bind(from: string, to: string): Promise<void> {
  await execute('mount', ['--bind', from, to]);
}

/**
 * Unmounts an image everywhere in this namespace and waits until its loop device is gone. Until then its blocks are in use.
 * Never lazily: a tree that something holds must not look free.
 *
 * @throws {TreeHeld} with the names of what holds it
 */
export async function unmountImage(file: string, point: string): Promise<void> {
  const elsewhereUntil = performance.now() + ELSEWHERE_MS;
  let until = performance.now() + RELEASE_MS;
  for (;;) {
    // Each time anew: a device that is free can be that of another image by now.
    const loop = await deviceOf(file);
    const device = loop && (await readFile(`/sys/block/${loop}/dev`, 'utf8').catch(() => '')).trim();
    const points = (await mounts())
      .filter((mount) => (device !== undefined && mount.device === device) || isBelow(mount.point, point))
      .map((mount) => mount.point)
      .reverse();
    // The mount of the image itself is the last one: as long as another one is busy the tree stays complete.
    let busy = '';
    for (const each of points) {
      if (busy !== '') break;
      const began = performance.now();
      await execute('umount', [each]).catch((error: unknown) => {
        busy = errorText(error);
      });
      // What an unmount writes back first is no time for which something holds the tree.
      if (busy === '') until += performance.now() - began;
    }
    if (points.length === 0 || busy === '') {
      const left = await loopsOf((path) => path === file);
      if (left.length === 0) return;
      // A program that was killed before its mount has left the device without its mark for removal.
      if ((await mounts()).every((mount) => mount.device !== device)) {
        for (const each of left)
          await execute('losetup', ['-d', `/dev/${each}`]).catch((error: unknown) => {
            busy = errorText(error);
          });
      }
      if (busy === '') busy = `the kernel, which uses ${left.join(', ')}`;
    }
    if (performance.now() > (points.length === 0 ? Math.max(until, elsewhereUntil) : until)) {
      const names = device ? [...(await mountsWithin(device)), ...(await holders(device, point))] : [];
      // A mount that was detached in another namespace is in no table.
      const by = names.length > 0 ? names.join(', ') : busy || `what uses its loop device ${loop ?? ''}`;
      throw new TreeHeld(`the tree ${point} is held by ${by}`);
    }
    await sleep(POLL_MS);
  }
}

function isBelow(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

/** Mounts of other file systems within one. */
async function mountsWithin(device: string): Promise<string[]> {
  const table = await mounts();
  const points = table.filter((mount) => mount.device === device).map((mount) => mount.point);
  return table
    .filter((mount) => mount.device !== device && points.some((point) => mount.point.startsWith(`${point}/`)))
    .map((mount) => `a mount at ${mount.point}`);
}

/** Names of what holds a file system: processes with files in it, and mount namespaces that contain it. */
async function holders(device: string, point: string): Promise<string[]> {
  const found: string[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const why = await holds(Number(pid), device, point).catch(() => undefined);
    if (why === undefined) continue;
    const name = (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')).trim();
    found.push(`${name || 'process'} (pid ${pid}, ${why})`);
    if (found.length === 5) break;
  }
  return found;
}

/** Why a process holds the file system, or undefined. */
async function holds(pid: number, device: string, point: string): Promise<string | undefined> {
  const table = await mounts(pid);
  const points = new Set([
    point,
    ...table.filter((mount) => mount.device === device).map((mount) => mount.point),
  ]);
  const isThere = (path: string) => [...points].some((each) => isBelow(path, each));
  for (const link of ['cwd', 'root', 'exe']) {
    const path = await readlink(`/proc/${pid}/${link}`).catch(() => '');
    if (path !== '/' && isThere(path)) return link;
  }
  for (const fd of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
    const path = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '');
    if (isThere(path)) return `open file ${path}`;
  }
  const maps = await readFile(`/proc/${pid}/maps`, 'utf8').catch(() => '');
  const mapped = maps.split('\n').find((line) => isThere(line.split(' ').at(-1) ?? ''));
  if (mapped !== undefined) return 'a mapped file';
  const [own, theirs] = await Promise.all([readlink('/proc/self/ns/mnt'), readlink(`/proc/${pid}/ns/mnt`)]);
  return own !== theirs && table.some((mount) => mount.device === device) ? 'a mount namespace' : undefined;
}

/**
 * Errors that the kernel has counted in the file system of a loop device. Lost writes of a full disk are counted here and nowhere
 * else: the write had succeeded.
 */
export async function errorsOf(loop: string): Promise<number> {
  const counts = await Promise.all(
    ['warning_count', 'errors_count'].map((name) => readFile(`/sys/fs/ext4/${loop}/${name}`, 'utf8')),
  );
  return counts.reduce((sum, text) => sum + Number(text), 0);
}
