import { setImmediate as tick } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { framesKey, indexKey, manifestKey, pointerKey, snapshotTime } from '../../shared/snapshot/layout.ts';
import { emptyPointer } from '../../shared/snapshot/pointer.ts';
import { readManifest } from '../../shared/snapshot/records.ts';
import type { Listed, ObjectStore } from '../../shared/snapshot/store.ts';
import {
  type FakeSnapshot,
  fakeImage,
  fakeSnapshot,
  storeSnapshot,
} from '../../shared/snapshot/testing/fake-snapshot.ts';
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

const make = (id: string, texts: string[], parent?: FakeSnapshot) =>
  fakeSnapshot(SET.name, id, fakeImage(...texts), { parent, frameUnits: 1 });

// Each has frames of those before it.
const older = make(OLDER, ['a', 'b', 'c', 'd', 'e', 'f']);
const old = make(OLD, ['a', 'b', 'c', 'd', 'e', 'of old'], older);
const previous = make(PREVIOUS, ['a', 'b', 'c', 'd', 'of previous', 'f'], older);
const current = make(CURRENT, ['a', 'b', 'c', 'of current', 'of previous', 'f'], previous);

/** A set whose old snapshots are about to be pruned, and an instance that saves a new one. */
function race(added: FakeSnapshot) {
  const warming = fakeWarming({ keep: 2 });
  const { store } = warming;
  for (const each of [older, old, previous, current]) {
    storeSnapshot(store, each, snapshotTime(each.manifest.id));
  }
  const vouched = ({ manifest: { id }, manifestSha256 }: FakeSnapshot) => ({ id, manifestSha256 });
  const pointer = { ...emptyPointer(new Date(0)), current: vouched(current), previous: [vouched(previous)] };
  store.put(pointerKey(SET.name), JSON.stringify(pointer));
  const pruning = stepped(store, (one) => prune(keepTwo, { ...warming.deps, store: one }));
  const saving = stepped(store, async (one) => {
    // Each object can appear at any moment: calls of their own come before them.
    await one.head('before the frames');
    storeSnapshot(store, added, warming.now());
    for (const key of [indexKey(SET.name, NEW), manifestKey(SET.name, NEW)]) await store.remove(key);
    await one.head('before the index');
    store.put(indexKey(SET.name, NEW), added.index.bytes);
    await one.head('before the manifest');
    store.put(manifestKey(SET.name, NEW), added.text);
    const evaluate = () => evaluateSnapshot(keepTwo, NEW, { ...warming.deps, store: one });
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
  ['the current one', current, true],
  ['the previous one', previous, true],
  ['one that is pruned', old, false],
  ['none', undefined, true],
])('a snapshot that appears while pruning is under way, with %s as its parent', (_, parent, isPromoted) => {
  test(
    'is whole if it is current, wherever either of the two is interrupted by the other',
    async () => {
      const added = make(NEW, ['new', ...[...(parent?.image.values() ?? [])].slice(1)], parent);
      const alone = race(added);
      await alone.pruning.go(1000);
      await alone.saving.go(1000);
      expect([alone.pruning.isOver(), alone.saving.isOver()]).toEqual([true, true]);
      let pruned = 0;
      for (let first = 0; first <= alone.pruning.calls() + 2; first += 1) {
        for (let second = 0; second <= alone.saving.calls() + 6; second += 1) {
          const { warming, pruning, saving } = race(added);
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
