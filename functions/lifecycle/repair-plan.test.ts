import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { GroupRecord } from './group-record.ts';
import { planRepairs, type RepairInput } from './repair-plan.ts';

const NOW = new Date('2026-11-23T03:00:00Z');
const DAY_MS = 86_400_000;
const before = (ms: number) => new Date(NOW.getTime() - ms);
const idOf = (index: number) => `i-${index.toString(16).padStart(17, '0')}`;

const template = (version: string) => ({ launchTemplate: { id: 'aw-gha-default', version } });
const instances = (count: number, state = 'InService', version = '7') =>
  Array.from({ length: count }, (_, index) => ({
    instanceId: idOf(index),
    lifecycleState: state,
    ...template(version),
  }));

const emptyRecord: GroupRecord = { version: 1, seen: {}, replaced: [], due: {}, draining: {} };
const input = (change: Partial<RepairInput> = {}): RepairInput => ({
  group: { desired: 3, instances: instances(3), ...template('7') },
  maxLifetimeMs: undefined,
  replacesOutdated: true,
  withoutAgent: new Map(),
  record: emptyRecord,
  now: NOW,
  left: 20,
  ...change,
});
const replaced = (change: Partial<RepairInput>) =>
  planRepairs(input(change)).replace.map(({ instanceId, cause }) => `${instanceId} ${cause}`);

/** All of `count` instances are two days old. */
const old = (count: number): Partial<RepairInput> => ({
  group: { desired: count, instances: instances(count), ...template('7') },
  maxLifetimeMs: DAY_MS,
  record: {
    ...emptyRecord,
    seen: Object.fromEntries(
      instances(count).map(({ instanceId }) => [instanceId, before(2 * DAY_MS).toISOString()]),
    ),
  },
});

test('nothing is due in a sound group, and its instances are remembered', () => {
  const plan = planRepairs(input());
  expect(plan).toMatchObject({ replace: [], oldestDueSeconds: 0 });
  expect(plan.record.seen).toEqual(
    Object.fromEntries(instances(3).map(({ instanceId }) => [instanceId, NOW.toISOString()])),
  );
  expect(planRepairs(input({ record: plan.record })).record).toEqual(plan.record);
});

test('the begin of a drain is kept as long as its instance exists', () => {
  const at = NOW.toISOString();
  const record = { ...emptyRecord, draining: { [idOf(0)]: at, [idOf(99)]: at } };
  const group = { desired: 3, instances: instances(3, 'Terminating:Wait'), ...template('7') };
  expect(planRepairs(input({ group, record })).record.draining).toEqual({ [idOf(0)]: at });
});

describe('an instance without an agent', () => {
  const silent = (ages: Record<string, number>) =>
    new Map(Object.entries(ages).map(([id, ms]) => [id, before(ms)]));

  test('is replaced after ten minutes', () => {
    expect(replaced({ withoutAgent: silent({ [idOf(1)]: 599_000 }) })).toEqual([]);
    expect(replaced({ withoutAgent: silent({ [idOf(1)]: 600_000 }) })).toEqual([`${idOf(1)} no-agent`]);
  });

  test('stays while it is not known which instances have one', () => {
    expect(replaced({ withoutAgent: undefined })).toEqual([]);
  });

  test('stays if the whole group is without: new instances would be too', () => {
    const ages = { [idOf(0)]: 900_000, [idOf(1)]: 900_000, [idOf(2)]: 900_000 };
    expect(replaced({ withoutAgent: silent(ages) })).toEqual([]);
    const one = { desired: 1, instances: instances(1), ...template('7') };
    expect(replaced({ group: one, withoutAgent: silent({ [idOf(0)]: 900_000 }) })).toHaveLength(1);
  });

  test('is not replaced in another state than in service', () => {
    for (const state of ['Pending:Wait', 'Terminating:Wait', 'Standby']) {
      const group = { desired: 2, instances: instances(2, state), ...template('7') };
      expect(replaced({ group, withoutAgent: silent({ [idOf(0)]: 900_000 }) })).toEqual([]);
    }
  });
});

describe('an instance beyond its lifetime', () => {
  test('is replaced, also one of the minimum', () => {
    expect(replaced(old(1))).toEqual([`${idOf(0)} lifetime`]);
    expect(replaced({ ...old(1), maxLifetimeMs: 3 * DAY_MS })).toEqual([]);
    expect(replaced({ ...old(1), maxLifetimeMs: undefined })).toEqual([]);
  });

  test('one at a time in a small group, a tenth of a large one', () => {
    expect(replaced(old(9))).toHaveLength(1);
    expect(replaced(old(100))).toHaveLength(10);
    expect(replaced({ ...old(100), left: 4 })).toHaveLength(4);
  });

  test('waits while another one launches, fails to launch, or drains', () => {
    const base = old(9);
    const [first, ...others] = instances(9);
    const groups = [
      { desired: 9, instances: [{ ...first, lifecycleState: 'Pending:Wait' }, ...others], ...template('7') },
      { desired: 9, instances: others, ...template('7') },
      {
        desired: 8,
        instances: [{ ...first, lifecycleState: 'Terminating:Wait' }, ...others],
        ...template('7'),
      },
    ] as RepairInput['group'][];
    for (const group of groups) expect(replaced({ ...base, group })).toEqual([]);
  });

  test('waits no longer than it is due', () => {
    expect(planRepairs(input({ ...old(9), left: 0 })).oldestDueSeconds).toBe(DAY_MS / 1_000);
  });
});

