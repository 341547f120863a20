import { randomBytes } from 'node:crypto';
import {
  appendFile,
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';

/** Larger files change rarely. */
const SMALL_BYTES = 1_000_000;

/** Of how many small files one is changed; `added` is the number of new files. */
type Changes = {
  /** Selects other files. */
  offset?: number;
  rewritten?: number;
  extended?: number;
  touched?: number;
  deleted?: number;
  added?: number;
};

/** The changes of one night in a warm tree: each night other files. */
export async function changeAsANight(tree: string, number: number): Promise<void> {
  await changeFiles(tree, {
    offset: number,
    rewritten: 100,
    extended: 400,
    touched: 15,
    deleted: 101,
    added: 800,
  });
  await changeInPlace(join(tree, 'database'), 64_000_000, 200);
}

/** Files are written again by a rename, extended, touched, deleted and new. */
async function changeFiles(tree: string, changes: Changes): Promise<void> {
  const { offset = 0, rewritten, extended, touched, deleted, added = 0 } = changes;
  const isDue = (index: number, of: number | undefined) => of !== undefined && index % of === offset % of;
  let index = 0;
  for (const entry of await readdir(tree, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isFile() || (await lstat(path)).size > SMALL_BYTES) continue;
    index += 1;
    if (isDue(index, rewritten)) {
      const content = await readFile(path);
      await writeFile(`${path}.new`, Buffer.concat([content, content]), { mode: (await stat(path)).mode });
      await rename(`${path}.new`, path);
    }
    if (isDue(index, extended)) await appendFile(path, randomBytes(100));
    if (isDue(index, touched)) await utimes(path, new Date(), new Date());
    if (isDue(index, deleted)) await rm(path);
  }
  if (added === 0) return;
  const folder = join(tree, `added-${offset}`);
  await mkdir(folder);
  for (let file = 0; file < added; file += 1) await writeFile(join(folder, `${file}`), randomBytes(5_000));
}

/** Random writes of 4 KiB within a file of random bytes, which is made if it does not exist. */
async function changeInPlace(file: string, bytes: number, writes: number): Promise<void> {
  const handle = await open(file, 'r+').catch(async () => {
    await writeFile(file, randomBytes(bytes));
    return open(file, 'r+');
  });
  try {
    for (let write = 0; write < writes; write += 1) {
      const block = Math.floor(Math.random() * Math.floor(bytes / 4096));
      await handle.write(randomBytes(4096), 0, 4096, block * 4096);
    }
  } finally {
    await handle.close();
  }
}
