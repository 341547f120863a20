/** Sizes of pieces are multiples of it, so that frames of similar sizes use the same ones. */
const STEP = 128 * 1024;

/**
 * Memory for stored frames, in pieces that threads share and that are used again. New memory for every frame makes the collector
 * of V8 work for the process's whole heap at each 64 MB.
 */
export function frameMemory() {
  const free = new Map<number, SharedArrayBuffer[]>();
  return {
    take(length: number): Uint8Array {
      const bytes = Math.ceil(length / STEP) * STEP;
      return new Uint8Array(free.get(bytes)?.pop() ?? new SharedArrayBuffer(bytes), 0, length);
    },
    give({ buffer }: Uint8Array): void {
      if (!(buffer instanceof SharedArrayBuffer)) return;
      const same = free.get(buffer.byteLength);
      if (same) same.push(buffer);
      else free.set(buffer.byteLength, [buffer]);
    },
  };
}
