import { execFileSync, spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { removeEverything } from '../../infra/runner/src/snapshot/clean-up.ts';
import { isWarm } from '../../infra/runner/src/snapshot/is-warm.ts';
import type { Directories } from '../../infra/runner/src/snapshot/paths.ts';
import { emptyPointer, promote } from '../../shared/snapshot/format-1/pointer.ts';
import { verifySnapshot } from '../../shared/snapshot/format-1/verify.ts';
import { parseSetKey, pointerKey } from '../../shared/snapshot/layout.ts';
import { s3Store } from '../../shared/snapshot/store.ts';
import { seeded } from '../support/random.ts';
import { runnerConfig } from '../support/runner-config.ts';
import { localS3 } from '../support/s3-client.ts';
import { type S3Server, startS3Server } from '../support/s3-server.ts';

const isRoot = process.getuid?.() === 0;
const root = resolve(import.meta.dirname, '../..');
const node = join(root, 'node_modules/.bin/node');
const program = join(root, 'dist/aw-runner.mjs');
const KILLS = 20;
const chance = seeded();

let server: S3Server;
let folder: string;
let directories: Directories;
let config: string;

beforeEach(async () => {
  server = await startS3Server();
  folder = await mkdtemp(join(tmpdir(), 'hearth-sigkill-'));
  directories = { layers: join(folder, 'layers'), warm: join(folder, 'warm'), state: join(folder, 'state') };
  config = join(folder, 'config.json');
  writeFileSync(config, runnerConfig(folder, { reportsUrl: server.url, warmingSet: 'default' }));
});

afterEach(async () => {
  await removeEverything(directories);
  await rm(folder, { recursive: true, force: true });
  await server.close();
});

/** Runs `aw-runner snapshot <what>`; SIGKILL after so many milliseconds, if it has not ended by then. */
async function snapshot(what: 'save' | 'restore', killAfter?: number) {
  const child = spawn(node, [program, '--config', config, 'snapshot', what, '--json'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    // A process group of its own, since mksquashfs ends too when an instance loses its power.
    detached: true,
    env: {
      ...process.env,
      AWS_ENDPOINT_URL: server.url,
      AWS_ACCESS_KEY_ID: 'test',
      AWS_SECRET_ACCESS_KEY: 'test',
    },
  });
  let output = '';
  child.stdout.on('data', (data) => (output += data));
  child.stderr.on('data', (data) => (output += data));
  const ended = new Promise<number | null>((done) => child.once('close', done));
  if (killAfter !== undefined) {
    await Promise.race([ended, sleep(killAfter)]);
    if (child.exitCode === null && child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
  }
  return { code: await ended, output };
}

const client = () => localS3(server.url);

const snapshots = () =>
  [...server.objects.keys()].flatMap((key) => {
    const parsed = parseSetKey(key);
    return parsed?.kind === 'manifest' ? [parsed.id] : [];
  });

function makeCurrent(id: string): void {
  const at = new Date();
  server.put(pointerKey('default'), JSON.stringify(promote(emptyPointer(at), id, at)));
}

const mounts = () =>
  readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .flatMap((line) => line.split(' ')[1] ?? [])
    .filter((path) => path.startsWith(folder))
    .map((path) => path.slice(folder.length + 1).replace(/[0-9a-f]{64}/, 'LAYER'));

/** Every file of a tree with its sha256, in one order. */
const listing = (path: string) =>
  execFileSync('sh', ['-c', 'find . -type f -print0 | sort -z | xargs -0 sha256sum'], {
    cwd: path,
  }).toString();

describe.skipIf(!isRoot)(`SIGKILL at ${KILLS} random moments (HEARTH_SEED=${chance.seed})`, () => {
  test('of a save: each visible snapshot is sound, and the next save succeeds', async () => {
    await mkdir(directories.layers, { recursive: true });
    expect((await snapshot('restore')).code).toBe(1);
    await cp(join(root, 'node_modules/typescript'), join(directories.warm, 'typescript'), {
      recursive: true,
    });
    await cp(join(root, 'node_modules/@aws-sdk'), join(directories.warm, '@aws-sdk'), { recursive: true });
    const began = performance.now();
    expect(await snapshot('save')).toMatchObject({ code: 0 });
    const whole = performance.now() - began;
    makeCurrent(snapshots()[0] ?? '');
    expect((await snapshot('restore')).code).toBe(0);

    let killed = 0;
    for (let kill = 0; kill < KILLS; kill += 1) {
      // Something new each time, some of it over the layers below, so that every step of a save has work to do.
      await writeFile(join(directories.warm, `new-${kill}`), Buffer.alloc(2_000_000, chance.next()));
      await rm(join(directories.warm, '@aws-sdk', `client-${kill}`), { recursive: true, force: true });
      const { code } = await snapshot('save', chance.next() * whole);
      if (code === null) killed += 1;
      for (const id of snapshots()) {
        const verdict = await verifySnapshot(s3Store(client(), 'b'), 'default', id, { now: Date.now });
        expect(verdict, `seed ${chance.seed}, kill ${kill}`).toMatchObject({ verdict: 'sound' });
      }
    }
    expect(killed, 'saves that were killed in the middle').toBeGreaterThan(KILLS / 4);

    const before = listing(directories.warm);
    const known = new Set(snapshots());
    expect(await snapshot('save')).toMatchObject({ code: 0 });
    const [last = ''] = snapshots().filter((id) => !known.has(id));
    expect(mounts().sort()).toEqual(['layers/mnt/LAYER', 'warm']);
    expect(existsSync(`${directories.warm}.overlay/packed.sqfs`)).toBe(false);
    await removeEverything(directories);
    makeCurrent(last);
    expect((await snapshot('restore')).code).toBe(0);
    expect(listing(directories.warm)).toBe(before);
  });

  test('of a restore: the next one continues, and no mount exists twice', async () => {
    await mkdir(directories.layers, { recursive: true });
    await snapshot('restore');
    await cp(join(root, 'node_modules/typescript'), join(directories.warm, 'typescript'), {
      recursive: true,
    });
    const expected = listing(directories.warm);
    await snapshot('save');
    makeCurrent(snapshots()[0] ?? '');
    // Slow enough that most kills hit the download, and many requests enough that some of them hit between two.
    server.fault = ({ range }) => (range ? { delayMs: 5 + chance.next() * 40 } : undefined);
    await removeEverything(directories);
    const began = performance.now();
    expect(await snapshot('restore')).toMatchObject({ code: 0 });
    const whole = performance.now() - began;

    let killed = 0;
    for (let kill = 0; kill < KILLS; kill += 1) {
      if (kill % 5 === 0) await removeEverything(directories);
      const { code } = await snapshot('restore', chance.next() * whole);
      if (code === null) killed += 1;
      // Only a complete tree counts as warm.
      if (await isWarm(directories))
        expect(listing(directories.warm), `seed ${chance.seed}, kill ${kill}`).toBe(expected);
    }
    expect(killed, 'restores that were killed in the middle').toBeGreaterThan(KILLS / 4);
    expect(await snapshot('restore')).toMatchObject({
      code: 0,
      output: expect.stringContaining('"restored"'),
    });
    expect(listing(directories.warm)).toBe(expected);
    expect(mounts().sort()).toEqual(['layers/mnt/LAYER', 'warm']);
  });
});
