import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { generatedDocs } from './generated.ts';

const root = resolve(import.meta.dirname, '../..');

// The formatter decides the layout of JSON, so only the content is compared.
const content = (file: string, text: string) => (file.endsWith('.json') ? JSON.parse(text) : text);

test.each(Object.entries(generatedDocs(root)))('%s is current', (file, text) => {
  const found = readFileSync(join(root, file), 'utf8');
  expect(content(file, found), 'run: node scripts/docs/main.ts').toEqual(content(file, text));
});
