import { defineConfig } from 'vitest/config';

/**
 * Tests that start programs, clouds or mounts. They run one file at a time: each needs two cores. The limits end what hangs, and are far above
 * what a busy computer needs.
 *
 * @param retry how often a failed test runs again. `npm test` names each test that passes only then, with its failure
 */
const slow = (name: string, include: string[], exclude: string[] = [], retry = 0) => ({
  test: {
    name,
    include,
    exclude,
    retry,
    testTimeout: 1_800_000,
    hookTimeout: 1_800_000,
    fileParallelism: false,
  },
});

/** Unit tests that replace a module of Node. The replacement must not reach other files. */
const MODULE_MOCKS = ['infra/runner/src/{health,watch}.test.ts'];

/** Tests beside the code that start programs. */
const PROGRAMS = ['scripts/local/ci/{agents/*,main}.test.ts'];

/** Tests of agents with the times of their providers: they wait more than they compute, and run beside the others. */
const AGENTS = [
  'test/e2e/{agents,agents-kill,agent-programs,cached-builds,registration,scaling,second-act,sigkill-fleet,timeline-sources,flood,reconcile,two-deployments,webhooks}.test.ts',
  ...PROGRAMS,
];

// Unit tests are beside the code that they test. Tests with further needs are below test/.
export default defineConfig({
  test: {
    projects: [
      // Files of one worker share its modules: to load them anew for each file takes longer than the tests.
      {
        test: {
          name: 'unit',
          include: ['{functions,shared,scripts,infra}/**/*.test.ts', 'test/bench/**/*.test.ts'],
          exclude: [...MODULE_MOCKS, ...PROGRAMS],
          isolate: false,
          // A test that ends at its limit must not leave its `fetch` to the next file.
          unstubGlobals: true,
          unstubEnvs: true,
          // Property tests play hundreds of histories; on a busy computer they take longer than 5 s.
          testTimeout: 30_000,
        },
      },
      { test: { name: 'unit-mocks', include: MODULE_MOCKS } },
      slow('bundles', ['test/bundles/**/*.test.ts']),
      slow('simulation', ['test/simulation/**/*.test.ts']),
      // Each file runs terraform on its own copy of the module.
      {
        test: {
          name: 'infra',
          include: ['test/infra/**/*.test.ts'],
          // Several plans and applies in one hook, beside the tests of agents.
          testTimeout: 1_800_000,
          hookTimeout: 1_800_000,
          maxWorkers: 2,
        },
      },
      slow('e2e', ['test/e2e/**/*.test.ts'], AGENTS, 1),
      // Judges the calls that the end-to-end tests have made.
      slow('permissions', ['test/permissions/**/*.test.ts']),
      slow('agents', AGENTS, [], 1),
    ],
  },
});
