import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { unzipSync } from 'fflate';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type BuiltFunction, buildFunctions } from '../../scripts/build/functions.ts';
import { STAND_INS } from '../../scripts/build/replaced-modules.ts';

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

const inputsOf = async (name: string) => {
  const text = await readFile(join(folder, 'one/functions', `${name}.meta.json`), 'utf8');
  return Object.keys((JSON.parse(text) as { inputs: Record<string, unknown> }).inputs);
};

test('every function has a bundle', () => {
  expect(built.map(({ name }) => name)).toEqual([
    'alarms',
    'lifecycle',
    'parameters',
    'registration',
    'scaling',
    'warming',
    'webhooks',
  ]);
});

test('no zip is larger than its budget', () => {
  expect(built.filter(({ bytes }) => bytes > MAX_ZIP_BYTES)).toEqual([]);
});

test('the same sources give the same bytes', async () => {
  const again = await buildFunctions({ root, outDir: join(folder, 'two') });
  expect(again.map(({ sha256 }) => sha256)).toEqual(built.map(({ sha256 }) => sha256));
});

test('a bundle contains no path of this machine', async () => {
  for (const { name, file } of built) {
    const code = unzipSync(await readFile(join(folder, 'one', file)));
    expect(Object.keys(code)).toEqual(['index.js']);
    const text = new TextDecoder().decode(code['index.js']);
    expect(text.includes(root) || text.includes(folder), name).toBe(false);
    expect(text).not.toMatch(/sourceMappingURL/);
  }
});

test('every replaced module is a module of a library', async () => {
  const inputs = await Promise.all(built.map(({ name }) => inputsOf(name)));
  expect(STAND_INS.filter((name) => !inputs.flat().includes(name))).toEqual([]);
});

describe('what is inside', () => {
  test.each(['alarms', 'lifecycle', 'parameters', 'registration', 'scaling', 'warming', 'webhooks'])(
    '%s',
    async (name) => {
      const inputs = await inputsOf(name);
      expect(inputs.filter((input) => /node_modules\/zod\//.test(input))).toEqual([]);
      expect(inputs.filter((input) => /(@aws-sdk|@smithy)\/[^/]+\/dist-cjs\//.test(input))).toEqual([]);
      expect(
        inputs.filter((input) => /credential-provider-(ini|sso|process|web-identity|node)\//.test(input)),
      ).toEqual([]);
      expect(inputs.filter((input) => /\/(Sha256Js|Sha1Js|Md5Js|Crc32Js)\.js$/.test(input))).toEqual([]);
      // A function never imports another.
      const others = inputs.filter(
        (input) => input.startsWith('functions/') && !input.startsWith(`functions/${name}/`),
      );
      expect(others).toEqual([]);
    },
  );
});
