import { setImmediate as tick } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { framesKey, indexKey, manifestKey } from '../../shared/snapshot/layout.ts';
import { readManifest } from '../../shared/snapshot/records.ts';
import type { Listed, ObjectStore } from '../../shared/snapshot/store.ts';
import { fakeImage, fakeSnapshot, storeSnapshot } from '../../shared/snapshot/testing/fake-snapshot.ts';
import { evaluateSnapshot } from './promote-snapshot.ts';
import { prune } from './prune.ts';
import { type FakeWarming, fakeWarming, idOf, SET } from './testing/fake-warming.ts';

/** Work whose every call to the store waits until it is let on. */
type Stepped = {
  /** Lets it make so many calls, or as many as it has left. */
  go(calls: number): Promise<void>;
  calls(): number;
  isOver(): boolean;
};

function stepped(store: ObjectStore, work: (store: ObjectStore) => Promise<unknown>): Stepped {
  const waitingTurns: (() => void)[] = [];
  let calls = 0;
  let isOver = false;
  let failure: unknown;
  const turn = () =>
    new Promise<void>((resolve) => {
      waitingTurns.push(resolve);
    });
  const waiting: ObjectStore = {
    read: (key) => turn().then(() => store.read(key)),
    write: (key, ...rest) => turn().then(() => store.write(key, ...rest)),
    remove: (key, ...rest) => turn().then(() => store.remove(key, ...rest)),
    head: (key) => turn().then(() => store.head(key)),
    readRange: (key, ...rest) => turn().then(() => store.readRange(key, ...rest)),
    async *list(prefix) {
      await turn();
      const listed: Listed[] = [];
      for await (const entry of store.list(prefix)) listed.push(entry);
      yield* listed;
    },
  };
  work(waiting).then(
    () => {
      isOver = true;
    },
    (error) => {
      isOver = true;
      failure = error;
    },
  );
  return {
    async go(count) {
      // What resolves at once has gone as far as it can by then, to its next call or to its end.
      await tick();
      for (let made = 0; made < count && !isOver; made += 1) {
        waitingTurns.shift()?.();
        calls += 1;
        await tick();
      }
      if (failure !== undefined) throw failure;
    },
    calls: () => calls,
    isOver: () => isOver,
  };
}

/** Time limit, in milliseconds, of a test that tries every interleaving. */
const EXHAUSTIVE_MS = 60_000;

const OLD = idOf(10);
const OLDER = idOf(9);
const CURRENT = idOf(20);
const PREVIOUS = idOf(15);
const NEW = idOf(23, 3);
const keepTwo = { ...SET, keep: 2 };

/**
 * A set whose old snapshots are about to be pruned, and an instance that saves a new one on top of `parent`. Each snapshot has
 * frames of all those before it.
 */
function race(parent: string) {
  const warming = fakeWarming({ keep: 2 });
  const older = warming.save(OLDER, ['a', 'b', 'c', 'd', 'e', 'f']);
  const old = warming.save(OLD, ['a', 'b', 'c', 'd', 'e', 'of old'], { parent: older });
  const previous = warming.save(PREVIOUS, ['a', 'b', 'c', 'd', 'of previous', 'f'], { parent: older });
  const current = warming.save(CURRENT, ['a', 'b', 'c', 'of current', 'of previous', 'f'], {
    parent: previous,
  });
  warming.setPointer({ current: CURRENT, previous: [PREVIOUS] });
  const made = { [OLD]: old, [PREVIOUS]: previous, [CURRENT]: current }[parent];
  const pruning = stepped(warming.store, (store) => prune(keepTwo, { ...warming.deps, store }));
  const saving = stepped(warming.store, async (store) => {
    const image = fakeImage('new', ...[...(made?.image.values() ?? [])].slice(1));
    const snapshot = fakeSnapshot(SET.name, NEW, image, { parent: made, frameUnits: 1 });
    // Each object can appear at any moment: calls of their own come before them.
    await store.head('before the frames');
    storeSnapshot(warming.store, snapshot, warming.now());
    for (const key of [indexKey(SET.name, NEW), manifestKey(SET.name, NEW)]) await warming.store.remove(key);
    await store.head('before the index');
    warming.store.put(indexKey(SET.name, NEW), snapshot.index.bytes);
    await store.head('before the manifest');
    warming.store.put(manifestKey(SET.name, NEW), snapshot.text);
    const evaluate = () => evaluateSnapshot(keepTwo, NEW, { ...warming.deps, store });
    // As the inbox does: an object that vanished during its read causes a retry.
    await evaluate().catch((error) => {
      expect(error).toMatchObject({ name: 'RetryableError', reason: 'object-vanished' });
      return evaluate();
    });
  });
  return { warming, pruning, saving };
}

async function expectWhole(warming: FakeWarming, why: string): Promise<void> {
  const pointer = await warming.pointer();
  const keys = warming.store.keys();
  for (const id of [pointer?.current, ...(pointer?.previous ?? [])]) {
    if (!id) continue;
    const read = await readManifest(warming.store, SET.name, id);
    expect(read, `${why}: manifest of ${id}`).toBeDefined();
    expect(keys.includes(indexKey(SET.name, id)), `${why}: index of ${id}`).toBe(true);
    for (const object of read?.manifest.frames ?? []) {
      expect(keys.includes(framesKey(SET.name, object.id)), `${why}: an object of ${id}`).toBe(true);
    }
  }
}

describe.each([
  ['the current one', CURRENT, true],
  ['the previous one', PREVIOUS, true],
  ['one that is pruned', OLD, false],
  ['none', 'none', true],
])('a snapshot that appears while pruning is under way, with %s as its parent', (_, parent, isPromoted) => {
  test(
    'is whole if it is current, wherever either of the two is interrupted by the other',
    async () => {
      const alone = race(parent);
      await alone.pruning.go(1000);
      await alone.saving.go(1000);
      expect([alone.pruning.isOver(), alone.saving.isOver()]).toEqual([true, true]);
      let pruned = 0;
      for (let first = 0; first <= alone.pruning.calls() + 2; first += 1) {
        for (let second = 0; second <= alone.saving.calls() + 6; second += 1) {
          const { warming, pruning, saving } = race(parent);
          await pruning.go(first);
          await saving.go(second);
          await pruning.go(1000);
          await saving.go(1000);
          const why = `${first} calls of pruning, ${second} of saving`;
          await expectWhole(warming, why);
          // What the pointer names is never pruned, so nothing on top of it is at risk.
          expect((await warming.pointer())?.current === NEW, why).toBe(isPromoted);
          if (!warming.store.keys().includes(manifestKey(SET.name, OLD))) pruned += 1;
        }
      }
      expect(pruned).toBeGreaterThan(0);
    },
    EXHAUSTIVE_MS,
  );
});
