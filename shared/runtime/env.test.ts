import * as v from 'valibot';
import { expect, test } from 'vitest';
import { json, readEnv, text, url } from './env.ts';
import { ConfigurationError } from './errors.ts';

const shape = { NAME: text, QUEUE: url, SETS: json(v.array(v.string())) };
const good = { NAME: 'aw', QUEUE: 'https://sqs.eu-west-1.amazonaws.com/1/q', SETS: '["default"]' };

test('values are parsed, and what was not asked for is left out', () => {
  expect(readEnv(shape, { ...good, OTHER: 'x' })).toEqual({ ...good, SETS: ['default'] });
});

test('everything that is wrong is named at once', () => {
  const read = () => readEnv(shape, { NAME: '', QUEUE: 'nowhere', SETS: '{' });
  expect(read).toThrow(ConfigurationError);
  expect(read).toThrow(/NAME[\s\S]*QUEUE[\s\S]*SETS/);
});

test('a value is not repeated: it may be a secret in the wrong place', () => {
  try {
    readEnv(shape, { ...good, QUEUE: 'hunter2-hunter2' });
    expect.unreachable();
  } catch (error) {
    expect(String(error)).toContain('QUEUE');
    expect(String(error)).not.toContain('hunter2');
  }
});
