import { defineConfig } from 'vitest/config';

/** Tests that start programs, clouds or mounts: one file at a time, since each takes a machine of two cores. */
const slow = (name: string, include: string[]) => ({
  test: { name, include, testTimeout: 180_000, hookTimeout: 180_000, fileParallelism: false },
});

// Unit tests stand beside the code they test; whatever needs more than the code lives under test/.
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['{functions,shared,scripts,infra}/**/*.test.ts', 'test/bench/**/*.test.ts'],
        },
      },
      slow('bundles', ['test/bundles/**/*.test.ts']),
      slow('simulation', ['test/simulation/**/*.test.ts']),
      // Each on a copy of the module of its own, and most of the time is terraform's.
      {
        test: {
          name: 'infra',
          include: ['test/infra/**/*.test.ts'],
          testTimeout: 180_000,
          hookTimeout: 180_000,
          maxWorkers: 2,
        },
      },
      slow('e2e', ['test/e2e/**/*.test.ts']),
    ],
  },
});
