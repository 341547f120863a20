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

test('one row per input, one table per object type, and a line each for ignored and for refused inputs', () => {
  const attributes = [{ name: 'a', type: 'string', default: undefined, description: 'What a is.' }];
  const text = inputTables([
    variable('one'),
    variable('two', { type: 'map(object)', default: '{}', attributes }),
    variable('three', { type: 'map(object)', default: '{}', attributes }),
    variable('four', { description: 'Not supported: use `one`.' }),
    variable('five', { description: 'No effect: there is one.' }),
    variable('six', { description: 'What it is. Required.', default: 'null' }),
  ]);
  expect(text).toContain('| `one` | `string` | (required) | What it is. |');
  expect(text).toContain('| `two` | `map(object)` | `{}` | What it is. |');
  expect(text).toContain('Attributes of `two`, `three`:');
  expect(text).toContain('| `a` | `string` | (required) | What a is. |');
  expect(text).toContain('| `six` | `string` | (required) | What it is. |');
  for (const name of ['four', 'five']) expect(text).not.toContain(`| \`${name}\``);
  expect(text).toMatch(/without effect.*: `five`\.\n/);
  expect(text).toMatch(/not supported.*: `four`\.$/);
});

test('replaces only the text between the markers', () => {
  const page = 'before\n<!-- x -->\nold\n<!-- /x -->\nafter\n';
  expect(replaceBlock(page, 'x', 'new')).toBe('before\n<!-- x -->\n\nnew\n\n<!-- /x -->\nafter\n');
  expect(() => replaceBlock(page, 'y', 'new')).toThrow(/<!-- y -->/);
});
