import { mkdir, readFile, realpath, rm } from 'node:fs/promises';
import { execute } from '../child-process.ts';
import type { Paths } from './paths.ts';

/** Mounts of the kernel, deepest last. */
async function mountPoints(): Promise<string[]> {
  const table = await readFile('/proc/self/mounts', 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  return table
    .split('\n')
    .flatMap((line) => line.split(' ')[1] ?? [])
    .map((path) =>
      path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))),
    );
}

/** Also of a path with symbolic links: the kernel lists resolved paths. */
export async function isMounted(path: string): Promise<boolean> {
  return (await mountPoints()).includes(await resolved(path));
}

async function resolved(path: string): Promise<string> {
  return realpath(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return path;
    throw error;
  });
}

/** Whether this process may mount. */
export function canMount(): boolean {
  return process.platform === 'linux' && process.getuid?.() === 0;
}

/** Device nodes and setuid bits of a layer have no effect. */
const LAYER_OPTIONS = 'loop,ro,nodev,nosuid';

/**
 * Mounts one layer read-only. As many threads decompress it as read it. Kernels before Linux 6.2, and those built with a fixed
 * number of threads, refuse that option and are mounted without it.
 */
export async function mountLayer(paths: Paths, sha256: string): Promise<string> {
  const target = paths.layerMount(sha256);
  if (await isMounted(target)) return target;
  await mkdir(target, { recursive: true });
  const mount = (options: string) =>
    execute('mount', ['-t', 'squashfs', '-o', options, paths.layerFile(sha256), target]);
  await mount(`${LAYER_OPTIONS},threads=multi`).catch(() => mount(LAYER_OPTIONS));
  return target;
}

/**
 * Mounts the warm tree: the layers, with one writable directory on top.
 *
 * @param lower mount points, bottom first
 */
export async function mountWarm(paths: Paths, lower: readonly string[]): Promise<void> {
  if (await isMounted(paths.warm)) return;
  for (const path of [paths.warm, paths.upper, paths.work, paths.empty])
    await mkdir(path, { recursive: true });
  // `redirect_dir` lets a directory of a lower layer be renamed, which build tools do; `index` and `metacopy` would
  // leave attributes in the upper directory that are invalid on another instance.
  const options = [
    `lowerdir=${lowerdir(lower.length > 0 ? lower : [paths.empty])}`,
    `upperdir=${escaped(paths.upper)}`,
    `workdir=${escaped(paths.work)}`,
    'redirect_dir=on,index=off,metacopy=off',
    'nodev,nosuid',
  ];
  await execute('mount', ['-t', 'overlay', 'hearth', '-o', options.join(','), paths.warm]);
}

/** Mounts the layers alone, read-only, at `paths.lower`, while `use` runs. */
export async function withLowerMounted<T>(
  paths: Paths,
  lower: readonly string[],
  use: (path: string) => Promise<T>,
): Promise<T> {
  await mkdir(paths.lower, { recursive: true });
  // A save that was killed leaves this mount.
  if (await isMounted(paths.lower)) await unmount(paths.lower);
  if (lower.length === 0) return use(paths.lower);
  await mkdir(paths.empty, { recursive: true });
  // An overlay without an upper directory needs two layers.
  const options = `lowerdir=${lowerdir([paths.empty, ...lower])},redirect_dir=follow,index=off,metacopy=off,ro`;
  await execute('mount', ['-t', 'overlay', 'hearth-lower', '-o', options, paths.lower]);
  try {
    return await use(paths.lower);
  } finally {
    await unmount(paths.lower);
  }
}

/** Unmounts everything that this engine has mounted, also what a killed process left behind. */
export async function unmountAll(paths: Paths): Promise<void> {
  const [warm, lower, mounts] = await Promise.all([paths.warm, paths.lower, paths.mounts].map(resolved));
  const ours = (path: string) => path === warm || path === lower || path.startsWith(`${mounts}/`);
  for (const path of (await mountPoints()).filter(ours).reverse()) await unmount(path);
}

/** Discards all changes of the warm tree. */
export async function discardUpper(paths: Paths): Promise<void> {
  await rm(paths.overlay, { recursive: true, force: true });
}

async function unmount(path: string): Promise<void> {
  try {
    await execute('umount', [path]);
  } catch {
    // A process has a file open there: the mount is detached now, and ends when the file is closed.
    await execute('umount', ['-l', path]);
  }
}

/** Overlayfs takes the top layer first. */
function lowerdir(bottomFirst: readonly string[]): string {
  return [...bottomFirst].reverse().map(escaped).join(':');
}

/** Colons separate layers, commas options. */
function escaped(path: string): string {
  return path.replace(/[\\:,]/g, (character) => `\\${character}`);
}
