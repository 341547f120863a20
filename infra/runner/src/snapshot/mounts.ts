import { mkdir, readFile, rm } from 'node:fs/promises';
import { command } from './command.ts';
import type { Places } from './places.ts';

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

export async function isMounted(path: string): Promise<boolean> {
  return (await mountPoints()).includes(path);
}

/** Whether this process may mount. */
export function canMount(): boolean {
  return process.platform === 'linux' && process.getuid?.() === 0;
}

/** Device nodes and setuid bits in a layer mean nothing. */
const LAYER_OPTIONS = 'loop,ro,nodev,nosuid';

/**
 * Mounts one layer read-only, to be decompressed by as many threads as read it. Kernels in which that is decided when they are
 * built, or that know no choice at all (before Linux 6.2), refuse the option and do as they do.
 */
export async function mountLayer(places: Places, sha256: string): Promise<string> {
  const target = places.layerMount(sha256);
  if (await isMounted(target)) return target;
  await mkdir(target, { recursive: true });
  const mount = (options: string) =>
    command('mount', ['-t', 'squashfs', '-o', options, places.layerFile(sha256), target]);
  await mount(`${LAYER_OPTIONS},threads=multi`).catch(() => mount(LAYER_OPTIONS));
  return target;
}

/**
 * Shows the warm tree: the layers, with one writable directory on top.
 *
 * @param lower mount points, bottom first
 */
export async function mountWarm(places: Places, lower: readonly string[]): Promise<void> {
  if (await isMounted(places.warm)) return;
  for (const path of [places.warm, places.upper, places.work, places.empty])
    await mkdir(path, { recursive: true });
  // `redirect_dir` lets a directory of a lower layer be renamed, which build tools do; `index` and `metacopy` would
  // leave traces in the upper directory that mean nothing on another machine.
  const options = [
    `lowerdir=${lowerdir(lower.length > 0 ? lower : [places.empty])}`,
    `upperdir=${escaped(places.upper)}`,
    `workdir=${escaped(places.work)}`,
    'redirect_dir=on,index=off,metacopy=off',
    'nodev,nosuid',
  ];
  await command('mount', ['-t', 'overlay', 'hearth', '-o', options.join(','), places.warm]);
}

/** Shows the layers alone, read-only, at `places.lower`, for as long as `use` runs. */
export async function withLowerMounted<T>(
  places: Places,
  lower: readonly string[],
  use: (path: string) => Promise<T>,
): Promise<T> {
  await mkdir(places.lower, { recursive: true });
  // Of a save that was killed.
  if (await isMounted(places.lower)) await unmount(places.lower);
  if (lower.length === 0) return use(places.lower);
  await mkdir(places.empty, { recursive: true });
  // An overlay without an upper directory needs two layers.
  const options = `lowerdir=${lowerdir([places.empty, ...lower])},redirect_dir=follow,index=off,metacopy=off,ro`;
  await command('mount', ['-t', 'overlay', 'hearth-lower', '-o', options, places.lower]);
  try {
    return await use(places.lower);
  } finally {
    await unmount(places.lower);
  }
}

/** Unmounts whatever this engine has mounted, also what a killed process left behind. */
export async function unmountAll(places: Places): Promise<void> {
  const ours = (path: string) =>
    path === places.warm || path === places.lower || path.startsWith(`${places.mounts}/`);
  for (const path of (await mountPoints()).filter(ours).reverse()) await unmount(path);
}

/** Discards what was changed in the warm tree. */
export async function discardUpper(places: Places): Promise<void> {
  await rm(places.overlay, { recursive: true, force: true });
}

async function unmount(path: string): Promise<void> {
  try {
    await command('umount', [path]);
  } catch {
    // Somebody still has a file open there: detached now, gone when they close it.
    await command('umount', ['-l', path]);
  }
}

/** Overlayfs wants the top layer first. */
function lowerdir(bottomFirst: readonly string[]): string {
  return [...bottomFirst].reverse().map(escaped).join(':');
}

/** Colons separate layers, commas options. */
function escaped(path: string): string {
  return path.replace(/[\\:,]/g, (character) => `\\${character}`);
}
