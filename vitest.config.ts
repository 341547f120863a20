import { defineConfig } from 'vitest/config';

// Unit tests stand beside the code they test; what needs a cloud, a mount or a benchmark lives under test/.
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['{functions,shared,scripts}/**/*.test.ts'],
          environment: 'node',
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/{e2e,simulation,bundles}/**/*.test.ts'],
          environment: 'node',
          testTimeout: 120_000,
          hookTimeout: 120_000,
          // One local cloud at a time: each takes a core and a half of a two-core machine.
          fileParallelism: false,
        },
      },
    ],
  },
});
