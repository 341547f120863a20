import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { buildFunctions } from '../build/functions.ts';
import { buildRunner } from '../build/runner.ts';
import { packRelease } from './release.ts';

/** `npm run package`: `dist/hearth-<version>.zip`, out of bundles that are built for it. */
const root = resolve(import.meta.dirname, '../..');
const built = await mkdtemp(join(tmpdir(), 'hearth-package-'));
try {
  await buildFunctions({ root, outDir: built });
  await buildRunner(root, built);
  const { version, zip } = await packRelease({ root, dist: built });
  const file = join(root, `dist/hearth-${version}.zip`);
  await mkdir(join(root, 'dist'), { recursive: true });
  await writeFile(file, zip);
  console.log(`${createHash('sha256').update(zip).digest('hex')}  ${file}`);
} finally {
  await rm(built, { recursive: true, force: true });
}
