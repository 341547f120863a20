import { unzipSync } from 'fflate';
import { expect, test } from 'vitest';
import { deterministicZip } from './zip.ts';

const bytes = (text: string) => new TextEncoder().encode(text);

test('the same files give the same bytes, in any order and at any time', () => {
  const one = deterministicZip({ 'index.js': bytes('a'), 'b.js': bytes('b') });
  const other = deterministicZip({ 'b.js': bytes('b'), 'index.js': bytes('a') });
  expect(Buffer.from(one).equals(Buffer.from(other))).toBe(true);
});

test('every file is extracted unchanged', () => {
  const unzipped = unzipSync(deterministicZip({ 'index.js': bytes('exports.handler = 1') }));
  expect(Object.keys(unzipped)).toEqual(['index.js']);
  expect(new TextDecoder().decode(unzipped['index.js'])).toBe('exports.handler = 1');
});
