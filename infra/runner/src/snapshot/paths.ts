import { join } from 'node:path';

/** The directories that a runner's configuration names. */
export type Directories = {
  /** Downloaded layers and their mounts. Local NVMe, if the machine has one. */
  layers: string;
  /** Where the warm tree appears: the place of Bazel's output base, repository cache and disk cache. */
  warm: string;
  /** Small files that survive a reboot. */
  state: string;
};

/** Every path that the snapshot engine owns. */
export function snapshotPaths(directories: Directories) {
  const overlay = `${directories.warm}.overlay`;
  return {
    ...directories,
    layerFile: (sha256: string) => join(directories.layers, `${sha256}.sqfs`),
    /** A layer that is still being downloaded. */
    partFile: (sha256: string) => join(directories.layers, `${sha256}.part`),
    mounts: join(directories.layers, 'mnt'),
    layerMount: (sha256: string) => join(directories.layers, 'mnt', sha256),
    overlay,
    /** What changed since the snapshot; on one file system with `work`, as overlayfs asks. */
    upper: join(overlay, 'upper'),
    work: join(overlay, 'work'),
    /** Stands in for a snapshot on a cold machine: an overlay needs a layer below it. */
    empty: join(overlay, 'empty'),
    /** Shows the layers below the upper directory alone, while a save compares them. */
    lower: join(overlay, 'lower'),
    packed: join(overlay, 'packed.sqfs'),
    restored: join(directories.state, 'restored.json'),
  };
}

export type Paths = ReturnType<typeof snapshotPaths>;
