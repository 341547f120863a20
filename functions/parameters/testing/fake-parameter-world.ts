import type { Pointer } from '../../../shared/snapshot/pointer.ts';
import { type MemoryStore, memoryStore } from '../../../shared/snapshot/testing/memory-store.ts';
import { singleFlight } from '../coalesce.ts';
import type { ParametersDeps } from '../handle.ts';
import type { GroupCapacity, ReconcileDeps } from '../ports.ts';
import { reconcile } from '../reconcile.ts';
import { type FakeRegion, fakeRegion } from './fake-region.ts';

/** Everything that this function reads and writes, in memory, at a time that a test moves. */
export type FakeParameterWorld = {
  deps: ParametersDeps;
  store: MemoryStore;
  home: FakeRegion;
  replica: FakeRegion;
  /** The answer of Auto Scaling, or its error. */
  groups: GroupCapacity[] | Error;
  /** Values of the metric ParameterDrift, in order. */
  drift: number[];
  /** Messages of warnings, in order. */
  warnings: string[];
  /** @param warmingSets undefined for a declaration of an earlier version */
  declare(parameters: Record<string, string>, warmingSets?: string[]): void;
  /** @param manifestSha256 of the current snapshot; of no manifest if absent */
  point(set: string, current: string | null, promotedAt?: Date, manifestSha256?: string): void;
  /** Advances the time. */
  pass(milliseconds: number): void;
  now(): Date;
};

export const BUCKET = 'snapshots';

export function fakeParameterWorld(): FakeParameterWorld {
  let time = Date.parse('2026-11-23T03:00:00Z');
  const now = () => new Date(time);
  const store = memoryStore(now);
  const home = fakeRegion(now);
  const replica = fakeRegion(now);
  const drift: number[] = [];
  const warnings: string[] = [];
  const deps: ReconcileDeps = {
    prefix: 'aw',
    root: '/aw',
    store,
    groups: {
      async list() {
        if (world.groups instanceof Error) throw world.groups;
        return world.groups;
      },
    },
    regions: [
      { region: 'home', port: home },
      { region: 'eu-west-1', port: replica },
    ],
    deletions: { external: new Set(), own: new Set() },
    clock: { now },
    metrics: { add: (_name, value) => drift.push(value) },
    logger: { debug() {}, info() {}, error() {}, warn: (text) => warnings.push(text) },
    pauseMs: 0,
  };
  const passes = singleFlight(
    (signal) => reconcile(deps, signal),
    ({ outcome }) => outcome.outcome === 'done',
    deps.clock,
    0,
  );
  const world: FakeParameterWorld = {
    store,
    home,
    replica,
    groups: [],
    drift,
    warnings,
    now,
    pass: (milliseconds) => {
      time += milliseconds;
    },
    declare: (parameters, warmingSets) =>
      store.put('config/parameters.json', JSON.stringify({ version: 1, parameters, warmingSets })),
    point(set, current, promotedAt, manifestSha256 = 'a'.repeat(64)) {
      const pointer: Pointer = {
        version: 2,
        current: current === null ? null : { id: current, manifestSha256 },
        previous: [],
        quarantined: [],
        updatedAt: now().toISOString(),
        ...(promotedAt && { promotedAt: promotedAt.toISOString() }),
      };
      store.put(`sets/${set}/pointer.json`, JSON.stringify(pointer));
    },
    deps: { ...deps, bucket: BUCKET, passes },
  };
  return world;
}
