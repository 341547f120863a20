import { globSync, readFileSync } from 'node:fs';
import { cycles, violations } from './import-rules.ts';

/** `npm run imports`: fails with one line per import that breaks a rule, and one line per import cycle. */
const files = globSync('{functions,shared,scripts,infra}/**/*.ts').map((file) => file.replaceAll('\\', '/'));
const sources = new Map(files.map((file) => [file, readFileSync(file, 'utf8')]));
const found = [...sources].flatMap(([file, source]) => violations(file, source));
const circular = cycles(sources);

for (const { file, imports, rule } of found) console.error(`${file} imports ${imports}: ${rule}`);
for (const files of circular) console.error(`import cycle: ${[...files, files[0]].join(' -> ')}`);
console.log(`imports: ${files.length} files, ${found.length} violations, ${circular.length} cycles`);
process.exitCode = found.length + circular.length === 0 ? 0 : 1;