describe('an instance of an older version', () => {
  const group = (own: string, present: string) => ({
    desired: 3,
    instances: instances(3, 'InService', own),
    ...template(present),
  });

  test('is replaced, one at a time, if the group asks for it', () => {
    expect(replaced({ group: group('9', '10') })).toEqual([`${idOf(0)} outdated`]);
    expect(replaced({ group: group('9', '10'), replacesOutdated: false })).toEqual([]);
  });

  test.each([
    ['9', '9'],
    ['10', '9'],
    ['9', '$Latest'],
    ['$Latest', '9'],
  ])('%s stays in a group of %s', (own, present) => {
    expect(replaced({ group: group(own, present) })).toEqual([]);
  });

  test('of another template, or of none, is not comparable', () => {
    const other = instances(3).map((one) => ({ ...one, launchTemplate: { id: 'other', version: '1' } }));
    const none = instances(3).map(({ launchTemplate: _, ...one }) => one);
    for (const own of [other, none]) {
      expect(replaced({ group: { desired: 3, instances: own, ...template('7') } })).toEqual([]);
    }
  });

  test('is remembered with the time since when it waits', () => {
    const first = planRepairs(input({ group: group('9', '10'), left: 0 }));
    const later = planRepairs(
      input({
        group: group('9', '10'),
        left: 0,
        record: first.record,
        now: new Date(NOW.getTime() + 60_000),
      }),
    );
    expect(later.oldestDueSeconds).toBe(60);
  });
});

describe('an instance that reported a fault above the limit', () => {
  const due = { [idOf(2)]: { cause: 'unhealthy' as const, since: before(60_000).toISOString() } };

  test('is replaced when the limit allows it, before all others', () => {
    expect(replaced({ ...old(3), record: { ...old(3).record, ...emptyRecord, due } })).toEqual([
      `${idOf(2)} unhealthy`,
    ]);
    const at = before(60_000).toISOString();
    const faults = [3, 4, 5, 6].map((index) => ({
      instanceId: idOf(index),
      cause: 'unhealthy' as const,
      at,
    }));
    expect(replaced({ record: { ...emptyRecord, due, replaced: faults } })).toEqual([]);
  });

  test('is remembered while it launches', () => {
    const group = { desired: 3, instances: instances(3, 'Pending:Wait'), ...template('7') };
    expect(planRepairs(input({ group, record: { ...emptyRecord, due } })).record.due).toEqual(due);
  });
});

test('an instance is replaced once, also while Auto Scaling still lists it in service', () => {
  const one = input({
    ...old(100),
    record: { ...emptyRecord, seen: { [idOf(7)]: before(2 * DAY_MS).toISOString() } },
  });
  const first = planRepairs(one);
  expect(first.replace.map(({ instanceId }) => instanceId)).toEqual([idOf(7)]);
  expect(planRepairs({ ...one, record: first.record }).replace).toEqual([]);
  const later = { ...first.record, replaced: [] };
  expect(planRepairs({ ...one, record: later }).replace).toHaveLength(1);
});

test('an instance is replaced once, and the group is never replaced at once, whatever is found', () => {
  const state = fc.constantFrom(
    'InService',
    'InService',
    'InService',
    'Pending:Wait',
    'Terminating:Wait',
    'Standby',
  );
  const instance = fc.record({
    state,
    version: fc.constantFrom('6', '7'),
    silent: fc.boolean(),
    old: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(instance, { maxLength: 40 }), fc.nat(40), fc.boolean(), (drawn, desired, known) => {
      const all = drawn.map(({ state, version }, index) => ({
        instanceId: idOf(index),
        lifecycleState: state,
        ...template(version),
      }));
      const pick = (of: (one: (typeof drawn)[number]) => boolean) =>
        drawn.flatMap((one, index) => (of(one) ? [idOf(index)] : []));
      const first = input({
        group: { desired, instances: all, ...template('7') },
        maxLifetimeMs: DAY_MS,
        withoutAgent: known
          ? new Map(pick(({ silent }) => silent).map((id) => [id, before(DAY_MS)]))
          : undefined,
        record: {
          ...emptyRecord,
          seen: Object.fromEntries(
            pick(({ old }) => old).map((id) => [id, before(2 * DAY_MS).toISOString()]),
          ),
        },
      });
      const one = planRepairs(first);
      expect(one.replace.length).toBeLessThanOrEqual(Math.max(1, desired / 10));
      const inService = all.filter(({ lifecycleState }) => lifecycleState === 'InService');
      for (const { instanceId } of one.replace) {
        expect(inService.map((each) => each.instanceId)).toContain(instanceId);
      }
      // Auto Scaling has not noticed anything yet.
      const two = planRepairs({ ...first, record: one.record });
      const gone = new Set(one.replace.map(({ instanceId }) => instanceId));
      expect(two.replace.filter(({ instanceId }) => gone.has(instanceId))).toEqual([]);
      expect(gone.size + two.replace.length).toBeLessThanOrEqual(Math.max(1, desired / 10));
    }),
  );
});
