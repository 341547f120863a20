import { existsSync, readFileSync } from 'node:fs';
import type { Manifest } from '../../../../shared/snapshot/manifest.ts';
import { canMount } from './mounts.ts';

/** What mounting our layers needs of a kernel. */
export const REQUIRES = ['squashfs-zstd', 'overlayfs'];

/** The platform that a snapshot made here is for. */
export function thisPlatform(): Manifest['platform'] {
  return { os: process.platform, arch: process.arch, requires: REQUIRES };
}

/** Why a snapshot cannot be used on this machine, or undefined if it can. Its binaries are for one kind of processor. */
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

/** File systems that are modules appear in the kernel's list only once they are used, so a module on disk counts. */
function kernelHas(feature: string): boolean {
  const fileSystem = feature === 'overlayfs' ? 'overlay' : 'squashfs';
  if (new RegExp(`\\s${fileSystem}$`, 'm').test(readFileSync('/proc/filesystems', 'utf8'))) return true;
  const release = readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim();
  const folder = fileSystem === 'overlay' ? 'overlayfs' : 'squashfs';
  return existsSync(`/lib/modules/${release}/kernel/fs/${folder}`);
}
