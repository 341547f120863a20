import { existsSync, readFileSync } from 'node:fs';
import type { Manifest } from '../../../../shared/snapshot/format-1/manifest.ts';
import { canMount } from './mounts.ts';

/** Kernel features that mounting a layer requires. */
export const REQUIRES = ['squashfs-zstd', 'overlayfs'];

/** The platform of snapshots that are made here. */
export function thisPlatform(): Manifest['platform'] {
  return { os: process.platform, arch: process.arch, requires: REQUIRES };
}

/** The reason why this instance cannot use a snapshot, or undefined. Its binaries are for one processor architecture. */
export function platformProblem(manifest: Manifest): string | undefined {
  const { os, arch, requires } = manifest.platform;
  if (os !== process.platform || arch !== process.arch) {
    return `it was made on ${os}/${arch}, this is ${process.platform}/${process.arch}`;
  }
  const unknown = requires.filter((feature) => !REQUIRES.includes(feature));
  if (unknown.length > 0)
    return `it needs ${unknown.join(', ')}, which this version of aw-runner does not know`;
  if (!canMount()) return undefined;
  const missing = requires.filter((feature) => !kernelHas(feature));
  return missing.length > 0 ? `this kernel has no ${missing.join(', ')}` : undefined;
}

/** A file system that is a module appears in the kernel's list only after its first use, so a module on disk counts. */
function kernelHas(feature: string): boolean {
  const fileSystem = feature === 'overlayfs' ? 'overlay' : 'squashfs';
  if (new RegExp(`\\s${fileSystem}$`, 'm').test(readFileSync('/proc/filesystems', 'utf8'))) return true;
  const release = readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim();
  const folder = fileSystem === 'overlay' ? 'overlayfs' : 'squashfs';
  return existsSync(`/lib/modules/${release}/kernel/fs/${folder}`);
}
