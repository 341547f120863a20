import { constants } from 'node:fs';
import { lstat, mkdir, mkdtemp, open, readdir, realpath, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { execute } from '../child-process.ts';

/**
 * The directories of a set beside the warm directory, such as `~/.cargo/registry`. Each is one directory of the tree, below `paths`,
 * and is bound to its place. Root owns `paths`, so nobody else can exchange one of them for a link.
 */
export const PATHS = 'paths';

/** A directory of the set on this instance. */
export type WarmPath = {
  /** As the set names it. */
  path: string;
  /** Where it is bound: the same with symbolic links resolved. */
  place: string;
};

/** Most directories of a set, and most characters of one: its name in the tree is one name of a file (255 bytes, ext4). */
const MOST_PATHS = 30;
const MOST_CHARACTERS = 200;

const PATH = /^(\/[A-Za-z0-9._@+-]+)+$/;

/** Places that belong to the system, to each job or to aw-runner. No warm directory is there, inside or above. */
const RESERVED = [
  '/proc',
  '/sys',
  '/dev',
  '/run',
  '/tmp',
  '/boot',
  '/etc',
  '/bin',
  '/sbin',
  '/lib',
  '/lib64',
  '/usr/bin',
  '/usr/sbin',
  '/usr/lib',
  '/var/log',
  '/var/lib/aw-runner',
  '/usr/local/lib/aw-runner',
  '/opt/hearth',
];

/** Home directories hold credentials beside caches. */
const HOME = /^\/(root|home|home\/[^/]+)$/;

const isWithin = (path: string, folder: string) => path === folder || path.startsWith(`${folder}/`);

const overlap = (one: string, other: string) => isWithin(one, other) || isWithin(other, one);

/**
 * Why a list of directories cannot be warm, or undefined.
 *
 * @param paths as the set names them
 * @param taken further places that belong to aw-runner
 */
export function warmPathsProblem(
  paths: readonly string[],
  taken: readonly string[] = [],
): string | undefined {
  if (paths.length > MOST_PATHS) return `${paths.length} directories are more than ${MOST_PATHS}`;
  for (const [index, path] of paths.entries()) {
    const problem = formProblem(path) ?? placeProblem(path, taken);
    if (problem !== undefined) return problem;
    for (const other of paths.slice(0, index)) {
      if (path === other) return `${path} is named twice`;
      if (isWithin(path, other)) return `${path} is inside ${other}: name ${other} alone`;
      if (isWithin(other, path)) return `${other} is inside ${path}: name ${path} alone`;
    }
  }
  return undefined;
}

function formProblem(path: string): string | undefined {
  if (!PATH.test(path) || /\/\.{1,2}(\/|$)/.test(path))
    return `${path} must be an absolute path of letters, digits and . _ @ + -, without . and .. and a slash at the end`;
  return path.length > MOST_CHARACTERS ? `${path} has more than ${MOST_CHARACTERS} characters` : undefined;
}

function placeProblem(path: string, taken: readonly string[]): string | undefined {
  if (HOME.test(path))
    return `${path} is a home directory, which can hold credentials: name directories inside it`;
  const reserved = [...RESERVED, ...taken].find((place) => overlap(path, place));
  return reserved === undefined ? undefined : `${path} overlaps ${reserved}, which is not for jobs to share`;
}

/** The directory of a path within the tree. The characters of a path contain no colon. */
export function inTree(path: string): string {
  return join(PATHS, path.slice(1).replaceAll('/', ':'));
}

/** The path that a name of the directory `paths` stands for. */
export function pathOf(name: string): string {
  return `/${name.replaceAll(':', '/')}`;
}

/**
 * The places of the directories on this instance, and why those that are left out have none: the image can have links or files
 * where a set does not expect them.
 *
 * @param taken further places that belong to aw-runner
 * @param plain directory of the tree where nothing can be mounted: a link into it was made by an earlier restore
 */
export async function findPlaces(
  paths: readonly string[],
  taken: readonly string[],
  plain?: string,
): Promise<{ usable: WarmPath[]; refused: string[] }> {
  const usable: WarmPath[] = [];
  const refused: string[] = [];
  for (const path of paths) {
    const real = await resolved(path);
    const isOwnLink = plain !== undefined && isWithin(real, plain);
    const place = isOwnLink ? join(await resolved(dirname(path)), basename(path)) : real;
    const found = await stat(place).catch(() => undefined);
    const overlapping = usable.find((other) => overlap(other.place, place));
    const problem =
      found && !found.isDirectory()
        ? 'it is no directory'
        : overlapping
          ? `its links lead to the place of ${overlapping.path}`
          : placeProblem(place, taken);
    if (problem === undefined) usable.push({ path, place });
    else refused.push(`${path} is not warm on this instance: ${problem}`);
  }
  return { usable, refused };
}

/** A path with links resolved, as far as it exists. */
async function resolved(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || path === '/') return path;
    return join(await resolved(dirname(path)), basename(path));
  }
}

