import { createHash, randomBytes } from 'node:crypto';
import { constants, createWriteStream } from 'node:fs';
import { access, chmod, mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { errorText } from '../../../../shared/runtime/errors.ts';
import { execute } from '../child-process.ts';
import type { AgentSettings } from './settings.ts';

/** A program that can be executed. Its directory belongs to root: no job can write there. */
export type InstalledProgram = { directory: string; executable: string; version: string };

/** The program of the agent: of the image, of the configuration, or a newer one that the agent has fetched. */
export interface AgentProgram {
  /** The version of the configuration; `image` without one. */
  readonly configured: string;
  /**
   * @param updatedTo a version that the agent has fetched itself
   * @throws if no version can be executed
   */
  ensure(updatedTo: string | undefined, signal: AbortSignal): Promise<InstalledProgram>;
  /**
   * Keeps a version that the agent has fetched itself, for all later agents.
   *
   * @param fill puts the program into a folder that only root can read
   */
  adopt(version: string, fill: (folder: string) => Promise<void>): Promise<void>;
}

/** Waits between tries of a download, in milliseconds. */
const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 30_000;

/** Largest archive, in bytes; those of the providers have less than 300 MB. */
const MAX_BYTES = 2 * 1024 ** 3;

/**
 * @param executable path of the program below its directory
 */
export function agentProgram(
  { directory, program }: { directory: string } & Pick<AgentSettings, 'program'>,
  executable: string,
  log: (line: string) => void,
): AgentProgram {
  const folderOf = (version: string) => `${directory}-${version}`;

  async function at(folder: string, version: string): Promise<InstalledProgram | undefined> {
    const file = join(folder, executable);
    const isThere = await access(file, constants.X_OK).then(
      () => true,
      () => false,
    );
    return isThere ? { directory: folder, executable: file, version } : undefined;
  }

  /** Puts a complete folder in place in one step. */
  async function place(version: string, fill: (staging: string) => Promise<void>): Promise<void> {
    const [parent, prefix] = [dirname(directory), `.${basename(directory)}-`];
    // Of an aw-runner that was killed: some hundred megabytes each.
    for (const name of await readdir(parent).catch(() => []))
      if (name.startsWith(prefix)) await rm(join(parent, name), { recursive: true, force: true });
    const staging = join(parent, `${prefix}${randomBytes(6).toString('hex')}`);
    // Root only, until nothing in it can gain rights.
    await mkdir(staging, { recursive: true, mode: 0o700 });
    try {
      await fill(staging);
      await execute('chmod', ['-R', 'u-s,g-s,go-w', staging]);
      await chmod(staging, 0o755);
      await rm(folderOf(version), { recursive: true, force: true });
      await rename(staging, folderOf(version));
    } finally {
      await rm(staging, { recursive: true, force: true });
    }
  }

  async function install({ version, url, sha256 }: NonNullable<typeof program>, signal: AbortSignal) {
    await place(version, async (staging) => {
      const archive = join(staging, '.archive');
      await download(url, sha256, archive, signal);
      await unpack(archive, staging, executable, signal);
    });
    log(`agent: installed version ${version}`);
  }

  async function configured(signal: AbortSignal): Promise<InstalledProgram | undefined> {
    if (!program) return at(directory, 'image');
    const folder = folderOf(program.version);
    for (let wait = FIRST_WAIT_MS; ; wait = Math.min(LONGEST_WAIT_MS, wait * 2)) {
      const found = await at(folder, program.version);
      if (found) return found;
      try {
        await install(program, signal);
      } catch (error) {
        if (signal.aborted) throw error;
        log(`agent: version ${program.version} cannot be installed, trying again: ${errorText(error)}`);
        await sleep(wait, undefined, { signal });
      }
    }
  }

  return {
    configured: program?.version ?? 'image',
    async ensure(updatedTo, signal) {
      const newer = updatedTo === undefined ? undefined : await at(folderOf(updatedTo), updatedTo);
      const found = newer ?? (await configured(signal));
      if (found) return found;
      throw new Error(
        `${join(directory, executable)} is not there: build an image with the agent, or set a version to install`,
      );
    },
    async adopt(version, fill) {
      if (await at(folderOf(version), version)) return;
      await place(version, fill);
      log(`agent: version ${version}, which an agent has fetched, is kept for later agents`);
    },
  };
}

/** @throws if the bytes are not the expected ones */
async function download(url: string, sha256: string, file: string, signal: AbortSignal): Promise<void> {
  const response = await fetch(url, { signal });
  if (!response.ok || !response.body) throw new Error(`${url} answered ${response.status}`);
  const hash = createHash('sha256');
  let bytes = 0;
  const check = new Transform({
    transform(piece: Buffer, _encoding, done) {
      bytes += piece.length;
      hash.update(piece);
      done(bytes > MAX_BYTES ? new Error(`${url} has more than ${MAX_BYTES} bytes`) : null, piece);
    },
  });
  await pipeline(Readable.fromWeb(response.body), check, createWriteStream(file, { mode: 0o600 }), {
    signal,
  });
  const found = hash.digest('hex');
  if (found !== sha256)
    throw new Error(`${url} has the sha256 ${found}, and the configuration names ${sha256}`);
}

/** A tar archive as GNU tar detects it, or the program itself. */
async function unpack(
  archive: string,
  folder: string,
  executable: string,
  signal: AbortSignal,
): Promise<void> {
  const isTar = await execute('tar', ['-tf', archive], { signal }).then(
    () => true,
    () => false,
  );
  if (isTar) {
    await execute('tar', ['-xf', archive, '-C', folder, '--no-same-owner'], { signal });
    await rm(archive);
    await liftSingleFolder(folder, executable);
  } else {
    const file = join(folder, executable);
    await mkdir(dirname(file), { recursive: true });
    await rename(archive, file);
  }
  await chmod(join(folder, executable), 0o755);
}

/** Some archives have everything in one folder that is named after the version. */
async function liftSingleFolder(folder: string, executable: string): Promise<void> {
  const [only, ...others] = await readdir(folder);
  const isThere = await stat(join(folder, executable)).then(
    () => true,
    () => false,
  );
  if (isThere || only === undefined || others.length > 0) return;
  const inner = join(folder, only);
  for (const name of await readdir(inner)) await rename(join(inner, name), join(folder, name));
}
