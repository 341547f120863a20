import { describe, expect, test } from 'vitest';
import { readPointer } from '../../shared/snapshot/records.ts';
import type { FakeSnapshot } from '../../shared/snapshot/testing/fake-snapshot.ts';
import { message, outcomeOf } from '../../test/support/sqs.ts';
import { handleWarmingMessage } from './handle.ts';
import { evaluateSnapshot } from './promote-snapshot.ts';
import { reconcileSet } from './reconcile-set.ts';
import { revokeSnapshots } from './revoke-snapshots.ts';
import { type FakeWarming, fakeWarming, idOf, SET } from './testing/fake-warming.ts';

/** A lineage of nights: each snapshot is made from the one before it, and promoted. */
async function nights(...days: number[]): Promise<{ warming: FakeWarming; last: FakeSnapshot }> {
  const warming = fakeWarming();
  let last: FakeSnapshot | undefined;
  for (const day of days) {
    last = warming.save(idOf(day), ['base', `of ${day}`], last && { parent: last });
    expect(await evaluateSnapshot(SET, idOf(day), warming.deps)).toMatchObject({
      detail: { current: idOf(day) },
    });
  }
  // It is five in the morning of the 23rd.
  warming.pass(120);
  return { warming, last: last as FakeSnapshot };
}

const since = (day: number) => ({ since: new Date(Date.UTC(2026, 10, day)), reason: 'a bad dependency' });

describe('a revocation', () => {
  test('quarantines every snapshot since a moment, and the one before it is current', async () => {
    const { warming } = await nights(18, 19, 20, 21);
    expect(await revokeSnapshots(SET, since(20), warming.deps)).toEqual({
      outcome: 'done',
      detail: { revoked: 2, current: idOf(19) },
    });
    // An operator knows of it already.
    expect(warming.metrics).toEqual([]);
    expect(await warming.pointer()).toMatchObject({
      current: idOf(19),
      quarantined: [{ id: idOf(21), reason: 'revoked by an operator: a bad dependency' }, { id: idOf(20) }],
    });
    // No event and no check brings one back.
    for (const day of [20, 21]) {
      expect(await evaluateSnapshot(SET, idOf(day), warming.deps)).toMatchObject({ reason: 'quarantined' });
    }
    warming.pass(20);
    expect(await reconcileSet(SET, warming.deps)).toMatchObject({ detail: { current: idOf(19) } });
    expect(await revokeSnapshots(SET, since(20), warming.deps)).toMatchObject({
      reason: 'nothing-to-revoke',
    });
  });

  test('takes a snapshot along whose instance has given it an earlier time', async () => {
    const { warming, last } = await nights(18, 19);
    // Saved on the 23rd, by an instance that wrote the time of the 20th into the id.
    const manifest = warming.save(idOf(20), ['base', 'evil'], { parent: last });
    const key = `sets/default/snapshots/${idOf(20)}/manifest.json`;
    warming.store.put(key, Buffer.from(manifest.text), warming.now());
    await evaluateSnapshot(SET, idOf(20), warming.deps);
    expect((await warming.pointer())?.current).toBe(idOf(20));
    expect(await revokeSnapshots(SET, since(23), warming.deps)).toMatchObject({
      detail: { revoked: 1, current: idOf(19) },
    });
  });

  test('of all that the pointer names leaves none, and the next snapshot is accepted if it started empty', async () => {
    const { warming, last } = await nights(21, 22);
    await revokeSnapshots(SET, since(1), warming.deps);
    expect((await warming.pointer())?.current).toBeNull();
    warming.save(idOf(23, 4), ['base', 'poison'], { parent: last });
    expect(await evaluateSnapshot(SET, idOf(23, 4), warming.deps)).toMatchObject({
      detail: { quarantined: idOf(23, 4), reason: `it was made from ${idOf(22)}, which is quarantined` },
    });
    warming.save(idOf(23, 5), ['clean']);
    expect(await evaluateSnapshot(SET, idOf(23, 5), warming.deps)).toMatchObject({
      detail: { current: idOf(23, 5) },
    });
  });

  test('reaches a run that goes on with revoked content, also if it sends the whole image', async () => {
    const { warming } = await nights(21, 22);
    await revokeSnapshots(SET, since(22), warming.deps);
    warming.save(idOf(23, 4), ['base', 'poison'], { manifest: { startedFrom: idOf(22) } });
    expect(await evaluateSnapshot(SET, idOf(23, 4), warming.deps)).toMatchObject({
      detail: { quarantined: idOf(23, 4) },
    });
    expect((await warming.pointer())?.current).toBe(idOf(21));
  });

  test('during the verification of such a snapshot wins', async () => {
    const { warming } = await nights(21, 22);
    warming.save(idOf(23, 4), ['base', 'poison'], { manifest: { startedFrom: idOf(22) } });
    const { readRange } = warming.store;
    warming.store.readRange = async (...range) => {
      warming.store.readRange = readRange;
      await revokeSnapshots(SET, since(22), warming.deps);
      return readRange(...range);
    };
    // The snapshot itself is older than the moment of the request, and in the list.
    await evaluateSnapshot(SET, idOf(23, 4), warming.deps).catch(() => undefined);
    expect((await warming.pointer())?.current).toBe(idOf(21));
  });

  test('is a message that an operator sends to the inbox', async () => {
    const { warming } = await nights(21, 22);
    const sent = (source: string, change: object = {}) => {
      const detail = { set: 'default', since: '2026-11-22T00:00:00Z', ...change };
      const envelope = {
        id: 'by-hand',
        account: '123456789012',
        region: 'us-west-2',
        time: '2026-11-23T03:00:00Z',
      };
      const body = { ...envelope, source, 'detail-type': 'Snapshots Revoked', detail };
      return outcomeOf(handleWarmingMessage(message(body, { sentAt: warming.now() }), warming.deps));
    };
    expect(await sent('aw.schedule')).toMatchObject({ outcome: 'dead', reason: 'unknown-event' });
    expect(await sent('aw.operator', { since: 'yesterday' })).toMatchObject({ reason: 'malformed-detail' });
    expect(await sent('aw.operator', { set: 'other' })).toMatchObject({ reason: 'unknown-set' });
    expect(await sent('aw.operator')).toMatchObject({ detail: { revoked: 1, current: idOf(21) } });
  });
});

test('the generation of a snapshot counts the runs since an empty tree', async () => {
  const { warming } = await nights(20, 21, 22);
  const generations = async () => {
    const { pointer } = (await readPointer(warming.store, 'default')) ?? {};
    return [pointer?.current, ...(pointer?.previous ?? [])].map((each) => each?.generation);
  };
  expect(await generations()).toEqual([2, 1, 0]);
  // A whole image with the content of the one before it.
  warming.save(idOf(23, 4), ['whole'], { manifest: { startedFrom: idOf(22) } });
  await evaluateSnapshot(SET, idOf(23, 4), warming.deps);
  expect((await generations())[0]).toBe(3);
  await revokeSnapshots(SET, since(22), warming.deps);
  expect((await generations())[0]).toBe(1);
  warming.save(idOf(23, 5), ['rebuilt']);
  await evaluateSnapshot(SET, idOf(23, 5), warming.deps);
  expect((await generations())[0]).toBe(0);
});
