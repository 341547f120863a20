import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type BuiltFunction, buildFunctions } from '../../scripts/build/functions.ts';

const root = resolve(import.meta.dirname, '../..');

/** A zip of this size is unpacked and read before the first event: every kilobyte is a little of a cold start. */
const MAX_ZIP_BYTES = 120_000;

let folder: string;
let built: BuiltFunction[];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hearth-bundles-'));
  built = await buildFunctions({ root, outDir: join(folder, 'one') });
});
afterAll(() => rm(folder, { recursive: true }));

test('every function has a bundle', () => {
  expect(built.map(({ name }) => name)).toEqual(['alarms', 'lifecycle', 'parameters', 'warming']);
});

test('no zip is larger than its budget', () => {
  expect(built.filter(({ bytes }) => bytes > MAX_ZIP_BYTES)).toEqual([]);
});

test('the same sources give the same bytes', async () => {
  const again = await buildFunctions({ root, outDir: join(folder, 'two') });
  expect(again.map(({ sha256 }) => sha256)).toEqual(built.map(({ sha256 }) => sha256));
});

describe('what is inside', () => {
  const inputsOf = async (name: string) => {
    const text = await readFile(join(folder, 'one/functions', `${name}.meta.json`), 'utf8');
    return Object.keys((JSON.parse(text) as { inputs: Record<string, unknown> }).inputs);
  };

  test.each(['alarms', 'lifecycle', 'parameters', 'warming'])('%s', async (name) => {
    const inputs = await inputsOf(name);
    expect(inputs.filter((input) => /node_modules\/zod\//.test(input))).toEqual([]);
    expect(inputs.filter((input) => /(@aws-sdk|@smithy)\/[^/]+\/dist-cjs\//.test(input))).toEqual([]);
    expect(
      inputs.filter((input) => /credential-provider-(ini|sso|process|web-identity|node)\//.test(input)),
    ).toEqual([]);
    // A function never imports another.
    const others = inputs.filter(
      (input) => input.startsWith('functions/') && !input.startsWith(`functions/${name}/`),
    );
    expect(others).toEqual([]);
  });
});
