import { join } from 'node:path';
import { build } from 'esbuild';

/**
 * Bundles aw-runner as one file for Node 24, so that an image needs nothing but Node itself.
 *
 * @param root the repository
 * @param outDir usually `dist`
 * @returns path of the program
 */
export async function buildRunner(root: string, outDir: string): Promise<string> {
  return bundle(root, 'infra/runner/src/main.ts', join(outDir, 'aw-runner.mjs'));
}

/** Bundles aw-runner for the local cloud, which has no systemd. It is part of no release. */
export async function buildLocalRunner(root: string, outDir: string): Promise<string> {
  return bundle(root, 'scripts/local/runners/main.ts', join(outDir, 'local/aw-runner.mjs'));
}

async function bundle(root: string, entryPoint: string, outfile: string): Promise<string> {
  await build({
    absWorkingDir: root,
    entryPoints: [entryPoint],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'esm',
    mainFields: ['module', 'main'],
    minify: true,
    legalComments: 'none',
    logLevel: 'warning',
    // A CommonJS dependency loads built-in modules by `require`, which an ES module does not have.
    banner: {
      js: "#!/usr/bin/env node\nimport{createRequire}from'node:module';const require=createRequire(import.meta.url);",
    },
  });
  return outfile;
}
