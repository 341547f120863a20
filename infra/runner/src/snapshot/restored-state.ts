import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import * as v from 'valibot';
import { manifestSchema } from '../../../../shared/snapshot/format-1/manifest.ts';
import type { Paths } from './paths.ts';

/** The present content of the warm directory. A save builds on it. */
const restoredSchema = v.object({
  version: v.literal(1),
  set: v.string(),
  /** How the layers were restored. Only a mount separates changes. */
  mode: v.picklist(['mounted', 'extracted', 'plain']),
  /** The restored snapshot, if any. */
  manifest: v.nullable(manifestSchema),
});

export type Restored = v.InferOutput<typeof restoredSchema>;

/** Undefined if nothing was restored here, or if the record is unreadable: a save is full then. */
export async function readRestored(paths: Paths): Promise<Restored | undefined> {
  const text = await readFile(paths.restored, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  const result = v.safeParse(v.pipe(v.string(), v.parseJson(), restoredSchema), text);
  return result.success ? result.output : undefined;
}

/** Replaces the record atomically. */
export async function writeRestored(paths: Paths, restored: Restored): Promise<void> {
  await mkdir(dirname(paths.restored), { recursive: true });
  await writeFile(`${paths.restored}.new`, JSON.stringify(restored));
  await rename(`${paths.restored}.new`, paths.restored);
}

/** Called before the warm directory is changed: the record must not describe a tree that a killed program left half changed. */
export async function forgetRestored(paths: Paths): Promise<void> {
  await rm(paths.restored, { force: true });
}
