import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { transform, version } from 'esbuild';

/**
 * A build that a job of the demo runs: it compiles each source of a folder by an action whose result goes through the build cache of
 * the instance, as Bazel does it over HTTP.
 *
 *     cached-build.ts build FOLDER     prints `build: <hits> of <actions> hits, output <digest of all outputs>`
 *     cached-build.ts poison FOLDER    claims other outputs for the same actions
 */
const [mode, folder = ''] = process.argv.slice(2);
const cache = `${process.env.HEARTH_CACHE_URL}/bazel`;

const sha256 = (content: Buffer | string) => createHash('sha256').update(content).digest('hex');

function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value % 0x80) | 0x80, ...varint(Math.floor(value / 0x80))];
}

function field(number: number, value: Buffer | string): Buffer {
  const bytes = Buffer.from(value as string);
  return Buffer.concat([Buffer.from([number * 8 + 2, ...varint(bytes.length)]), bytes]);
}

/** An `ActionResult` with one output file (remote_execution.proto: output_files = 2, path = 1, digest = 2, hash = 1, size_bytes = 2). */
function resultOf(output: Buffer): Buffer {
  const digest = Buffer.concat([field(1, sha256(output)), Buffer.from([16, ...varint(output.length)])]);
  return field(2, Buffer.concat([field(1, 'out.js'), field(2, digest)]));
}

async function get(path: string): Promise<Buffer | undefined> {
  const answer = await fetch(`${cache}/${path}`);
  const body = Buffer.from(await answer.arrayBuffer());
  return answer.status === 200 ? body : undefined;
}

async function put(path: string, content: Buffer): Promise<void> {
  const answer = await fetch(`${cache}/${path}`, { method: 'PUT', body: new Uint8Array(content) });
  await answer.arrayBuffer();
  if (answer.status !== 200) throw new Error(`PUT ${path}: ${answer.status}`);
}

async function store(action: string, output: Buffer): Promise<void> {
  await put(`cas/${sha256(output)}`, output);
  await put(`ac/${action}`, resultOf(output));
}

const outputs: Buffer[] = [];
let hits = 0;
const sources = (await readdir(folder)).filter((name) => name.endsWith('.ts')).sort();
for (const name of sources) {
  const source = await readFile(join(folder, name), 'utf8');
  const action = sha256(JSON.stringify([version, name, source]));
  if (mode === 'poison') {
    await store(action, Buffer.from(`poison of ${name}\n`));
    continue;
  }
  const digest = /[0-9a-f]{64}/.exec((await get(`ac/${action}`))?.toString('latin1') ?? '')?.[0];
  const found = digest === undefined ? undefined : await get(`cas/${digest}`);
  if (found) hits += 1;
  const output = found ?? Buffer.from((await transform(source, { loader: 'ts' })).code);
  if (!found) await store(action, output);
  outputs.push(output);
}
if (mode === 'poison') console.log(`poison: ${sources.length} claims`);
else
  console.log(
    `build: ${hits} of ${sources.length} hits, output ${sha256(Buffer.concat(outputs)).slice(0, 16)}`,
  );
