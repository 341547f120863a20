import { createHash } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readFunctionSpecs } from '../../shared/runtime/function-spec.ts';
import { bundleFunction } from './bundle.ts';
import { deterministicZip } from './zip.ts';

/** The result of the build of one function. */
export type BuiltFunction = { name: string; file: string; bytes: number; sha256: string };

/**
 * Builds every function of the repository: `<outDir>/functions/<name>.zip` with `index.js` in it, and esbuild's
 * metafile beside it, which tests read.
 *
 * @param options.root the repository
 * @param options.outDir usually `dist`; its `functions` folder is replaced
 */
export async function buildFunctions(options: { root: string; outDir: string }): Promise<BuiltFunction[]> {
  const folder = join(options.outDir, 'functions');
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const built: BuiltFunction[] = [];
  for (const { name } of await readFunctionSpecs(options.root)) {
    const { code, metafile } = await bundleFunction(options.root, name);
    const zip = deterministicZip({ 'index.js': code });
    await writeFile(join(folder, `${name}.zip`), zip);
    await writeFile(join(folder, `${name}.meta.json`), JSON.stringify(metafile));
    built.push({
      name,
      file: `functions/${name}.zip`,
      bytes: zip.length,
      sha256: createHash('sha256').update(zip).digest('hex'),
    });
  }
  return built;
}
