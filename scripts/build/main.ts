import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { buildFunctions } from './functions.ts';
import { buildLocalRunner, buildRunner } from './runner.ts';

/** `npm run build`: the functions' zips and the runner program, in `dist/`. */
const root = resolve(import.meta.dirname, '../..');
const outDir = join(root, 'dist');

const functions = await buildFunctions({ root, outDir });
await Promise.all([buildRunner(root, outDir), buildLocalRunner(root, outDir)]);
await writeFile(join(outDir, 'manifest.json'), `${JSON.stringify({ functions }, null, 2)}\n`);
for (const { name, bytes } of functions)
  console.log(`${name.padEnd(12)} ${(bytes / 1000).toFixed(1)} kB zip`);
