import type { WarmingSet } from '../../../functions/warming/env.ts';
import { handleWarmingMessage, retryForMs } from '../../../functions/warming/handle.ts';
import type { WarmingDeps } from '../../../functions/warming/ports.ts';
import { type Run, readRun } from '../../../functions/warming/run.ts';
import type { Message } from '../../../shared/runtime/message.ts';
import { framesKey, indexKey, manifestKey } from '../../../shared/snapshot/layout.ts';
import { compositeChecksum } from '../../../shared/snapshot/manifest.ts';
import { isQuarantined } from '../../../shared/snapshot/pointer.ts';
import { readPointer } from '../../../shared/snapshot/records.ts';
import {
  type FakeSnapshot,
  fakeImage,
  fakeSnapshot,
  storeSnapshot,
} from '../../../shared/snapshot/testing/fake-snapshot.ts';
import type { MemoryStore } from '../../../shared/snapshot/testing/memory-store.ts';
import { PREFIX } from '../world.ts';
import type { Deployment } from './functions.ts';
import type { Restored } from './instance.ts';

const SNAPSHOTS = 'snapshots';

/** Units of the image of a set, of which a night changes one. */
const UNITS = 6;

/**
 * The function `warming`, and what runners do with the snapshots: those of warming groups save one, the others restore the current one. The
 * snapshots are small ones of the real format, so that the real verification reads them.
 */
export function warmingFunction(deployment: Deployment, created: (bucket: string, key: string) => void) {
  const { bucket, autoScaling, metrics, clock, random, kernel, world } = deployment;
  const saved = new Map<string, FakeSnapshot>();
  const corrupt = new Map<string, { object: string; offset: number }>();
  const sets = Object.fromEntries(
    world.warming.map(({ id, set }): [string, WarmingSet] => [
      set,
      {
        group: id,
        ...{ deadlineMinutes: 120, keep: 3 },
      },
    ]),
  );
  const deps: WarmingDeps = {
    ...{ prefix: PREFIX, bucket: SNAPSHOTS, sets, store: bucket, metrics, clock },
    capacity: {
      describe: async (name) => autoScaling.describeGroup(name),
      setDesired: async (name, desired) => autoScaling.setDesired(name, desired),
    },
    logger: { warn: (line, fields) => deployment.log(`warming: ${line} ${JSON.stringify(fields)}`) },
  };

  /** An instance of a warming group saves what its run has made. */
  async function save(set: string): Promise<void> {
    const pointer = (await readPointer(bucket, set))?.pointer;
    const parent = pointer?.current && saved.get(pointer.current.id);
    const at = new Date(kernel.now).toISOString().replaceAll(/[-:]/g, '').slice(0, 15);
    const id = `${at}Z-${Math.floor(random.next() * 2 ** 32)
      .toString(16)
      .padStart(8, '0')}`;
    const texts = Array.from(
      { length: UNITS },
      (_, unit) => parent?.image.get(unit) ?? `${set} ${unit} ${id}`,
    );
    texts[random.integer(0, UNITS - 1)] = `${set} ${id}`;
    const snapshot = fakeSnapshot(set, id, fakeImage(...texts), {
      parent: parent ?? undefined,
      frameUnits: 1,
    });
    saved.set(id, snapshot);
    storeSnapshot(bucket as unknown as MemoryStore, snapshot);
    created(SNAPSHOTS, manifestKey(set, id));
  }

  /** Makes the current snapshot of a set unreadable, as a fault of the disk that saved it does: S3 has what it was sent. */
  async function corruptCurrent(set: string): Promise<void> {
    const current = (await readPointer(bucket, set))?.pointer.current;
    const snapshot = saved.get(current?.id ?? '');
    if (!current) return;
    if (!snapshot?.frames) return;
    const { frames } = snapshot;
    const flipped = Buffer.from(frames.stored);
    flipped.writeUInt8(flipped.readUInt8(flipped.length - 1) ^ 1, flipped.length - 1);
    bucket.put(framesKey(set, current.id), flipped, clock.now(), compositeChecksum(frames.object));
    const { index } = snapshot;
    for (let number = 0; number < index.count; number += 1)
      if (index.object(number) === index.objects - 1)
        corrupt.set(current.id, { object: current.id, offset: index.offset(number) });
  }

  /** What the restore of a boot does. A pointer that cannot be read is a cold boot. */
  async function restore(set: string): Promise<Restored> {
    const pointer = (await readPointer(bucket, set).catch(() => undefined))?.pointer;
    if (!pointer?.current) return { set, outcome: 'cold' };
    const frame = corrupt.get(pointer.current.id);
    if (!frame) return { set, outcome: 'restored', id: pointer.current.id };
    const broken = {
      id: pointer.current.id,
      reason: `frame at byte ${frame.offset} has another sha256`,
      frame,
    };
    const [previous] = pointer.previous;
    return previous
      ? { set, outcome: 'previous', id: previous.id, broken }
      : { set, outcome: 'cold', broken };
  }

  /** What is wrong with the pointer of a set, if anything is. */
  async function pointerProblem(set: string): Promise<string | undefined> {
    const stored = await readPointer(bucket, set).catch((error: unknown) => String(error));
    if (typeof stored === 'string') return stored;
    const current = stored?.pointer.current;
    if (!stored || !current) return undefined;
    if (isQuarantined(stored.pointer, current.id)) return `${current.id} is current and quarantined`;
    for (const key of [manifestKey(set, current.id), indexKey(set, current.id)])
      if ((await bucket.head(key)) === undefined) return `${key} is missing`;
    return undefined;
  }

  return {
    handle: (message: Message) => handleWarmingMessage(message, deps),
    retryFor: (message: Pick<Message, 'body'>) => retryForMs(message, deps),
    ...{ save, corruptCurrent, restore, pointerProblem },
    sets: Object.keys(sets),
    run: async (set: string): Promise<Run | undefined> => {
      const named = sets[set];
      return named && (await readRun({ ...named, name: set }, deps))?.run;
    },
  };
}
