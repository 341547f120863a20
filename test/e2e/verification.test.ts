import { randomBytes } from 'node:crypto';
import { appendFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { evaluateSnapshot } from '../../functions/warming/promote-snapshot.ts';
import { reconcileSet } from '../../functions/warming/reconcile-set.ts';
import { fakeWarming, SET as set } from '../../functions/warming/testing/fake-warming.ts';
import { verifySnapshot } from '../../functions/warming/verification.ts';
import { restoreSnapshot } from '../../infra/runner/src/snapshot/restore.ts';
import { framesKey, indexKey, manifestKey } from '../../shared/snapshot/layout.ts';
import { readPointer } from '../../shared/snapshot/records.ts';
import { s3Store } from '../../shared/snapshot/store.ts';
import { whyMissing } from '../support/packages.ts';
import { BUCKET, startWorld, type World } from '../support/snapshots.ts';

const reason = await whyMissing({ 'mkfs.xfs': 'xfsprogs', mke2fs: 'e2fsprogs' });
if (reason) console.warn(`the test of verification is skipped: ${reason}`);

// The runner saves and restores, and the function decides: the two agree on the records of real images.
describe.skipIf(reason !== undefined)('snapshots of real images', () => {
  let world: World;
  beforeEach(async () => {
    world = await startWorld();
  });
  afterEach(() => world.close());

  test('are promoted night after night, with shared frames, and a damaged one is quarantined', async () => {
    const store = s3Store(world.s3, BUCKET);
    const { deps } = fakeWarming();
    const evaluate = (id: string) =>
      evaluateSnapshot(set, id, { ...deps, store, clock: { now: () => new Date('2026-11-24T00:00:00Z') } });
    const current = async () => (await readPointer(store, set.name))?.pointer.current?.id;

    const ids: string[] = [];
    for (let night = 0; night < 6; night += 1) {
      const instance = world.instance(`night-${night}`);
      expect(await world.restore(instance)).toMatchObject({ outcome: night === 0 ? 'cold' : 'restored' });
      const folder = join(instance.warm, `folder-${night}`);
      mkdirSync(folder);
      for (let file = 0; file < 200; file += 1) {
        writeFileSync(join(folder, String(file)), randomBytes(2_000 + 97 * file));
      }
      if (night >= 2) {
        rmSync(join(instance.warm, `folder-${night - 2}`), { recursive: true });
        appendFileSync(join(instance.warm, `folder-${night - 1}/7`), 'more');
      }
      const { id, manifest } = await world.save(instance);
      expect(await evaluate(id)).toMatchObject({ outcome: 'done', detail: { current: id } });
      if (night > 0) expect(manifest.frames.length).toBeGreaterThan(1);
      ids.push(id);
    }
    expect(await current()).toBe(ids.at(-1));

    const instance = world.instance('last');
    await world.restore(instance);
    writeFileSync(join(instance.warm, 'more'), randomBytes(3_000_000));
    const { id } = await world.save(instance);
    const frames = world.server.objects.get(framesKey(set.name, id));
    if (!frames) throw new Error('the save has added no frames');
    const before = Buffer.from(frames.body);
    for (let at = 0; at < frames.body.length; at += 50_000)
      frames.body.writeUInt8(frames.body.readUInt8(at) ^ 1, at);
    const { pointer } = (await readPointer(store, set.name)) ?? {};
    if (!pointer) throw new Error('there is no pointer');
    expect(await verifySnapshot(store, set.name, id, pointer)).toMatchObject({
      verdict: 'broken',
      reason: expect.stringMatching(/another sha256/),
    });
    before.copy(frames.body);
    expect(await verifySnapshot(store, set.name, id, pointer)).toMatchObject({ verdict: 'sound' });
    frames.sha256 = `${Buffer.alloc(32).toString('base64')}-1`;
    expect(await evaluate(id)).toMatchObject({ detail: { quarantined: id } });
    expect(await current()).toBe(ids.at(-1));
  });

  // As if the policy of the bucket had been removed: `test/infra/complete/immutability.ts` shows that it denies all of this.
  test.each(['over it', 'after it was deleted'])(
    'that somebody replaces in place, %s, reach no runner, and the next check quarantines them',
    async (way) => {
      const store = s3Store(world.s3, BUCKET);
      const { deps } = fakeWarming();
      const now = () => new Date('2026-11-24T00:00:00Z');
      const real = { ...deps, store, clock: { now } };
      const ids: string[] = [];
      for (const night of ['first', 'second']) {
        const instance = world.instance(night);
        await world.restore(instance);
        writeFileSync(join(instance.warm, 'tool'), `echo honest ${night}`);
        const { id } = await world.save(instance);
        await evaluateSnapshot(set, id, real);
        ids.push(id);
      }
      // A sound snapshot of a stranger's content, under the keys of those two.
      const stranger = { ...world.instance('stranger') };
      await restoreSnapshot({ s3: world.s3, bucket: BUCKET, set: undefined, directories: stranger });
      writeFileSync(join(stranger.warm, 'tool'), 'echo EVIL');
      const evil = await world.save(stranger);
      const [frames, index] = [framesKey(set.name, evil.id), indexKey(set.name, evil.id)].map((key) =>
        world.server.objects.get(key),
      );
      if (!frames || !index) throw new Error('nothing was saved');
      for (const id of ids) {
        const [object] = evil.manifest.frames;
        const { startedFrom: _, ...manifest } = evil.manifest;
        const forged = JSON.stringify({ ...manifest, id, frames: [{ ...object, id }] });
        const keys = [framesKey(set.name, id), indexKey(set.name, id), manifestKey(set.name, id)];
        if (way !== 'over it') for (const key of keys) world.server.objects.delete(key);
        world.server.objects.set(keys[0] ?? '', { ...frames });
        world.server.objects.set(keys[1] ?? '', { ...index });
        world.server.put(keys[2] ?? '', forged);
      }
      await store.remove(manifestKey(set.name, evil.id));

      const runner = world.instance('runner');
      expect(await world.restore(runner)).toMatchObject({ outcome: 'cold', broken: { id: ids[1] } });
      expect(existsSync(join(runner.warm, 'tool'))).toBe(false);
      for (const id of ids)
        expect(await evaluateSnapshot(set, id, real)).toMatchObject({ reason: 'not-newer' });
      expect(await reconcileSet(set, real)).toMatchObject({ detail: { quarantined: ids, current: null } });
      for (const id of ids)
        expect(await evaluateSnapshot(set, id, real)).toMatchObject({ reason: 'quarantined' });
      expect((await readPointer(store, set.name))?.pointer).toMatchObject({ current: null, previous: [] });
    },
  );
});
