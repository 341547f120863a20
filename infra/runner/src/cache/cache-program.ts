/** Longest heap of the process, in MiB. With buffers and code it stays well below the limit of its unit. */
const HEAP_MIB = 192;

/**
 * How Node runs the process of the cache. Buffers of bodies are outside of the heap, and are freed when the young generation is collected: a
 * small one is collected often.
 */
export const CACHE_NODE_OPTIONS: readonly string[] = [
  `--max-old-space-size=${HEAP_MIB}`,
  '--max-semi-space-size=2',
];

/** Several arenas of the allocator would keep the memory of freed buffers. */
export const CACHE_PROCESS_ENVIRONMENT: Readonly<Record<string, string>> = { MALLOC_ARENA_MAX: '2' };
