import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import * as v from 'valibot';
import type { Paths } from './paths.ts';

/** The present content of the warm directory. A save builds on it. */
const restoredSchema = v.object({
  version: v.literal(2),
  set: v.string(),
  /**
   * The warm directory is bound to a mounted tree, or holds files of its own; or there is an image for the clones of jobs, which is
   * complete, or served while it is fetched.
   */
  mode: v.picklist(['mounted', 'plain', 'image', 'lazy']),
  /** Name of the tree, if it is mounted. */
  tree: v.optional(v.string()),
  /** The snapshot whose image the tree is a clone of, if any. */
  snapshot: v.nullable(v.object({ id: v.string(), manifestSha256: v.string() })),
});

export type Restored = v.InferOutput<typeof restoredSchema>;

/** Undefined if nothing was restored here, or if the record is unreadable: a restore begins anew then. */
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
  await writeFile(`${paths.restored}.new`, JSON.stringify(restored));
  await rename(`${paths.restored}.new`, paths.restored);
}

/** Called before the warm directory is changed: the record must not describe a tree that a killed program left half changed. */
export async function forgetRestored(paths: Paths): Promise<void> {
  await rm(paths.restored, { force: true });
}
