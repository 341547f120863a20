import fc from 'fast-check';
import { expect, test } from 'vitest';
import { layerKey } from '../../shared/snapshot/layout.ts';
import { readManifest } from '../../shared/snapshot/records.ts';
import type { Listed, ObjectStore } from '../../shared/snapshot/store.ts';
import { consider } from './consider.ts';
import { prune } from './prune.ts';
import { fakeWarming, idOf, SET } from './testing/fake-warming.ts';

/** The same store, where every call waits for its turn. */
function scheduled(store: ObjectStore, scheduler: fc.Scheduler): ObjectStore {
  const turn = (label: string) => scheduler.schedule(Promise.resolve(), label);
  return {
    read: (key) => turn(`read ${key}`).then(() => store.read(key)),
    write: (key, ...rest) => turn(`write ${key}`).then(() => store.write(key, ...rest)),
    remove: (key, ...rest) => turn(`remove ${key}`).then(() => store.remove(key, ...rest)),
    size: (key) => turn(`size ${key}`).then(() => store.size(key)),
    readRange: (key, ...rest) => turn(`range ${key}`).then(() => store.readRange(key, ...rest)),
    async *list(prefix) {
      await turn(`list ${prefix}`);
      const listed: Listed[] = [];
      for await (const entry of store.list(prefix)) listed.push(entry);
      yield* listed;
    },
  };
}

const OLD = idOf(10);
const CURRENT = idOf(20);
const NEW = idOf(23, 3);
const keepOne = { ...SET, keep: 1 };

test('a snapshot that appears while pruning is under way is whole if it is current, in whatever order things happen', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.scheduler(),
      // What the new snapshot is made of: layers of the one that is being pruned, of the current one, and its own.
      fc.subarray(['of both', 'of old', 'of current'], { minLength: 1 }),
      async (scheduler, inherited) => {
        const warming = fakeWarming({ keep: 1 });
        warming.save(OLD, ['of both', 'of old']);
        warming.save(CURRENT, ['of both', 'of current']);
        warming.point({ current: CURRENT });
        const context = { ...warming.context, store: scheduled(warming.store, scheduler) };

        const saving = scheduler
          .schedule(Promise.resolve(), 'the manifest is written')
          .then(() => warming.save(NEW, [...inherited, 'new']))
          .then(() => consider(keepOne, NEW, context))
          // As the inbox does: a layer that vanished while it was read is looked at again.
          .catch((error) => {
            expect(error).toMatchObject({ name: 'RetryableError', reason: 'layer-vanished' });
            return consider(keepOne, NEW, context);
          });
        await scheduler.waitFor(Promise.all([saving, prune(keepOne, context)]));

        const pointer = await warming.pointer();
        for (const id of [pointer?.current, ...(pointer?.previous ?? [])]) {
          if (!id) continue;
          const manifest = await readManifest(warming.store, SET.name, id);
          expect(manifest, `manifest of ${id}`).toBeDefined();
          for (const { sha256 } of manifest?.layers ?? []) {
            expect(warming.store.keys()).toContain(layerKey(SET.name, sha256));
          }
        }
        // Nothing of the current snapshot alone is lost either: its layers are enough for a new one.
        if (!inherited.includes('of old')) expect(pointer?.current).toBe(NEW);
      },
    ),
    { numRuns: 300 },
  );
});
