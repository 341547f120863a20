import * as v from 'valibot';
import { expect, test } from 'vitest';
import { PermanentError } from './errors.ts';
import { parseOrReject } from './validate.ts';

const schema = v.object({
  name: v.pipe(v.string(), v.regex(/^[a-z]+$/, 'must be lower case')),
  size: v.number(),
  parts: v.array(v.object({ sum: v.string() })),
});

const problemsOf = (input: unknown): string => {
  try {
    parseOrReject(schema, input, 'malformed-thing');
    return 'none';
  } catch (error) {
    if (!(error instanceof PermanentError)) throw error;
    expect(error.reason).toBe('malformed-thing');
    return error.message;
  }
};

test('says where, and what would be right', () => {
  expect(problemsOf({ name: 'A', size: '1', parts: [{ sum: 'x' }, {}] })).toBe(
    'name: must be lower case; size: expected number; parts.1.sum: expected "sum"',
  );
});

test('never repeats what it was given, which may be huge or secret', () => {
  const problems = problemsOf({ name: 'HUNTER2'.repeat(1000), size: 'hunter2', parts: 'hunter2' });
  expect(problems).not.toMatch(/hunter2/i);
});

test('names three problems at most', () => {
  expect(problemsOf({ name: 1, size: 'x', parts: [{}, {}, {}] }).split(';')).toHaveLength(3);
});

test('of something that is nothing at all', () => {
  expect(problemsOf(undefined)).toMatch(/^\(root\): expected/);
});
