import { globSync, readFileSync } from 'node:fs';
import { violations } from './import-rules.ts';

/** `npm run imports`: fails with one line for each import that breaks the rules of the house. */
const files = globSync('{functions,shared,scripts}/**/*.ts');
const found = files.flatMap((file) => violations(file, readFileSync(file, 'utf8')));

for (const { file, imports, rule } of found) console.error(`${file} imports ${imports}: ${rule}`);
console.log(`imports: ${files.length} files, ${found.length} violations`);
process.exitCode = found.length === 0 ? 0 : 1;
