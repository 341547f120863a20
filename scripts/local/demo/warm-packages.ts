import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Packages that the jobs of the demo need and that are for developers only. */
const TOOLS = /^node_modules\/(esbuild|@esbuild\/[^/]+)$/;

/**
 * The packages that the jobs of the demo need: those of `npm ci --omit=dev`, and the compiler of the functions. They are a fifth of
 * `node_modules`.
 *
 * @returns paths below the root, without packages of other platforms
 */
export async function warmPackages(root: string): Promise<string[]> {
  const { packages } = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { dev?: boolean }>;
  };
  return (
    Object.entries(packages)
      .filter(([path, { dev }]) => path !== '' && (!dev || TOOLS.test(path)))
      .map(([path]) => path)
      // A package within another one is part of it.
      .filter((path) => path.lastIndexOf('node_modules/') === 0 && existsSync(join(root, path)))
  );
}
