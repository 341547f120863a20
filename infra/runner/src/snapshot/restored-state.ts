import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import * as v from 'valibot';
import { manifestSchema } from '../../../../shared/snapshot/manifest.ts';
import type { Paths } from './paths.ts';

/** What the warm directory shows at the moment; a save builds on it. */
const restoredSchema = v.object({
  version: v.literal(1),
  set: v.string(),
  /** How the layers got there. Only a mount keeps what changed apart. */
  mode: v.picklist(['mounted', 'extracted', 'plain']),
  /** The snapshot below, if any. */
  manifest: v.nullable(manifestSchema),
});

export type Restored = v.InferOutput<typeof restoredSchema>;

/** Undefined if nothing was restored here, or if what says so cannot be read: then nothing is built on it. */
export async function readRestored(paths: Paths): Promise<Restored | undefined> {
  const text = await readFile(paths.restored, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  const result = v.safeParse(v.pipe(v.string(), v.parseJson(), restoredSchema), text);
  return result.success ? result.output : undefined;
}

/** Written whole or not at all. */
export async function writeRestored(paths: Paths, restored: Restored): Promise<void> {
  await mkdir(dirname(paths.restored), { recursive: true });
  await writeFile(`${paths.restored}.new`, JSON.stringify(restored));
  await rename(`${paths.restored}.new`, paths.restored);
}

/** Before the warm directory is changed: a program that is killed half-way must not take the new tree for the old one. */
export async function forgetRestored(paths: Paths): Promise<void> {
  await rm(paths.restored, { force: true });
}