/** Docker's data root belongs to root, whoever runs the jobs. */
const DOCKER = '/var/lib/docker';

/**
 * Makes the directories in a mounted tree that it does not have yet.
 *
 * @param ofImage what becomes of a directory that is not in the tree, where the image of the instance has content at its place.
 *   `copy`: the content begins the directory, as with a volume of Docker. `leave`: it is not made, so that a job sees that content
 * @param owner user that new ones belong to; undefined, or unknown: every user can write there, as in /tmp
 */
export async function makePaths(
  point: string,
  paths: readonly WarmPath[],
  ofImage: 'copy' | 'leave',
  owner: string | undefined,
): Promise<void> {
  if (paths.length === 0) return;
  await mkdir(join(point, PATHS), { recursive: true });
  for (const { path, place } of paths) {
    const target = join(point, inTree(path));
    if ((await lstat(target).catch(() => undefined))?.isDirectory()) continue;
    const hasContent = (await readdir(place).catch(() => [])).length > 0;
    if (!hasContent) {
      await mkdir(target);
      await giveTo(target, path === DOCKER ? 'root' : owner);
    } else if (ofImage === 'copy') await copyInto(point, { path, place });
  }
}

/** Makes the present content of a place the directory of the tree. It is there only when it is complete. */
export async function copyInto(point: string, { path, place }: WarmPath): Promise<void> {
  const target = join(point, inTree(path));
  await mkdir(join(point, PATHS), { recursive: true });
  const fresh = await mkdtemp(join(point, PATHS, 'new-'));
  try {
    await execute('cp', ['--archive', '--one-file-system', '--', `${place}/.`, fresh]);
    await rm(target, { recursive: true, force: true });
    await rename(fresh, target);
  } catch (error) {
    await rm(fresh, { recursive: true, force: true });
    throw error;
  }
}

/** @param owner undefined, or unknown: every user can write there */
async function giveTo(directory: string, owner: string | undefined): Promise<void> {
  const [, , uid, gid] =
    owner === undefined ? [] : (await execute('getent', ['passwd', owner]).catch(() => '')).trim().split(':');
  if (uid === undefined || gid === undefined) return setAccess(directory, 0o1777);
  await setAccess(directory, 0o755, { uid: Number(uid), gid: Number(gid) });
}

/** By its handle: a user who can write to the parent could put a link in the place of the directory meanwhile. */
async function setAccess(
  directory: string,
  mode: number,
  owner?: { uid: number; gid: number },
): Promise<void> {
  const handle = await open(directory, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    await handle.chmod(mode);
    if (owner) await handle.chown(owner.uid, owner.gid);
  } finally {
    await handle.close();
  }
}

/**
 * Makes a place. What is missing of it gets the owner of the directory that is there: a home's user goes on to write in it. In the
 * directories of agents it belongs to the user of jobs, whose agent expects to write there.
 */
export async function makePlace(
  place: string,
  of: { owner?: string | undefined; ofOwner?: readonly string[] } = {},
): Promise<void> {
  if (await stat(place).catch(() => undefined)) return;
  const parent = dirname(place);
  await makePlace(parent, of);
  // It gets its name when it has its owner.
  const fresh = await mkdtemp(join(parent, '.new-'));
  if (of.ofOwner?.some((folder) => place !== folder && isWithin(place, folder)))
    await giveTo(fresh, of.owner);
  else await setAccess(fresh, 0o755, await stat(parent));
  await rename(fresh, place);
}
