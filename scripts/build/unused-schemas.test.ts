import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { lighten } from './unused-schemas.ts';

test('what registers errors is gone, and what describes shapes is marked as pure', () => {
  const source = [
    'const n0_registry = TypeRegistry.for(n0);',
    'export var Fault$ = [-3, n0, _F,',
    '    { [_e]: _c },',
    '    [_m],',
    '    [0]',
    '];',
    'n0_registry.registerError(Fault$, Fault);',
    'export var Describe$ = [9, n0, _D, 0, () => In$, () => Out$];',
    'export const errorTypeRegistries = [n0_registry];',
  ].join('\n');
  expect(lighten(source)).toBe(
    [
      'const n0_registry = TypeRegistry.for(n0);',
      'export var Fault$ = /* @__PURE__ */ (() => ([-3, n0, _F,',
      '    { [_e]: _c },',
      '    [_m],',
      '    [0]',
      ']))();',
      '',
      'export var Describe$ = /* @__PURE__ */ (() => ([9, n0, _D, 0, () => In$, () => Out$]))();',
      'export const errorTypeRegistries = [n0_registry];',
    ].join('\n'),
  );
});

test.each(['sqs', 'cloudwatch', 'auto-scaling', 's3', 'ssm', 'secrets-manager', 'eventbridge'])(
  'the SDK still writes its schemas as this expects: %s',
  (service) => {
    const file = `../../node_modules/@aws-sdk/client-${service}/dist-es/schemas/schemas_0.js`;
    const source = readFileSync(new URL(file, import.meta.url), 'utf8');
    const light = lighten(source);
    expect(source).toContain('n0_registry.registerError(');
    expect(light).not.toContain('n0_registry.registerError(');
    const descriptions = source.match(/^export var \w+\$ = /gm)?.length ?? 0;
    expect(descriptions).toBeGreaterThan(0);
    expect(light.match(/@__PURE__/g)).toHaveLength(descriptions);
  },
);
