import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { cp, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Directories } from '../../infra/runner/src/snapshot/paths.ts';
import { removeEverything } from '../../infra/runner/src/snapshot/remove-everything.ts';
import { isWarm } from '../../infra/runner/src/snapshot/restore.ts';
import { verifyContent } from '../../infra/runner/src/snapshot/verify-content.ts';
import { whyMissing } from '../support/packages.ts';
import { seeded } from '../support/random.ts';
import { BUCKET, expectSame, listing, SET, startWorld, type World } from '../support/snapshots.ts';
import { loopsBelow, mountsBelow } from '../support/xfs.ts';

const reason = await whyMissing({
  'mkfs.xfs': 'xfsprogs',
  mke2fs: 'e2fsprogs',
  setfacl: 'acl',
  setfattr: 'attr',
});
if (reason) console.warn(`the tests of killed saves and restores are skipped: ${reason}`);

const root = resolve(import.meta.dirname, '../..');
const KILLS = 20;
const chance = seeded();

describe.skipIf(reason !== undefined)(
  `SIGKILL at ${KILLS} random moments (HEARTH_SEED=${chance.seed})`,
  () => {
    let world: World;
    let directories: Directories;
    beforeEach(async () => {
      world = await startWorld();
      directories = world.instance('runner');
    });
    afterEach(() => world.close());

    /** Runs the program of an instance, and kills it and all that it has started, as when an instance loses its power. */
    async function program(
      what: string,
      killAfter?: number,
    ): Promise<{ code: number | null; output: string }> {
      const config = join(world.folder, 'config.json');
      await writeFile(config, JSON.stringify(runnerConfig()));
      const argv = ['--config', config, 'snapshot', what, '--json'];
      const child = spawn(process.execPath, [join(root, 'infra/runner/src/main.ts'), ...argv], {
        stdio: ['ignore', 'pipe', 'pipe'],
        detached: true,
        env: {
          ...process.env,
          AWS_ENDPOINT_URL: world.server.url,
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

    const runnerConfig = () => ({
      version: 1,
      region: 'us-east-1',
      bucket: BUCKET,
      reportsUrl: world.server.url,
      group: 'gha/warm',
      autoScalingGroup: 'aw-gha-warm',
      warmingSet: SET,
      directories,
      agent: { driver: 'gha' },
    });

    /** One tree, mounted and bound, on one loop device; and no file of anything that was interrupted. */
    function expectClean(): void {
      const points = mountsBelow(join(world.folder, 'disk/runner')).map((point) =>
        point.replace(/\d+$/, 'N'),
      );
      expect(points.sort()).toEqual([join(directories.images, 'trees/N'), directories.warm]);
      expect(loopsBelow(join(world.folder, 'disk/runner'))).toHaveLength(1);
      expect(readdirSync(join(directories.images, 'trees'))).toHaveLength(2);
      const bases = readdirSync(join(directories.images, 'base')).map((name) => name.replace(/^[^.]*/, ''));
      expect(bases.sort()).toEqual(['.img', '.index', '.json']);
    }

    async function warmTree(): Promise<void> {
      expect((await program('restore')).code).toBe(1);
      for (const name of ['@aws-sdk', 'valibot']) {
        await cp(join(root, 'node_modules', name), join(directories.warm, name), { recursive: true });
      }
    }

    test('of a save: each visible snapshot is sound, the tree keeps its files, and the next save succeeds', async () => {
      await warmTree();
      let began = performance.now();
      expect(await program('save')).toMatchObject({ code: 0 });
      // Of the last save that was not killed: the computer is faster at some times than at others.
      let whole = performance.now() - began;
      world.makeCurrent(world.snapshots()[0] ?? '');
      let killed = 0;
      for (let kill = 0; kill < KILLS; kill += 1) {
        // A save that was killed can leave the tree unmounted; aw-runner restores at each of its starts.
        expect((await program('restore')).code, `seed ${chance.seed}, kill ${kill}`).toBe(0);
        const known = new Set(world.snapshots());
        await writeFile(join(directories.warm, `new-${kill}`), Buffer.alloc(2_000_000, chance.next()));
        await rm(join(directories.warm, '@aws-sdk', `client-${kill}`), { recursive: true, force: true });
        const expected = listing(directories.warm);
        began = performance.now();
        const { code } = await program('save', chance.next() * whole);
        if (code === null) killed += 1;
        else whole = performance.now() - began;
        for (const id of world.snapshots().filter((each) => !known.has(each))) {
          const problem = await verifyContent({ s3: world.s3, bucket: BUCKET, set: SET, id });
          expect(problem, `seed ${chance.seed}, kill ${kill}`).toBeUndefined();
        }
        expect((await program('restore')).code).toBe(0);
        expectSame(listing(directories.warm), expected, `seed ${chance.seed}, kill ${kill}`);
      }
      expect(killed, 'saves that were killed in the middle').toBeGreaterThan(KILLS / 4);

      const before = listing(directories.warm);
      const known = new Set(world.snapshots());
      expect(await program('save')).toMatchObject({ code: 0 });
      expectClean();
      const [last = ''] = world.snapshots().filter((id) => !known.has(id));
      world.makeCurrent(last);
      const other = world.instance('other');
      expect(await world.restore(other)).toMatchObject({ outcome: 'restored', id: last });
      expectSame(listing(other.warm), before);
    });

    test('of a restore and its clone: the next one continues, and nothing exists twice', async () => {
      await warmTree();
      expect(await program('save')).toMatchObject({ code: 0 });
      world.makeCurrent(world.snapshots()[0] ?? '');
      const expected = listing(directories.warm);
      // Slow enough that many kills hit the download, and many requests enough that some of them hit between two.
      world.server.fault = ({ range }) => (range ? { delayMs: 5 + chance.next() * 40 } : undefined);
      await removeEverything(directories);
      let began = performance.now();
      expect(await program('restore')).toMatchObject({ code: 0 });
      // Of the last restore that was not killed, and of one that has nothing to do: the computer is faster at some times than at others.
      const lasts = { whole: performance.now() - began, idle: performance.now() - began };

      let killed = 0;
      let resumed = 0;
      const size = world.server.objects.size;
      for (let kill = 0; kill < KILLS; kill += 1) {
        if (kill % 3 === 0) await removeEverything(directories);
        const kind = (await isWarm(directories)) ? 'idle' : 'whole';
        began = performance.now();
        const { code, output } = await program('restore', chance.next() * lasts[kind]);
        if (code === null) killed += 1;
        else lasts[kind] = performance.now() - began;
        if (
          existsSync(join(directories.images, 'base')) &&
          readdirSync(join(directories.images, 'base')).some((name) => name.endsWith('.frames'))
        )
          resumed += 1;
        // Only a complete tree counts as warm.
        if (await isWarm(directories)) {
          expectSame(listing(directories.warm), expected, `seed ${chance.seed}, kill ${kill}: ${output}`);
        }
      }
      expect(world.server.objects.size).toBe(size);
      expect(killed, 'restores that were killed in the middle').toBeGreaterThan(KILLS / 4);
      console.log(`${killed} of ${KILLS} restores were killed, ${resumed} of them in the download`);
      expect(await program('restore')).toMatchObject({
        code: 0,
        output: expect.stringContaining('"restored"'),
      });
      expectSame(listing(directories.warm), expected);
      expectClean();
    });

    test('of a restore that moves to another snapshot: the warm directory has the one or the other, completely', async () => {
      await warmTree();
      expect(await program('save')).toMatchObject({ code: 0 });
      world.makeCurrent(world.snapshots()[0] ?? '');
      const old = listing(directories.warm);
      const maker = world.instance('maker');
      await world.restore(maker);
      await writeFile(join(maker.warm, 'new'), Buffer.alloc(3_000_000, 'x'));
      await rm(join(maker.warm, 'valibot'), { recursive: true });
      const next = await world.save(maker);
      const fresh = listing(maker.warm);
      const pointers = [world.pointer];
      world.makeCurrent(next.id);
      pointers.push(world.pointer);
      for (let kill = 0; kill < KILLS; kill += 1) {
        const target = pointers[kill % 2];
        world.server.put(`sets/${SET}/pointer.json`, JSON.stringify(target));
        await program('restore', 150 + chance.next() * 500);
        if (await isWarm(directories)) expect([old, fresh]).toContain(listing(directories.warm));
        expect((await program('restore')).code).toBe(0);
        expectSame(
          listing(directories.warm),
          kill % 2 === 0 ? old : fresh,
          `seed ${chance.seed}, kill ${kill}`,
        );
        expectClean();
      }
    });
  },
);
