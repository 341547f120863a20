import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { liveRuns, runFolder } from './cleanup/run-folder.ts';

/** What another program needs to use a running cloud; lies in its run folder as `cloud.json`. */
const schema = v.object({
  url: v.string(),
  account: v.string(),
  region: v.string(),
  prefix: v.string(),
  bucket: v.string(),
  /** The operator's access key. */
  accessKeyId: v.string(),
  secretAccessKey: v.string(),
});

export type Descriptor = v.InferOutput<typeof schema>;

/**
 * Opens this process's cloud to other programs of this machine.
 *
 * @param root the repository
 */
export async function writeDescriptor(root: string, descriptor: Descriptor): Promise<void> {
  const file = join(runFolder(root), 'cloud.json');
  await writeFile(file, JSON.stringify(descriptor, undefined, 2), { mode: 0o600 });
}

/** The newest cloud of this repository that is open to other programs, if there is one. */
export async function findRunningCloud(root: string): Promise<Descriptor | undefined> {
  const open = (await liveRuns(root)).map((folder) => join(folder, 'cloud.json')).filter(existsSync);
  const newest = open.at(-1);
  return newest === undefined ? undefined : v.parse(schema, JSON.parse(await readFile(newest, 'utf8')));
}
