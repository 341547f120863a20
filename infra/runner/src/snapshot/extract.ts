import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Layer } from '../../../../shared/snapshot/manifest.ts';
import { execute } from '../child-process.ts';
import type { Paths } from './paths.ts';

/** Extraction without root cannot show these layers as they are. */
export class NeedsOverlay extends Error {
  override readonly name = 'NeedsOverlay';
}

/**
 * Unpacks layers over each other, where nothing can be mounted: a laptop. A whiteout, which overlayfs keeps as a character
 * device 0/0, deletes what the layers below have at its place.
 *
 * @throws {NeedsOverlay} if a layer moves or hides whole directories of those below
 */
export async function extractLayers(layers: readonly Layer[], paths: Paths): Promise<void> {
  const above = layers.slice(1).find((layer) => layer.overlayOnly);
  if (above) {
    throw new NeedsOverlay(`layer ${above.sha256} can only be mounted, and mounting needs root`);
  }
  await mkdir(paths.warm, { recursive: true });
  for (const layer of layers) {
    const file = paths.layerFile(layer.sha256);
    const whiteouts = await listWhiteouts(file);
    for (const path of whiteouts) await rm(join(paths.warm, path), { recursive: true, force: true });
    await execute('unsquashfs', ['-no-progress', '-no-xattrs', '-force', '-dest', paths.warm, file]).catch(
      (error: Error & { exitCode?: number }) => {
        // 2: done, but for entries that only root can make; whiteouts are such, and are not wanted here.
        if (error.exitCode !== 2 || whiteouts.length === 0) throw error;
      },
    );
    for (const path of whiteouts) await rm(join(paths.warm, path), { recursive: true, force: true });
  }
}

async function listWhiteouts(file: string): Promise<string[]> {
  const listing = await execute('unsquashfs', ['-lln', '-no-progress', '-d', '', file]);
  const whiteouts: string[] = [];
  for (const line of listing.split('\n')) {
    const path = /^c\S+\s+\d+\/\d+\s+0,\s*0\s+\S+\s+\S+\s+\/?(.+)$/.exec(line)?.[1];
    if (path !== undefined) whiteouts.push(path);
  }
  return whiteouts;
}
