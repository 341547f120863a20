import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { readFunctionSpecs } from '../../shared/runtime/function-spec.ts';
import { deterministicZip } from '../build/zip.ts';
import { bundleFiles } from './bundles.ts';
import { releaseFiles } from './release-files.ts';

/** The archive's one folder, so that it can be unpacked beside a configuration: `source = "./hearth/infra"`. */
const FOLDER = 'hearth';

export type Release = { version: string; zip: Uint8Array };

/**
 * The release archive: module, function.json files and bundles, in the folders in which the module expects them. Its bytes depend
 * on theirs only.
 *
 * @param options.root the repository
 * @param options.dist what `npm run build` made of it
 * @throws if a function has no zip, or versions differ
 */
export async function packRelease(options: { root: string; dist: string }): Promise<Release> {
  const version = await commonVersion(options.root);
  const files = { ...(await releaseFiles(options.root)), ...(await bundleFiles(options.dist)) };
  for (const { name } of await readFunctionSpecs(options.root)) {
    if (!files[`dist/functions/${name}.zip`]) throw new Error(`${name} has no zip in ${options.dist}`);
  }
  const inFolder = Object.entries(files).map(([path, bytes]) => [`${FOLDER}/${path}`, bytes] as const);
  return { version, zip: deterministicZip(Object.fromEntries(inFolder)) };
}

/** The version that the package has and the module writes into the parameter tree. */
async function commonVersion(root: string): Promise<string> {
  const [ofPackage, ofModule] = await Promise.all(
    ['package.json', 'infra/version.json'].map(async (file) => {
      const schema = v.object({ version: v.pipe(v.string(), v.regex(/^\d+\.\d+\.\d+(-[\w.]+)?$/)) });
      return v.parse(schema, JSON.parse(await readFile(join(root, file), 'utf8'))).version;
    }),
  );
  if (ofPackage === undefined || ofPackage !== ofModule)
    throw new Error(`package.json has version ${ofPackage}, infra/version.json ${ofModule}`);
  return ofPackage;
}
