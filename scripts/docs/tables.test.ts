import { expect, test } from 'vitest';
import type { Variable } from './hcl.ts';
import { inputTables, replaceBlock } from './tables.ts';

const variable = (name: string, rest: Partial<Variable> = {}): Variable => ({
  name,
  description: 'What it is.',
  type: 'string',
  default: undefined,
  attributes: [],
  validations: 0,
  ...rest,
});

test('one row per input, one table per object type, and one line for inputs that are not supported', () => {
  const attributes = [{ name: 'a', type: 'string', default: undefined }];
  const text = inputTables([
    variable('one'),
    variable('two', { type: 'map(object)', default: '{}', attributes }),
    variable('three', { type: 'map(object)', default: '{}', attributes }),
    variable('four', { description: 'Not supported: use `one`.' }),
  ]);
  expect(text).toContain('| `one` | `string` | (required) | What it is. |');
  expect(text).toContain('| `two` | `map(object)` | `{}` | What it is. |');
  expect(text).toContain('Attributes of `two`, `three`:');
  expect(text).toContain('| `a` | `string` | (required) |');
  expect(text).not.toContain('| `four`');
  expect(text).toMatch(/not supported.*`four`\.$/);
});

test('replaces only the text between the markers', () => {
  const page = 'before\n<!-- x -->\nold\n<!-- /x -->\nafter\n';
  expect(replaceBlock(page, 'x', 'new')).toBe('before\n<!-- x -->\n\nnew\n\n<!-- /x -->\nafter\n');
  expect(() => replaceBlock(page, 'y', 'new')).toThrow(/<!-- y -->/);
});
