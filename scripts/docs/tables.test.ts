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

test('inputs have a row each, objects a table, and what is refused a line', () => {
  const attributes = [{ name: 'a', type: 'string', default: undefined }];
  const text = inputTables([
    variable('one'),
    variable('two', { type: 'map(object)', default: '{}', attributes }),
    variable('three', { type: 'map(object)', default: '{}', attributes }),
    variable('four', { description: 'Refused.' }),
  ]);
  expect(text).toContain('| `one` | `string` | (needed) | What it is. |');
  expect(text).toContain('| `two` | `map(object)` | `{}` | What it is. |');
  expect(text).toContain('What `two`, `three` is made of:');
  expect(text).toContain('| `a` | `string` | (needed) |');
  expect(text).not.toContain('| `four`');
  expect(text).toMatch(/Refused.*`four`\.$/);
});

test('only what is between the markers is replaced', () => {
  const page = 'before\n<!-- x -->\nold\n<!-- /x -->\nafter\n';
  expect(replaceBlock(page, 'x', 'new')).toBe('before\n<!-- x -->\n\nnew\n\n<!-- /x -->\nafter\n');
  expect(() => replaceBlock(page, 'y', 'new')).toThrow(/<!-- y -->/);
});
