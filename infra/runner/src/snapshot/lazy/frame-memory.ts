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
