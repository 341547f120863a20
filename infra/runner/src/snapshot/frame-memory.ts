import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Sizes of the pieces: half of a frame's content, which is what most frames take when they are compressed, and all of it. */
const SIZES = [512 * 1024, 1152 * 1024];

/**
 * Memory for stored frames, in pieces that threads share and that are used again. New memory for every frame makes the collector
 * of V8 work for the process's whole heap at each 64 MB. Few sizes: a piece that is free fits the next frame.
 */
export function frameMemory() {
  const free = new Map<number, SharedArrayBuffer[]>(SIZES.map((size) => [size, []]));
  return {
    take(length: number): Uint8Array {
      // A larger frame is possible in the format, and is no gain of compression: no save makes one.
      const bytes = SIZES.find((size) => size >= length) ?? length;
      return new Uint8Array(free.get(bytes)?.pop() ?? new SharedArrayBuffer(bytes), 0, length);
    },
    give({ buffer }: Uint8Array): void {
      if (buffer instanceof SharedArrayBuffer) free.get(buffer.byteLength)?.push(buffer);
    },
  };
}

/** Bytes of buffers after which `bufferCollector` collects: an eighth of the 64 MB at which V8 marks the whole heap. */
const BYTES_PER_COLLECTION = 8 * 1024 * 1024;

/**
 * Frees buffers that are garbage as soon as they are copied, such as the pieces in which the network's bytes arrive. They are small
 * objects with memory outside of the heap: V8 collects the young objects too seldom for them, and then marks all objects of the
 * program, again and again. That took a third of the CPU time of a restore; a collection of the youngest objects takes a millisecond.
 *
 * @returns a function that is called with the bytes of new buffers
 */
export function bufferCollector(): (bytes: number) => void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as (options: { type: 'minor' }) => void;
  let bytes = 0;
  return (more) => {
    bytes += more;
    if (bytes < BYTES_PER_COLLECTION) return;
    bytes = 0;
    collect({ type: 'minor' });
  };
}
