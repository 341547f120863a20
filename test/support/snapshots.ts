import { execFileSync } from 'node:child_process';
import { hash } from 'node:crypto';
import { mkdirSync, realpathSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { S3Client } from '@aws-sdk/client-s3';
import type { Directories } from '../../infra/runner/src/snapshot/paths.ts';
import { removeEverything } from '../../infra/runner/src/snapshot/remove-everything.ts';
import { restoreSnapshot } from '../../infra/runner/src/snapshot/restore.ts';
import { type SaveResult, saveSnapshot } from '../../infra/runner/src/snapshot/save.ts';
import { manifestKey, parseSetKey, pointerKey } from '../../shared/snapshot/layout.ts';
import { emptyPointer, type Pointer, promote } from '../../shared/snapshot/pointer.ts';
import { localS3 } from './s3-client.ts';
import { type S3Server, startS3Server } from './s3-server.ts';
import { mountXfs, unmountBelow } from './xfs.ts';

export const BUCKET = 'b';
export const SET = 'default';

/** Snapshots, a bucket and instances with disks, for tests of the engine. */
export type World = {
  server: S3Server;
  s3: S3Client;
  folder: string;
  warnings: string[];
  pointer: Pointer;
  /** A runner's disk; with a size, a small one of its own. */
  instance(name: string, size?: string): Directories;
  restore(directories: Directories, signal?: AbortSignal): ReturnType<typeof restoreSnapshot>;
  save(directories: Directories): Promise<SaveResult>;
  /** What `warming` does with a sound snapshot. */
  makeCurrent(id: string): void;
  saveAndPromote(directories: Directories): Promise<SaveResult>;
  snapshots(): string[];
  close(): Promise<void>;
};

/** @param options.withDisk a disk for images; else instances are plain folders */
export async function startWorld({ withDisk = true, size = '30G' } = {}): Promise<World> {
  const server = await startS3Server();
  const s3 = localS3(server.url, { maxAttempts: 2 });
  const folder = realpathSync(await mkdtemp(join(tmpdir(), 'hearth-snapshots-')));
  const disk = join(folder, 'disk');
  mkdirSync(disk);
  const ends = withDisk ? [mountXfs(disk, size)] : [];
  const instances: Directories[] = [];
  // Ids have whole seconds; the tests are faster.
  let second = Date.parse('2026-11-23T03:00:00Z');
  const world: World = {
    server,
    s3,
    folder,
    warnings: [],
    pointer: emptyPointer(new Date(0)),
    instance(name, bytes) {
      const base = join(disk, name);
      if (bytes !== undefined) ends.push(mountXfs(base, bytes));
      mkdirSync(base, { recursive: true });
      const directories = {
        images: join(base, 'images'),
        warm: join(base, 'warm'),
        state: join(folder, 'state', name),
      };
      instances.push(directories);
      return directories;
    },
    restore: (directories, signal) =>
      restoreSnapshot({
        s3,
        bucket: BUCKET,
        set: SET,
        directories,
        warn: (line) => world.warnings.push(line),
        ...(signal && { signal }),
      }),
    save(directories) {
      second += 1000;
      const now = () => new Date(second);
      return saveSnapshot({ s3, bucket: BUCKET, set: SET, directories, toolVersion: '0', now });
    },
    makeCurrent(id) {
      const text = server.objects.get(manifestKey(SET, id))?.body ?? Buffer.alloc(0);
      const manifestSha256 = hash('sha256', text, 'hex');
      world.pointer = promote(world.pointer, { id, manifestSha256 }, new Date()) ?? world.pointer;
      server.put(pointerKey(SET), JSON.stringify(world.pointer));
    },
    async saveAndPromote(directories) {
      const saved = await world.save(directories);
      world.makeCurrent(saved.id);
      return saved;
    },
    snapshots: () =>
      [...server.objects.keys()].flatMap((key) => {
        const parsed = parseSetKey(key);
        return parsed?.kind === 'manifest' ? [parsed.id] : [];
      }),
    async close() {
      // What something holds fails the test, and the rest is removed all the same.
      const errors: unknown[] = [];
      for (const directories of instances)
        await removeEverything(directories).catch((error: unknown) => errors.push(error));
      for (const end of ends.reverse()) end();
      unmountBelow(folder);
      await rm(folder, { recursive: true, force: true });
      s3.destroy();
      await server.close();
      if (errors.length > 0) throw errors[0];
    },
  };
  return world;
}

/**
 * Compares two listings of trees.
 *
 * @throws with the first lines that only one of them has
 */
export function expectSame(found: string, expected: string, context = ''): void {
  if (found === expected) return;
  const [ours, theirs] = [found, expected].map((text) => new Set(text.split(/[\0\n]/))) as [
    Set<string>,
    Set<string>,
  ];
  const only = (sign: string, lines: Set<string>, other: Set<string>) =>
    [...lines].flatMap((line) => (other.has(line) ? [] : `${sign} ${line}`)).slice(0, 8);
  const lines = [...only('+', ours, theirs), ...only('-', theirs, ours)];
  throw new Error(`the trees differ ${context}\n${lines.join('\n')}`);
}

/** Every entry of a tree with all that a restore keeps, in one order: kind, owner, mode, times, attributes, links, content. */
export function listing(path: string): string {
  const facts = "find . -printf '%y %U:%G %m %n %i %T@ %C@ %s %l %p\\0' | LC_ALL=C sort -z";
  // The content of a huge sparse file is compared at its end.
  const content =
    'find . -type f -size +900M -exec tail -qc 4096 {} +; find . -type f -size -900M -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum --zero';
  const attributes = 'getfattr -R -h -d -m - . 2>/dev/null; getfacl -R -n -p . 2>/dev/null';
  return execFileSync('sh', ['-c', `${facts}; ${content}; ${attributes}`], {
    cwd: path,
    encoding: 'latin1',
    maxBuffer: 1e9,
  });
}
