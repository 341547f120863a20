import { writeFile } from 'node:fs/promises';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import type { Row } from './report.ts';
import { svg } from './svg.ts';

/** Text below the title of the picture, besides the figures. */
export type About = { files: number; contentBytes: number; rounds: number };

/** With `--svg`, draws the figures to `docs/bench/<name>.svg`. */
export async function drawIfAsked(
  root: string,
  name: string,
  title: string,
  about: About,
  rows: readonly Row[],
): Promise<void> {
  if (!process.argv.includes('--svg')) return;
  const file = join(root, 'docs/bench', `${name}.svg`);
  await writeFile(file, svg(title, `${inWords(about)}. Shorter is better; dashed: the goal.`, rows));
  console.log(`drawn: ${file}`);
}

function inWords({ files, contentBytes, rounds }: About): string {
  const processors = `${cpus().length} cores, ${(totalmem() / 2 ** 30).toFixed(0)} GiB`;
  const day = new Date().toISOString().slice(0, 10);
  return `${files} files, ${(contentBytes / 1e6).toFixed(0)} MB, ${rounds} rounds, ${processors}, ${day}`;
}
