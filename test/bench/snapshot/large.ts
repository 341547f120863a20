import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { startBucket } from './bucket.ts';
import { unmountBelow } from './file-systems.ts';
import { instanceOn } from './instance.ts';
import { timedShell } from './timed.ts';

/** Random, so that the layer is as large as its content: what memory must not grow with is the layer. */
const LARGE_BYTES = 3e9;

/** The most memory that saving and restoring a snapshot of `bytes` took, in bytes. */
export type LargePeaks = { bytes: number; save: number; restore: number; packer: number };

/**
 * Saves and restores one large snapshot, once, for its memory alone; its times are those of a disk and mean nothing here.
 *
 * @param folder on a disk with four times the room of it: in memory, the file systems would stand where the runner's memory is looked for
 */
export async function peaksOfLarge(root: string, folder: string): Promise<LargePeaks> {
  const bucket = await startBucket();
  try {
    const maker = await instanceOn(root, join(folder, 'maker'), bucket);
    await mkdir(maker.warm, { recursive: true });
    await timedShell(`head -c ${LARGE_BYTES} /dev/urandom >${join(maker.warm, 'random')}`);
    const save = await maker.snapshot('save');
    const [id = ''] = await bucket.manifests();
    await bucket.makeCurrent(id);
    unmountBelow(join(folder, 'maker'));
    const runner = await instanceOn(root, join(folder, 'runner'), bucket);
    const restore = await runner.snapshot('restore');
    return {
      bytes: LARGE_BYTES,
      save: save.peakBytes,
      restore: restore.peakBytes,
      packer: save.peakBytesOfChildren,
    };
  } finally {
    bucket.close();
    unmountBelow(folder);
  }
}
