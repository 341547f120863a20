import { framesKey, pointerKey, runKey, snapshotTime } from '../../../shared/snapshot/layout.ts';
import { compositeChecksum, type Manifest } from '../../../shared/snapshot/manifest.ts';
import type { Pointer } from '../../../shared/snapshot/pointer.ts';
import {
  type FakeSnapshot,
  fakeImage,
  fakeSnapshot,
  framesObjectOf,
  sha256Of,
  storeSnapshot,
} from '../../../shared/snapshot/testing/fake-snapshot.ts';
import { type MemoryStore, memoryStore } from '../../../shared/snapshot/testing/memory-store.ts';
import type { Capacity, NamedSet, WarmingDeps } from '../ports.ts';
import type { Run } from '../run.ts';

export const BUCKET = 'snapshots';

/** The set of most tests. */
export const SET: NamedSet = {
  name: 'default',
  group: 'gha/warming',
  deadlineMinutes: 60,
  keep: 3,
};

const GROUP = 'aw-gha-warming';

/** How a snapshot differs from a whole image in the present format. */
type Change = { parent?: FakeSnapshot; manifest?: Partial<Manifest> | { formatVersion: number } };

type PointerOfIds = Omit<Pointer, 'current' | 'previous'> & { current: string | null; previous: string[] };

/** One set with its group and its bucket in memory. A test advances the time. */
export type FakeWarming = {
  deps: WarmingDeps;
  store: MemoryStore;
  /** The warming group; undefined if there is none. */
  capacity: Capacity | undefined;
  /** Desired capacities that were set, in order. */
  desiredSet: number[];
  /** `<name> <value>` of every metric. */
  metrics: string[];
  warnings: string[];
  now(): Date;
  pass(minutes: number): void;
  /** Saves a snapshot as a runner does. Each text is a unit of the image, and each unit that the parent lacks a frame. */
  save(id: string, units: readonly (string | undefined)[], change?: Change): FakeSnapshot;
  /** Inverts a bit of each frame that a snapshot has added. S3 reports the checksum of what it has. */
  corrupt(id: string, options?: { checksum: 'kept' }): void;
  /** The pointer with ids instead of its entries. */
  pointer(): Promise<PointerOfIds | undefined>;
  /** Entries get the digest of the saved snapshot. */
  setPointer(change: Partial<PointerOfIds>): void;
  run(): Promise<Run | undefined>;
};

/** The id of a snapshot of November 2026. The clock starts on the 23rd, at 3:00. */
export function idOf(day: number, hour = 2): string {
  const pad = (number: number) => String(number).padStart(2, '0');
  return `202611${pad(day)}T${pad(hour)}0000Z-0000000${day % 10}`;
}

export function fakeWarming(settings: Partial<NamedSet> = {}): FakeWarming {
  let time = Date.parse('2026-11-23T03:00:00Z');
  const now = () => new Date(time);
  const store = memoryStore(now);
  const saved = new Map<string, FakeSnapshot>();
  const vouched = (id: string) => ({
    id,
    manifestSha256: saved.get(id)?.manifestSha256 ?? sha256Of('unknown'),
  });
  const { name, ...set } = { ...SET, ...settings };
  const readJson = async (key: string) => {
    const stored = await store.read(key);
    return stored && JSON.parse(stored.text);
  };
  const warming: FakeWarming = {
    store,
    capacity: { min: 0, max: 1, desired: 0 },
    desiredSet: [],
    metrics: [],
    warnings: [],
    now,
    pass: (minutes) => {
      time += minutes * 60_000;
    },
    save(id, units, { parent, manifest } = {}) {
      const snapshot = fakeSnapshot(SET.name, id, fakeImage(...units), {
        parent,
        frameUnits: 1,
        manifest: (manifest ?? {}) as Partial<Manifest>,
      });
      // A snapshot from before the start of the test's clock was also written then.
      storeSnapshot(store, snapshot, new Date(Math.min(time, snapshotTime(id).getTime() || time)));
      saved.set(id, snapshot);
      return snapshot;
    },
    corrupt(id, options) {
      const { frames, index } = saved.get(id) as FakeSnapshot;
      if (!frames) throw new Error(`${id} has added no frame`);
      const flipped = Buffer.from(frames.stored);
      for (let number = 0; number < index.count; number += 1) {
        if (index.object(number) !== index.objects - 1) continue;
        const place = index.offset(number) + index.storedBytes(number) - 1;
        flipped.writeUInt8(flipped.readUInt8(place) ^ 1, place);
      }
      const object = options?.checksum === 'kept' ? frames.object : framesObjectOf(id, flipped);
      store.put(framesKey(SET.name, id), flipped, now(), compositeChecksum(object));
    },
    async pointer() {
      const pointer: Pointer | undefined = await readJson(pointerKey(SET.name));
      return (
        pointer && {
          ...pointer,
          current: pointer.current?.id ?? null,
          previous: pointer.previous.map(({ id }) => id),
        }
      );
    },
    setPointer({ current = null, previous = [], ...change }) {
      const pointer: Pointer = {
        version: 2,
        current: current === null ? null : vouched(current),
        previous: previous.map(vouched),
        quarantined: [],
        updatedAt: '2026-11-01T00:00:00.000Z',
        ...change,
      };
      store.put(pointerKey(SET.name), JSON.stringify(pointer));
    },
    run: () => readJson(runKey(SET.name)),
    deps: {
      prefix: 'aw',
      bucket: BUCKET,
      sets: { [name]: set },
      store,
      capacity: {
        describe: async (group) => (group === GROUP ? warming.capacity : undefined),
        async setDesired(group, desired) {
          if (group !== GROUP || !warming.capacity) throw new Error(`no group ${group}`);
          warming.capacity = { ...warming.capacity, desired };
          warming.desiredSet.push(desired);
        },
      },
      metrics: { add: (metric, value) => warming.metrics.push(`${metric} ${value}`) },
      clock: { now },
      logger: { warn: (message) => void warming.warnings.push(message) },
    },
  };
  return warming;
}
