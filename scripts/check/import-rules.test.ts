import { describe, expect, test } from 'vitest';
import { cycles, violations } from './import-rules.ts';

const importing = (target: string) => `import { x } from '${target}';\n`;

describe('import rules', () => {
  test.each([
    ['functions/alarms/handler.ts', '../../shared/runtime/env.ts'],
    ['functions/alarms/pagerduty/client.ts', '../env.ts'],
    ['infra/runner/src/main.ts', '../../../shared/snapshot/layout.ts'],
    ['infra/runner/src/agents/gha.ts', '../process/run.ts'],
    ['infra/runner/src/version.ts', '../../../package.json'],
    ['infra/runner/src/main.test.ts', '../../../test/support/x.ts'],
    ['scripts/local/runners/program.ts', '../../../infra/runner/src/program.ts'],
    ['scripts/local/cloud.ts', '../build/main.ts'],
    ['scripts/simulate/product/scaling.ts', '../../../functions/scaling/handle.ts'],
    ['scripts/simulate/product/instance.ts', '../../../infra/runner/src/watch-step.ts'],
    ['shared/snapshot/layout.ts', '../fleet/names.ts'],
    ['shared/ci/provider.ts', '../runtime/clock.ts'],
    ['shared/ci/github/api.ts', '../../fleet/names.ts'],
    ['shared/aws/auto-scaling.ts', '../runtime/errors.ts'],
    ['scripts/build/version.ts', '../../package.json'],
    ['test/e2e/day.test.ts', '../../functions/alarms/env.ts'],
    ['functions/alarms/logic.test.ts', '../../test/support/clock.ts'],
    ['functions/alarms/testing/fake.ts', '../../../test/support/clock.ts'],
  ])('%s may import %s', (file, target) => {
    expect(violations(file, importing(target))).toEqual([]);
  });

  test.each([
    ['functions/alarms/handler.ts', '../warming/env.ts', 'a function never imports another'],
    ['functions/alarms/deep/x.ts', '../../warming/env.ts', 'a function never imports another'],
    ['functions/alarms/handler.ts', '../../scripts/build/main.ts', 'functions import only shared'],
    ['functions/alarms/handler.ts', '../../package.json', 'functions import only shared'],
    ['scripts/local/cloud.ts', '../../functions/alarms/env.ts', 'nothing imports a function'],
    ['scripts/local/cloud.ts', '../../test/support/x.ts', 'scripts import only shared'],
    ['shared/runtime/env.ts', '../fleet/names.ts', 'shared/runtime may use only itself'],
    ['shared/aws/auto-scaling.ts', '../fleet/names.ts', 'shared/aws may use only runtime'],
    ['shared/snapshot/store.ts', '../ci/provider.ts', 'shared/snapshot may use only runtime, fleet, aws'],
    ['shared/ci/provider.ts', '../../scripts/x.ts', 'shared imports only shared'],
    ['infra/runner/src/main.ts', '../../../scripts/build/main.ts', 'the runner imports only shared'],
    ['infra/runner/src/main.ts', '../../../functions/alarms/env.ts', 'the runner imports only shared'],
    ['infra/runner/src/main.ts', '../../tests/x.ts', 'the runner imports only shared'],
    ['scripts/local/cloud.ts', '../../infra/runner/src/program.ts', 'scripts import only shared'],
    ['scripts/local/runners/program.ts', '../../../functions/alarms/env.ts', 'nothing imports a function'],
    ['functions/scaling/handle.ts', '../../scripts/simulate/kernel.ts', 'functions import only shared'],
    ['scripts/simulate/kernel.ts', '../../test/support/x.ts', 'scripts import only shared'],
  ])('%s may not import %s', (file, target, rule) => {
    expect(violations(file, importing(target)).map((violation) => violation.rule)).toEqual([rule]);
  });

  test('types, re-exports and dynamic imports count', () => {
    const source = [
      "import type { A } from '../warming/a.ts';",
      "export { b } from '../warming/b.ts';",
      "const c = await import('../warming/c.ts');",
    ].join('\n');
    expect(violations('functions/alarms/handler.ts', source)).toHaveLength(3);
  });
});

describe('import cycles', () => {
  const sources = (imports: Record<string, string[]>) =>
    new Map(Object.entries(imports).map(([file, targets]) => [file, targets.map(importing).join('')]));

  test('a graph without a cycle has none, also if two files import a third', () => {
    expect(cycles(sources({ 'a.ts': ['./b.ts', './c.ts'], 'b.ts': ['./c.ts'], 'c.ts': [] }))).toEqual([]);
  });

  test('a cycle is named from its first file on', () => {
    const graph = sources({ 'x.ts': ['./a.ts'], 'a.ts': ['./b.ts'], 'b.ts': ['./c.ts'], 'c.ts': ['./a.ts'] });
    expect(cycles(graph)).toEqual([['a.ts', 'b.ts', 'c.ts']]);
  });

  test('two cycles, across folders', () => {
    const graph = sources({
      'd/a.ts': ['../e/b.ts'],
      'e/b.ts': ['../d/a.ts', './c.ts'],
      'e/c.ts': ['./b.ts'],
    });
    expect(cycles(graph)).toHaveLength(2);
  });

  test('imports of types count', () => {
    const graph = new Map([
      ['a.ts', "import type { B } from './b.ts';"],
      ['b.ts', "import { type A } from './a.ts';"],
    ]);
    expect(cycles(graph)).toHaveLength(1);
  });
});
