import { setImmediate as tick } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { readManifest } from '../../shared/snapshot/format-1/records.ts';
import { layerKey } from '../../shared/snapshot/layout.ts';
import type { Listed, ObjectStore } from '../../shared/snapshot/store.ts';
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
  let letOn: (() => void) | undefined;
  let calls = 0;
  let isOver = false;
  let failure: unknown;
  const turn = () =>
    new Promise<void>((resolve) => {
      letOn = resolve;
    });
  const waiting: ObjectStore = {
    read: (key) => turn().then(() => store.read(key)),
    write: (key, ...rest) => turn().then(() => store.write(key, ...rest)),
    remove: (key, ...rest) => turn().then(() => store.remove(key, ...rest)),
    size: (key) => turn().then(() => store.size(key)),
    checksum: (key) => turn().then(() => store.checksum(key)),
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
        letOn?.();
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
const CURRENT = idOf(20);
const NEW = idOf(23, 3);
const keepOne = { ...SET, keep: 1 };

/** A set whose old snapshot is about to be pruned, and an instance that saves a new one on top of `inherited`. */
function race(inherited: readonly string[]) {
  const warming = fakeWarming({ keep: 1 });
  warming.save(OLD, ['of both', 'of old']);
  warming.save(CURRENT, ['of both', 'of current']);
  warming.setPointer({ current: CURRENT });
  const pruning = stepped(warming.store, (store) => prune(keepOne, { ...warming.deps, store }));
  const saving = stepped(warming.store, async (store) => {
    // A call of its own, so that the manifest can appear at any moment.
    await store.size('before the manifest');
    warming.save(NEW, [...inherited, 'new']);
    const evaluate = () => evaluateSnapshot(keepOne, NEW, { ...warming.deps, store });
    // As the inbox does: a layer that vanished during its read causes a retry.
    await evaluate().catch((error) => {
      expect(error).toMatchObject({ name: 'RetryableError', reason: 'layer-vanished' });
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
    const manifest = await readManifest(warming.store, SET.name, id);
    expect(manifest, `${why}: manifest of ${id}`).toBeDefined();
    for (const { sha256 } of manifest?.layers ?? []) {
      expect(keys.includes(layerKey(SET.name, sha256)), `${why}: a layer of ${id}`).toBe(true);
    }
  }
}

describe.each([
  [['of both']],
  [['of current']],
  [['of old']],
  [['of both', 'of old']],
  [['of old', 'of current']],
])('a snapshot that appears while pruning is under way, on top of the layers %j', (inherited) => {
  test(
    'is whole if it is current, wherever either of the two is interrupted by the other',
    async () => {
      const alone = race(inherited);
      await alone.pruning.go(1000);
      await alone.saving.go(1000);
      expect([alone.pruning.isOver(), alone.saving.isOver()]).toEqual([true, true]);
      let promoted = 0;
      for (let first = 0; first <= alone.pruning.calls() + 2; first += 1) {
        for (let second = 0; second <= alone.saving.calls() + 6; second += 1) {
          const { warming, pruning, saving } = race(inherited);
          await pruning.go(first);
          await saving.go(second);
          await pruning.go(1000);
          await saving.go(1000);
          await expectWhole(warming, `${first} calls of pruning, ${second} of saving`);
          if ((await warming.pointer())?.current === NEW) promoted += 1;
          // On top of the current snapshot alone nothing is at risk.
          else expect(inherited).toContain('of old');
        }
      }
      expect(promoted).toBeGreaterThan(0);
    },
    EXHAUSTIVE_MS,
  );
});
