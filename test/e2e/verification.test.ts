import { randomBytes } from 'node:crypto';
import { appendFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { evaluateSnapshot } from '../../functions/warming/promote-snapshot.ts';
import { fakeWarming, SET as set } from '../../functions/warming/testing/fake-warming.ts';
import { verifySnapshot } from '../../functions/warming/verification.ts';
import { framesKey } from '../../shared/snapshot/layout.ts';
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
});
