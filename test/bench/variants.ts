import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';
import { bundleFunction } from '../../scripts/build/bundle.ts';

/**
 * The same function bundled in two ways: as this project does it, and as most do, with esbuild's defaults for Node, as an ES
 * module, with zod for valibot and the SDK's full credential chain.
 */
export async function buildVariants(root: string, folder: string, name: string) {
  await mkdir(folder, { recursive: true });
  const files = { ours: join(folder, `${name}.cjs`), usual: join(folder, `${name}.usual.mjs`) };
  await writeFile(files.ours, (await bundleFunction(root, name)).code);
  await build({
    absWorkingDir: root,
    entryPoints: [join('functions', name, 'handler.ts')],
    outfile: files.usual,
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'esm',
    logLevel: 'error',
    alias: { valibot: join(root, 'test/bench/valibot-on-zod.ts') },
    // What esbuild's users put there: dependencies in CommonJS, which its defaults prefer, ask for builtins by `require`.
    banner: {
      js: "import{createRequire as hearthRequire}from'node:module';const require=hearthRequire(import.meta.url);",
    },
  });
  return files;
}
