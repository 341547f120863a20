import { mkdir, readFile, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { AGENT_PID, type JobRoot, jobCommand, type Linger } from './job-root.ts';
import { type KernelState, kernelStateSchema, readKernelState, restoreKernelState } from './kernel-state.ts';
import { closeMetadata, openMetadata } from './metadata-access.ts';

/** The clones of the snapshot's image; `snapshot/` makes them. */
export interface JobTrees {
  /** Makes and mounts the tree of one job. @throws if there is no room for one */
  clone(): Promise<{ name: string }>;
  /** Where a tree is mounted. */
  point(name: string): string;
  /** Whether the disk is too small for all that the jobs may write. */
  isTight(): Promise<boolean>;
  /** Kills the job of a cgroup when the disk is nearly full. @returns whether it did, at the end of the watch */
  watchDisk(cgroup: string, signal: AbortSignal): Promise<boolean>;
  /** Why the kernel has lost writes of the tree, or undefined. */
  problem(name: string): Promise<string | undefined>;
  /** Returns when the blocks of the tree are free. @throws if something holds it. Does nothing for a tree that is gone */
  discard(name: string): Promise<void>;
}

/** What every job of the instance gets. */
export type PlaceSettings = Pick<
  JobRoot,
  'warm' | 'views' | 'sharedMounts' | 'hidden' | 'files' | 'docker'
> & {
  /** Directory of the runner's state; root only. */
  stateDirectory: string;
  /** Whether jobs may use the role of the instance. */
  jobsUseInstanceRole: boolean;
};

/** The place of one job: its tree, and its root in it. */
export interface JobPlaces extends Pick<JobTrees, 'isTight' | 'watchDisk'> {
  /**
   * Makes a place for the job of a unit, before its registration is requested. No job runs.
   *
   * @returns as `close`, for places that an earlier aw-runner has left
   * @throws if there is none; no request may follow
   */
  open(unit: string): Promise<string[]>;
  /** The command that runs a program in the place. @throws if the unit has no place */
  command(unit: string, user: string, argv: readonly string[], linger?: Linger): Promise<string[]>;
  /** Process id of the program that runs in a place, in the PID namespace of its job; undefined before its start. */
  programPid(): Promise<number | undefined>;
  /**
   * Removes everything that the job has left in files and in the kernel. Its processes have ended.
   *
   * @returns what the job had changed in the kernel, one line per item, and why its tree has lost writes
   * @throws if something stays: no further job may run on the instance
   */
  close(unit: string): Promise<string[]>;
}

/** The tree of each unit, and the state of the kernel before the first job of this boot of the instance. */
const recordSchema = v.object({
  version: v.literal(1),
  /** `/proc/sys/kernel/random/boot_id`. */
  boot: v.string(),
  kernel: kernelStateSchema,
  trees: v.record(v.string(), v.string()),
});

type PlacesRecord = v.InferOutput<typeof recordSchema>;

/** The kernel that the jobs of an instance share. */
export type KernelPort = {
  read(): Promise<KernelState>;
  restore(before: KernelState, tree: string): Promise<string[]>;
  closeMetadata(): Promise<void>;
  openMetadata(): Promise<void>;
  bootId(): Promise<string>;
};

/** The kernel of an instance. Only an instance has jobs alone: elsewhere this would undo the work of other programs. */
export const instanceKernel: KernelPort = {
  read: readKernelState,
  restore: restoreKernelState,
  closeMetadata: () => closeMetadata(),
  openMetadata,
  bootId: async () => (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim(),
};

/** Places of jobs on this instance. Calls must not overlap: one job runs at a time. */
export function jobPlaces(settings: PlaceSettings, trees: JobTrees, kernel: KernelPort): JobPlaces {
  const file = join(settings.stateDirectory, 'job-places.json');
  let record: PlacesRecord | undefined;

  /** The record of this boot. The first call after a boot reads the state of the kernel: no job has run by then. */
  async function load(): Promise<PlacesRecord> {
    if (record) return record;
    const boot = await kernel.bootId();
    const before = await readRecord(file);
    const trees = before?.trees ?? {};
    record = before?.boot === boot ? before : { version: 1, boot, kernel: await kernel.read(), trees };
    await save();
    return record;
  }

  /** A tree that was cloned and is not recorded, after a kill in between, is removed with all others when the next one is cloned. */
  async function save(): Promise<void> {
    await mkdir(settings.stateDirectory, { recursive: true });
    await writeFile(`${file}.new`, JSON.stringify(record), { mode: 0o600, flush: true });
    await rename(`${file}.new`, file);
  }

  const rootOf = (tree: string): JobRoot => ({
    ...settings,
    mountPoint: `${trees.point(tree)}.root`,
    tree: trees.point(tree),
  });

  /** Removes the tree of a unit. */
  async function close(unit: string): Promise<string[]> {
    const { trees: known, kernel: before } = await load();
    const tree = known[unit];
    if (tree === undefined) return [];
    const restored = await kernel.restore(before, trees.point(tree));
    const problem = await trees.problem(tree);
    await trees.discard(tree);
    await rmdir(rootOf(tree).mountPoint).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
    delete known[unit];
    await save();
    return problem === undefined ? restored : [...restored, problem];
  }

  return {
    isTight: trees.isTight,
    watchDisk: trees.watchDisk,
    close,

    async open(unit) {
      const { trees: known } = await load();
      // A chain that has lost its record does not know the unit any more.
      const restored: string[] = [];
      for (const left of Object.keys(known)) restored.push(...(await close(left)));
      // Anew before each job: a job with root can change the rules.
      if (settings.jobsUseInstanceRole) await kernel.openMetadata();
      else await kernel.closeMetadata();
      const tree = await trees.clone();
      known[unit] = tree.name;
      await save();
      return restored;
    },

    async command(unit, user, argv, linger) {
      const tree = (await load()).trees[unit];
      if (tree === undefined) throw new Error(`the job of ${unit} has no place`);
      // Of an earlier start in this place: its number can be that of another process now.
      await rm(join(trees.point(tree), AGENT_PID), { force: true });
      return jobCommand(rootOf(tree), user, argv, linger);
    },

    async programPid() {
      // There is one at most: `open` removes all others.
      const [tree] = Object.values((await load()).trees);
      if (tree === undefined) return undefined;
      const text = await readFile(join(trees.point(tree), AGENT_PID), 'utf8').catch(
        (error: NodeJS.ErrnoException) => {
          if (error.code !== 'ENOENT') throw error;
          return '';
        },
      );
      // Empty until the program runs.
      return Number(text.trim()) || undefined;
    },
  };
}

async function readRecord(file: string): Promise<PlacesRecord | undefined> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  const result = v.safeParse(v.pipe(v.string(), v.parseJson(), recordSchema), text);
  return result.success ? result.output : undefined;
}
