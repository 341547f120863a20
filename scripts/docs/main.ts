import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { generatedDocs } from './generated.ts';

/** Writes the generated parts of the docs. A test fails if one of them is out of date. */
const root = resolve(import.meta.dirname, '../..');
const docs = generatedDocs(root);
for (const [file, text] of Object.entries(docs)) writeFileSync(join(root, file), text);
const json = Object.keys(docs).filter((file) => file.endsWith('.json'));
execFileSync(join(root, 'node_modules/.bin/biome'), ['format', '--write', ...json], { cwd: root });
for (const file of Object.keys(docs)) console.log(file);
