import { createHash } from 'node:crypto';
import type { Manifest } from '../../../shared/snapshot/format-1/manifest.ts';
import type { Pointer } from '../../../shared/snapshot/format-1/pointer.ts';
import { layerKey, manifestKey, pointerKey, runKey, snapshotTime } from '../../../shared/snapshot/layout.ts';
import { type MemoryStore, memoryStore } from '../../../shared/snapshot/testing/memory-store.ts';
import type { Capacity, NamedSet, WarmingDeps } from '../ports.ts';
import type { Run } from '../run.ts';

export const BUCKET = 'snapshots';

/** The set of most tests. */
export const SET: NamedSet = { name: 'default', group: 'gha/warming', deadlineMinutes: 60, keep: 3 };

const GROUP = 'aw-gha-warming';

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
  /** Saves a snapshot as a runner does: layers, then the manifest. Each text is the content of a layer. */
  save(id: string, layers: readonly string[], change?: Partial<Manifest>): void;
  /** Replaces the content of a layer. */
  corrupt(layer: string): void;
  pointer(): Promise<Pointer | undefined>;
  setPointer(change: Partial<Pointer>): void;
  run(): Promise<Run | undefined>;
};

/** The id of a snapshot of November 2026. The clock starts on the 23rd, at 3:00. */
export function idOf(day: number, hour = 2): string {
  const pad = (number: number) => String(number).padStart(2, '0');
  return `202611${pad(day)}T${pad(hour)}0000Z-0000000${day % 10}`;
}

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

export function fakeWarming(settings: Partial<NamedSet> = {}): FakeWarming {
  let time = Date.parse('2026-11-23T03:00:00Z');
  const now = () => new Date(time);
  const store = memoryStore(now);
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
    save(id, layers, change = {}) {
      // A snapshot from before the start of the test's clock was also written then.
      const writtenAt = new Date(Math.min(time, snapshotTime(id).getTime() || time));
      for (const text of layers) {
        const key = layerKey(SET.name, sha256(text));
        if (!store.keys().includes(key)) store.put(key, text, writtenAt);
      }
      store.put(
        manifestKey(SET.name, id),
        JSON.stringify({ ...manifestOf(id, layers), ...change }),
        writtenAt,
      );
    },
    corrupt: (layer) => store.put(layerKey(SET.name, sha256(layer)), layer.replace(/.$/, '!'), now()),
    pointer: () => readJson(pointerKey(SET.name)),
    setPointer: (change) =>
      void store.put(
        pointerKey(SET.name),
        JSON.stringify({
          version: 1,
          current: null,
          previous: [],
          quarantined: [],
          updatedAt: '2026-11-01T00:00:00.000Z',
          ...change,
        }),
      ),
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
      soundSnapshots: new Map(),
      metrics: { add: (metric, value) => warming.metrics.push(`${metric} ${value}`) },
      clock: { now },
      logger: { warn: (message) => void warming.warnings.push(message) },
    },
  };
  return warming;
}

function manifestOf(id: string, layers: readonly string[]): Manifest {
  const bytes = layers.reduce((sum, { length }) => sum + length, 0);
  return {
    formatVersion: 1,
    set: SET.name,
    id,
    createdAt: '2026-11-23T03:00:00.000Z',
    platform: { os: 'linux', arch: 'x64', requires: [] },
    layers: layers.map((text) => ({
      sha256: sha256(text),
      bytes: text.length,
      chunkBytes: 1024,
      chunks: Array.from({ length: Math.ceil(text.length / 1024) }, (_, index) =>
        sha256(text.slice(index * 1024, (index + 1) * 1024)),
      ),
      overlayOnly: false,
      files: 1,
      contentBytes: text.length,
    })),
    totals: { bytes, files: layers.length, contentBytes: bytes },
    tool: { name: 'test', version: '1' },
  };
}
