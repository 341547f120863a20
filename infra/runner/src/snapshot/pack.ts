import { mkdir, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CHUNK_BYTES } from '../../../../shared/snapshot/manifest.ts';
import { execute } from '../child-process.ts';
import { hashThreads } from './hash-threads.ts';

/** The knee of the curve: three times as fast as level 6, and 5 % larger. */
const ZSTD_LEVEL = 3;

/** A packed layer on the disk, and all that a manifest says of its bytes. */
export type Packed = { file: string; sha256: string; bytes: number; chunkBytes: number; chunks: string[] };

/**
 * Packs a directory as one squashfs file. Its bytes depend on the tree alone: the time of making is fixed, and entries are
 * sorted. Hard links, sparse files, extended attributes, whiteouts and names of any bytes are kept.
 */
export async function packTree(folder: string, file: string, signal?: AbortSignal): Promise<Packed> {
  await mkdir(dirname(file), { recursive: true });
  await rm(file, { force: true });
  const args = [folder, file, '-comp', 'zstd', '-Xcompression-level', String(ZSTD_LEVEL)];
  const exact = ['-mkfs-time', '0', '-xattrs', '-noappend', '-no-progress', '-no-recovery'];
  await execute('mksquashfs', [...args, ...exact], signal ? { signal } : {});
  return { file, chunkBytes: CHUNK_BYTES, ...(await fingerprint(file)) };
}

/** Checksums of a whole file and of each of its chunks, beside each other. */
async function fingerprint(file: string): Promise<{ sha256: string; bytes: number; chunks: string[] }> {
  const { size } = await stat(file);
  const starts = Array.from({ length: Math.ceil(size / CHUNK_BYTES) }, (_, index) => index * CHUNK_BYTES);
  const threads = hashThreads();
  try {
    const [sha256, chunks] = await Promise.all([
      threads.hash(file, 0, size),
      Promise.all(starts.map((start) => threads.hash(file, start, Math.min(CHUNK_BYTES, size - start)))),
    ]);
    return { sha256, bytes: size, chunks };
  } finally {
    await threads.close();
  }
}
