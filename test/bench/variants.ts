import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';
import { bundleFunction } from '../../scripts/build/bundle.ts';

/**
 * The same function bundled in two ways: as this project does it, and as most do, with esbuild's defaults for Node, as an ES
 * module, with zod and the SDK's full credential chain.
 *
 * The usual way keeps valibot for the schemas that the function has, and imports zod and builds an equivalent envelope schema
 * with it besides; the third file, the usual way without zod, shows how much of the difference that is.
 */
export async function buildVariants(root: string, folder: string, name: string) {
  await mkdir(folder, { recursive: true });
  const files = {
    ours: join(folder, `${name}.cjs`),
    usual: join(folder, `${name}.usual.mjs`),
    usualWithoutZod: join(folder, `${name}.plain.mjs`),
  };
  await writeFile(files.ours, (await bundleFunction(root, name)).code);
  await usualWay(root, name, files.usual, `import '${join(root, 'test/bench/zod-envelope.ts')}';`);
  await usualWay(root, name, files.usualWithoutZod, '');
  return files;
}

async function usualWay(root: string, name: string, outfile: string, before: string): Promise<void> {
  await build({
    stdin: {
      contents: `${before} export { handler } from '${join(root, 'functions', name, 'handler.ts')}';`,
      resolveDir: root,
      loader: 'ts',
    },
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'esm',
    logLevel: 'error',
    banner: {
      js: "import{createRequire as hearthRequire}from'node:module';const require=hearthRequire(import.meta.url);",
    },
  });
}
