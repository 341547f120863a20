import { describe, expect, test } from 'vitest';
import { violations } from './import-rules.ts';

const importing = (target: string) => `import { x } from '${target}';\n`;

describe('import rules', () => {
  test.each([
    ['functions/alarms/handler.ts', '../../shared/runtime/env.ts'],
    ['functions/alarms/pagerduty/client.ts', '../env.ts'],
    ['scripts/runner/main.ts', '../../shared/snapshot/layout.ts'],
    ['scripts/local/cloud.ts', '../build/main.ts'],
    ['shared/snapshot/layout.ts', '../fleet/names.ts'],
    ['shared/hosts/host.ts', '../runtime/clock.ts'],
    ['scripts/runner/version.ts', '../../package.json'],
    ['test/e2e/day.test.ts', '../../functions/alarms/env.ts'],
    ['functions/alarms/logic.test.ts', '../../test/fixtures/clock.ts'],
  ])('%s may import %s', (file, target) => {
    expect(violations(file, importing(target))).toEqual([]);
  });

  test.each([
    ['functions/alarms/handler.ts', '../warming/env.ts', 'a function never imports another'],
    ['functions/alarms/deep/x.ts', '../../warming/env.ts', 'a function never imports another'],
    ['functions/alarms/handler.ts', '../../scripts/build/main.ts', 'functions import only shared'],
    ['functions/alarms/handler.ts', '../../package.json', 'functions import only shared'],
    ['scripts/local/cloud.ts', '../../functions/alarms/env.ts', 'nothing imports a function'],
    ['scripts/local/cloud.ts', '../../test/fixtures/x.ts', 'scripts import only shared'],
    ['shared/runtime/env.ts', '../fleet/names.ts', 'shared/runtime may use only itself'],
    ['shared/snapshot/store.ts', '../hosts/host.ts', 'shared/snapshot may use only runtime, fleet'],
    ['shared/hosts/host.ts', '../../scripts/x.ts', 'shared imports only shared'],
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
