/** The steps of `npm test`, in the order of what fails fastest. */
export type Step = {
  name: string;
  /** Program from `node_modules/.bin`, and its arguments. */
  command: readonly [string, ...string[]];
  /** Runs at the same time as the step before it, because it waits more than it computes. Its output follows. */
  beside?: true;
  /** A vitest project: its own count of tests is added up, instead of one for the step. */
  counts?: true;
};

/** @param reports folder for vitest's JSON reports */
export function steps(reports: string): Step[] {
  const vitest = (name: string, project = name): Step => ({
    name,
    command: [
      'vitest',
      'run',
      '--project',
      project,
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${reports}/${name}.json`,
    ],
    counts: true,
  });
  return [
    { name: 'types', command: ['tsc', '-p', '.'] },
    { name: 'lint', command: ['biome', 'check', '.'] },
    { name: 'imports', command: ['node', 'scripts/check/imports.ts'] },
    { name: 'unused', command: ['knip'] },
    vitest('unit', 'unit*'),
    { name: 'build', command: ['node', 'scripts/build/main.ts'] },
    vitest('bundles'),
    vitest('simulation'),
    vitest('infra'),
    // Not beside `e2e`: its tests wait for loop devices, which the namespaces of jobs hold for moments.
    { ...vitest('agents'), beside: true },
    vitest('e2e'),
    // After those: it judges the calls that they have made.
    vitest('permissions'),
  ];
}
