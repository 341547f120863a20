import { join, resolve } from 'node:path';

/** The directories that a runner's configuration names. */
export type Directories = {
  /** Downloaded layers and their mounts. On local NVMe, if the instance has one. */
  layers: string;
  /** Mount point of the warm tree, which holds Bazel's output base, repository cache and disk cache. */
  warm: string;
  /** Small files that survive a reboot. */
  state: string;
};

/** Every path that the snapshot engine owns. A slash at the end of a directory has no effect. */
export function snapshotPaths(configured: Directories) {
  const directories = {
    layers: resolve(configured.layers),
    warm: resolve(configured.warm),
    state: resolve(configured.state),
  };
  const overlay = `${directories.warm}.overlay`;
  return {
    ...directories,
    layerFile: (sha256: string) => join(directories.layers, `${sha256}.sqfs`),
    /** A layer that is still being downloaded. */
    partFile: (sha256: string) => join(directories.layers, `${sha256}.part`),
    mounts: join(directories.layers, 'mnt'),
    layerMount: (sha256: string) => join(directories.layers, 'mnt', sha256),
    overlay,
    /** Changes since the snapshot. Overlayfs requires it on one file system with `work`. */
    upper: join(overlay, 'upper'),
    work: join(overlay, 'work'),
    /** The layer of an overlay without a snapshot: an overlay needs one. */
    empty: join(overlay, 'empty'),
    /** Mount point of the layers without the upper directory, while a save compares them. */
    lower: join(overlay, 'lower'),
    packed: join(overlay, 'packed.sqfs'),
    /** A tree that is extracted without root, until it is complete. */
    extracting: join(overlay, 'extracting'),
    restored: join(directories.state, 'restored.json'),
  };
}

export type Paths = ReturnType<typeof snapshotPaths>;
