import type { Pointer } from '../../../shared/snapshot/pointer.ts';
import { type MemoryStore, memoryStore } from '../../../shared/snapshot/testing/memory-store.ts';
import type { GroupCapacity } from '../ports.ts';
import type { ParametersContext } from '../reconcile.ts';
import { type FakeRegion, fakeRegion } from './fake-region.ts';

/** Everything that this function reads and writes, in memory, at a time that a test moves. */
export type FakeHouse = {
  context: ParametersContext;
  store: MemoryStore;
  home: FakeRegion;
  replica: FakeRegion;
  /** What Auto Scaling answers; a test may replace it by an error. */
  groups: GroupCapacity[] | Error;
  /** Calls that wrote the metric, and warnings, in order. */
  drift: number[];
  warnings: string[];
  declare(parameters: Record<string, string>): void;
  point(set: string, current: string | null): void;
  /** Lets time go on. */
  pass(milliseconds: number): void;
  now(): Date;
};

export const BUCKET = 'snapshots';

export function fakeHouse(): FakeHouse {
  let time = Date.parse('2026-11-23T03:00:00Z');
  const now = () => new Date(time);
  const store = memoryStore(now);
  const home = fakeRegion(now);
  const replica = fakeRegion(now);
  const house: FakeHouse = {
    store,
    home,
    replica,
    groups: [],
    drift: [],
    warnings: [],
    now,
    pass: (milliseconds) => {
      time += milliseconds;
    },
    declare: (parameters) => store.put('config/parameters.json', JSON.stringify({ version: 1, parameters })),
    point(set, current) {
      const pointer: Pointer = {
        version: 1,
        current,
        previous: [],
        quarantined: [],
        updatedAt: now().toISOString(),
      };
      store.put(`sets/${set}/pointer.json`, JSON.stringify(pointer));
    },
    context: {
      prefix: 'aw',
      root: '/aw',
      store,
      groups: {
        async list() {
          if (house.groups instanceof Error) throw house.groups;
          return house.groups;
        },
      },
      regions: [
        { region: 'home', port: home },
        { region: 'eu-west-1', port: replica },
      ],
      removals: { told: new Set(), own: new Set() },
      clock: { now },
      countDrift: (count) => house.drift.push(count),
      warn: (message) => house.warnings.push(message),
      pauseMs: 0,
    },
  };
  return house;
}
