import { expect, test } from 'vitest';
import { CHUNK_BYTES, chunkBytesFor } from './manifest.ts';

const GIB = 1024 ** 3;

test.each([1, 16 * 1024 ** 2, GIB, 156 * GIB, 157 * GIB, 200 * GIB, 600 * GIB])(
  'a layer of %d bytes has at most 10,000 chunks, each of a size that a manifest allows',
  (bytes) => {
    const chunkBytes = chunkBytesFor(bytes);
    expect(Math.ceil(bytes / chunkBytes)).toBeLessThanOrEqual(10_000);
    expect(chunkBytes).toBeGreaterThanOrEqual(CHUNK_BYTES);
    expect(chunkBytes).toBeLessThanOrEqual(64 * 1024 ** 2);
    expect(chunkBytes % 1024 ** 2).toBe(0);
  },
);
