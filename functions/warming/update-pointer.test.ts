import { describe, expect, test } from 'vitest';
import { promote } from '../../shared/snapshot/pointer.ts';
import { updatePointer } from './pointer.ts';
import { fakeWarming, idOf } from './testing/fake-warming.ts';

describe('a step is computed anew', () => {
  test('from what somebody else has written meanwhile', async () => {
    const warming = fakeWarming();
    warming.setPointer({ current: idOf(20) });
    let reads = 0;
    const { read } = warming.store;
    warming.store.read = async (key) => {
      const found = await read(key);
      reads += 1;
      // Between our read and our write another invocation promotes a newer snapshot.
      if (reads === 1) warming.setPointer({ current: idOf(22), previous: [idOf(20)] });
      return found;
    };
    const moved = await updatePointer('default', warming.deps, (pointer, at) =>
      promote(pointer, { id: idOf(21), manifestSha256: 'a'.repeat(64) }, at),
    );
    expect(moved).toMatchObject({ changed: false, pointer: { current: { id: idOf(22) } } });
    expect(await warming.pointer()).toMatchObject({ current: idOf(22), previous: [idOf(20)] });
  });

  test('but not for ever', async () => {
    const warming = fakeWarming();
    warming.store.write = async () => undefined;
    const moving = updatePointer('default', warming.deps, (pointer, at) =>
      promote(pointer, { id: idOf(21), manifestSha256: 'a'.repeat(64) }, at),
    );
    await expect(moving).rejects.toMatchObject({ name: 'RetryableError', reason: 'pointer-contended' });
  });
});

test('a step that changes nothing writes nothing', async () => {
  const warming = fakeWarming();
  expect(await updatePointer('default', warming.deps, () => undefined)).toMatchObject({ changed: false });
  expect(warming.store.keys()).toEqual([]);
});
