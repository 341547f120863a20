import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Files } from './release-files.ts';

/** `bundles.json`: checksums as `infra/bundles.tf` reads them where the bundles come out of a bucket. */
export type BundleChecksums = {
  /** Hex, as sha256sum has it. */
  runner: { sha256: string };
  /** Base64, as Lambda has it. */
  functions: Record<string, { code_sha256: string }>;
};

/**
 * The built part of a release: zips, runner program, and `bundles.json` about them.
 *
 * @param dist what `npm run build` made
 */
export async function bundleFiles(dist: string): Promise<Files> {
  const zips = (await readdir(join(dist, 'functions'))).filter((file) => file.endsWith('.zip')).sort();
  const read = async (path: string) => [`dist/${path}`, await readFile(join(dist, path))] as const;
  const files = Object.fromEntries(
    await Promise.all(['aw-runner.mjs', ...zips.map((zip) => `functions/${zip}`)].map(read)),
  );
  const text = `${JSON.stringify(checksums(files), null, 2)}\n`;
  return { ...files, 'dist/bundles.json': new TextEncoder().encode(text) };
}

/** @param files with at least `dist/aw-runner.mjs` */
export function checksums(files: Files): BundleChecksums {
  const program = files['dist/aw-runner.mjs'];
  if (!program) throw new Error('dist has no aw-runner.mjs: run `npm run build`');
  const functions = Object.entries(files).flatMap(([path, bytes]) => {
    const name = /^dist\/functions\/(.+)\.zip$/.exec(path)?.[1];
    return name === undefined ? [] : [[name, { code_sha256: sha256(bytes).digest('base64') }] as const];
  });
  return { runner: { sha256: sha256(program).digest('hex') }, functions: Object.fromEntries(functions) };
}

function sha256(bytes: Uint8Array) {
  return createHash('sha256').update(bytes);
}
