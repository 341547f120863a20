import { join } from 'node:path';
import { build } from 'esbuild';

/** The wrapper as one CommonJS file, which requires the bundle that stands beside it in the zip. */
export async function wrapperCode(root: string): Promise<Uint8Array> {
  const result = await build({
    absWorkingDir: root,
    entryPoints: [join(root, 'scripts/local/lambda-wrapper/main.ts')],
    bundle: true,
    write: false,
    platform: 'node',
    target: 'node24',
    format: 'cjs',
    logLevel: 'warning',
  });
  const [output] = result.outputFiles;
  if (!output) throw new Error('esbuild made no wrapper');
  return output.contents;
}
