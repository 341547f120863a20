import { join } from 'node:path';
import { build } from 'esbuild';

/**
 * Bundles aw-runner as one file for Node 24: nothing has to be installed on an image but Node itself.
 *
 * @param root the repository
 * @param outDir usually `dist`
 * @returns path of the program
 */
export async function buildRunner(root: string, outDir: string): Promise<string> {
  const outfile = join(outDir, 'aw-runner.mjs');
  await build({
    absWorkingDir: root,
    entryPoints: ['infra/runner/src/main.ts'],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'esm',
    mainFields: ['module', 'main'],
    minify: true,
    legalComments: 'none',
    logLevel: 'warning',
    // A dependency in CommonJS asks for builtins by `require`, which an ES module does not have by itself.
    banner: {
      js: "#!/usr/bin/env node\nimport{createRequire}from'node:module';const require=createRequire(import.meta.url);",
    },
  });
  return outfile;
}
