import { describe, expect, test } from 'vitest';
import { FORMAT_VERSION } from '../../shared/snapshot/manifest.ts';
import { fakeImage, fakeSnapshot, storeSnapshot } from '../../shared/snapshot/testing/fake-snapshot.ts';
import { reconcile } from './reconcile.ts';
import { type FakeParameterWorld, fakeParameterWorld } from './testing/fake-parameter-world.ts';
import { awsError } from './testing/fake-region.ts';

const { signal } = new AbortController();
const SNAPSHOT = '20261123T020000Z-00000001';
const capacity = { min: 0, max: 5, desired: 2, inService: 1, draining: 1 };

/** A world whose tree is as it should be. */
async function reconciledWorld(): Promise<FakeParameterWorld> {
  const world = fakeParameterWorld();
  world.declare({ '/aw/deployment': '{"version":"1"}', '/aw/groups/gha/default': '{}' });
  world.point('default', SNAPSHOT);
  world.groups = [
    { name: 'aw-gha-default', ...capacity },
    { name: 'aw-gha-undeclared', ...capacity },
  ];
  world.pass(1000);
  expect((await reconcile(world.deps, signal)).outcome.outcome).toBe('done');
  world.pass(60_000);
  world.home.calls.length = 0;
  world.replica.calls.length = 0;
  expect(world.drift).toEqual([]);
  return world;
}

test('the tree is what is declared and what is live, in every region', async () => {
  const world = await reconciledWorld();
  expect(world.home.values()).toEqual({
    '/aw/deployment': '{"version":"1"}',
    '/aw/groups/gha/default': '{}',
    '/aw/groups/gha/default/capacity': JSON.stringify(capacity),
    '/aw/warming/default/snapshot': JSON.stringify({
      id: SNAPSHOT,
      createdAt: '2026-11-23T02:00:00.000Z',
      bytes: null,
      promotedAt: '2026-11-23T03:00:00.000Z',
    }),
  });
  expect(world.replica.values()).toEqual(world.home.values());
});

test('a declaration of more than a mebibyte is read', async () => {
  const world = fakeParameterWorld();
  const declared = Array.from({ length: 400 }, (_, at) => [`/aw/groups/gha/team-${at}`, 'x'.repeat(3_000)]);
  world.declare(Object.fromEntries(declared));
  const { outcome } = await reconcile(world.deps, signal);
  expect(outcome).not.toMatchObject({ outcome: 'dead' });
  expect(Object.keys(world.home.values()).length).toBeGreaterThan(0);
});

describe('the backlog of a group', () => {
  const NAME = '/aw/groups/gha/default/backlog';
  const backlog = { queued: 3, running: 1, oldest: '2026-11-23T02:50:00Z', readAt: '2026-11-23T03:00:00Z' };
  const record = (groups: object) =>
    JSON.stringify({ version: 1, poll: { id: 'x', until: '2026-11-23T03:00:50Z' }, groups });

  test('is in the tree as the function scaling has read it, for declared groups only', async () => {
    const world = await reconciledWorld();
    const unmatched = ['123'];
    world.store.put(
      'backlog/state.json',
      record({ 'gha/default': { ...backlog, unmatched }, 'gha/undeclared': backlog }),
    );
    await reconcile(world.deps, signal);
    expect(world.home.values()[NAME]).toBe(JSON.stringify(backlog));
    expect(world.home.values()['/aw/groups/gha/undeclared/backlog']).toBeUndefined();
    const { oldest: _, ...empty } = { ...backlog, queued: 0 };
    world.store.put('backlog/state.json', record({ 'gha/default': empty }));
    await reconcile(world.deps, signal);
    expect(JSON.parse(world.home.values()[NAME] ?? '')).toEqual({ ...empty, oldest: null });
    expect(world.replica.values()).toEqual(world.home.values());
    expect(world.drift).toEqual([]);
  });

  test('stays when the record cannot be read, goes with the record of the group, and an edit is drift', async () => {
    const world = await reconciledWorld();
    world.store.put('backlog/state.json', record({ 'gha/default': backlog }));
    await reconcile(world.deps, signal);
    world.store.put('backlog/state.json', 'nonsense');
    const { outcome } = await reconcile(world.deps, signal);
    // The next poll replaces the record.
    expect(outcome.outcome).toBe('done');
    expect(world.warnings).toHaveLength(1);
    expect(world.home.values()[NAME]).toBe(JSON.stringify(backlog));
    world.store.put('backlog/state.json', record({ 'gha/default': backlog }));
    world.home.edit(NAME, 'mine', world.now());
    await reconcile(world.deps, signal);
    expect(world.home.values()[NAME]).toBe(JSON.stringify(backlog));
    expect(world.drift).toEqual([1]);
    world.store.put('backlog/state.json', record({}));
    await reconcile(world.deps, signal);
    expect(world.home.values()[NAME]).toBeUndefined();
    expect(world.drift).toEqual([1]);
  });
});

test('a later pass writes nothing', async () => {
  const world = await reconciledWorld();
  world.pass(86_400_000);
  expect((await reconcile(world.deps, signal)).outcome.outcome).toBe('done');
  expect([...world.home.calls, ...world.replica.calls]).toEqual([]);
});

describe('a hand edit', () => {
  test('is set back and counted, once', async () => {
    const world = await reconciledWorld();
    const before = world.home.values();
    world.home.edit('/aw/deployment', 'mine', world.now());
    world.home.edit('/aw/groups/gha/extra', 'mine', world.now());
    world.home.edit('/aw/groups/gha/default', 'secret', world.now(), 'SecureString');
    world.pass(1000);
    const first = await reconcile(world.deps, signal);
    // A type cannot be changed: this pass deletes the parameter, and the next one writes it.
    expect(first.outcome).toMatchObject({ outcome: 'retry', reason: 'writes-left' });
    expect((await reconcile(world.deps, signal)).outcome.outcome).toBe('done');
    expect(world.home.values()).toEqual(before);
    expect(world.drift).toEqual([3]);
    expect(world.warnings).toContain('somebody else changed the tree: it was set back');
  });

  test('that deletes a parameter is counted when there is an event about it', async () => {
    const world = await reconciledWorld();
    world.home.erase('/aw/deployment');
    world.deps.deletions.external.add('/aw/deployment');
    await reconcile(world.deps, signal);
    expect(world.home.calls).toEqual(['put /aw/deployment']);
    expect(world.drift).toEqual([1]);
    expect(world.deps.deletions.external.size).toBe(0);
  });

  test('is not forgotten while the home region fails', async () => {
    const world = await reconciledWorld();
    const { list } = world.home;
    world.home.erase('/aw/deployment');
    world.deps.deletions.external.add('/aw/deployment');
    world.home.list = async () => {
      throw awsError('InternalServerError');
    };
    await reconcile(world.deps, signal);
    world.home.list = list;
    await reconcile(world.deps, signal);
    expect(world.drift).toEqual([1]);
  });

  test('outside of the root stays', async () => {
    const world = await reconciledWorld();
    world.home.edit('/other/x', 'mine', world.now());
    await reconcile(world.deps, signal);
    expect(world.home.values()['/other/x']).toBe('mine');
  });
});

test('changes by this function are no drift', async () => {
  const world = await reconciledWorld();
  world.groups = [{ name: 'aw-gha-default', ...capacity, inService: 2 }];
  world.point('default', '20261124T020000Z-00000002');
  world.declare({ '/aw/groups/gha/default': '{"max":9}' });
  world.pass(1000);
  expect((await reconcile(world.deps, signal)).outcome).toMatchObject({
    outcome: 'done',
    detail: { home: { written: 3, deleted: 1, drift: 0 } },
  });
  expect(world.drift).toEqual([]);
});

describe('hold, never zero', () => {
  test('without a declaration nothing changes', async () => {
    const world = await reconciledWorld();
    await world.store.remove('config/parameters.json');
    world.home.edit('/aw/extra', 'x', world.now());
    const { outcome } = await reconcile(world.deps, signal);
    expect(outcome).toMatchObject({ outcome: 'retry', reason: 'nothing-declared' });
    expect(world.home.calls).toEqual([]);
  });

  test('without Auto Scaling the capacities stay, and the others are written', async () => {
    const world = await reconciledWorld();
    world.groups = awsError('ServiceUnavailable');
    world.home.edit('/aw/deployment', 'mine', world.now());
    const { outcome, faults } = await reconcile(world.deps, signal);
    expect(outcome).toMatchObject({ outcome: 'retry', reason: 'source-unreadable' });
    expect(world.home.calls).toEqual(['put /aw/deployment']);
    expect(world.home.values()['/aw/groups/gha/default/capacity']).toBe(JSON.stringify(capacity));
    expect(faults.size).toBe(0);
  });

  test('without a listing of the bucket the snapshots stay', async () => {
    const world = await reconciledWorld();
    const { list } = world.store;
    world.store.list = (prefix) => {
      if (prefix === 'sets/') throw awsError('SlowDown');
      return list(prefix);
    };
    const { outcome } = await reconcile(world.deps, signal);
    expect(outcome).toMatchObject({ outcome: 'retry', reason: 'source-unreadable' });
    expect(world.home.calls).toEqual([]);
  });

  test.each([
    ['cannot be parsed', '{"version":'],
    ['another version has written', '{"version":1,"current":null}'],
  ])('a pointer that %s holds its own parameter, and is the fault', async (_, text) => {
    const world = await reconciledWorld();
    world.store.put('sets/default/pointer.json', text);
    world.point('other', SNAPSHOT);
    const { outcome, faults } = await reconcile(world.deps, signal);
    expect(outcome.outcome).toBe('done');
    expect([...faults.keys()]).toEqual(['sets/default/pointer.json']);
    expect(world.home.calls).toEqual(['put /aw/warming/other/snapshot']);
  });

  test('a snapshot of a newer format has its parameter, without a size', async () => {
    const world = await reconciledWorld();
    const key = `sets/default/snapshots/${SNAPSHOT}/manifest.json`;
    world.store.put(key, JSON.stringify({ formatVersion: FORMAT_VERSION + 1 }));
    const { outcome } = await reconcile(world.deps, signal);
    expect(outcome.outcome).toBe('done');
    expect(world.home.values()['/aw/warming/default/snapshot']).toContain('"bytes":null');
  });

  test('the size is the bytes that a restore fetches, from the manifest that was promoted', async () => {
    const world = await reconciledWorld();
    const snapshot = fakeSnapshot('default', SNAPSHOT, fakeImage('a', 'b'));
    storeSnapshot(world.store, snapshot);
    world.point('default', SNAPSHOT, world.now(), snapshot.manifestSha256);
    await reconcile(world.deps, signal);
    const value = () => JSON.parse(world.home.values()['/aw/warming/default/snapshot'] ?? '');
    expect(value().bytes).toBe(snapshot.manifest.totals.storedBytes);
    world.store.put(`sets/default/snapshots/${SNAPSHOT}/manifest.json`, `${snapshot.text} `);
    await reconcile(world.deps, signal);
    expect(value().bytes).toBeNull();
  });

  test('a set whose snapshots are all quarantined has no parameter', async () => {
    const world = await reconciledWorld();
    world.point('default', null);
    await reconcile(world.deps, signal);
    expect(world.home.calls).toEqual(['remove /aw/warming/default/snapshot']);
    expect(world.drift).toEqual([]);
  });
});

describe('regions', () => {
  test('one that fails does not delay the other, and is retried', async () => {
    const world = await reconciledWorld();
    world.declare({ '/aw/deployment': '2' });
    world.replica.list = async () => {
      throw awsError('AccessDeniedException');
    };
    const { outcome } = await reconcile(world.deps, signal);
    expect(outcome).toMatchObject({ outcome: 'retry', reason: 'region-failed' });
    expect(world.home.values()['/aw/deployment']).toBe('2');
  });

  test('one that hangs fails at the end of the pass', async () => {
    const world = await reconciledWorld();
    world.declare({ '/aw/deployment': '2' });
    world.replica.list = () => new Promise(() => {});
    const { outcome } = await reconcile({ ...world.deps, passMs: 20 }, signal);
    expect(outcome).toMatchObject({ outcome: 'retry', reason: 'region-failed' });
    expect(world.home.values()['/aw/deployment']).toBe('2');
  });

  test('throttling leaves the rest for the next pass', async () => {
    const world = await reconciledWorld();
    world.declare({ '/aw/a': '1', '/aw/b': '2' });
    world.home.before = ([name]) => {
      if (name === '/aw/b') throw awsError('TooManyUpdates');
    };
    expect((await reconcile(world.deps, signal)).outcome).toMatchObject({
      outcome: 'retry',
      reason: 'writes-left',
    });
    world.home.before = () => {};
    expect((await reconcile(world.deps, signal)).outcome.outcome).toBe('done');
    expect(world.home.values()['/aw/b']).toBe('2');
  });
});

test('a declared value that is too large is a fault of the declaration, and the others are written', async () => {
  const world = await reconciledWorld();
  world.declare({ '/aw/big': 'x'.repeat(5000), '/aw/small': 'x', '/etc/passwd': 'x' });
  const { outcome, faults } = await reconcile(world.deps, signal);
  expect(outcome.outcome).toBe('done');
  expect(faults.get('config/parameters.json')).toMatch(
    /\/aw\/big has a value larger.*\/etc\/passwd is not below/,
  );
  expect(world.home.values()['/aw/small']).toBe('x');
  expect(world.home.values()['/etc/passwd']).toBeUndefined();
});

describe('an edit that Parameter Store does not let be overwritten', () => {
  test.each([
    ['advanced tier', { advanced: true }],
    ['AllowedPattern', { allowedPattern: /^\d+$/ }],
    ['label on the oldest version', { labelledOldest: true }],
  ])(
    '%s: is set back in two passes, counted once, and no fault of the declaration',
    async (_, restriction) => {
      const world = await reconciledWorld();
      const before = world.home.values();
      world.home.edit('/aw/deployment', 'by hand', world.now(), 'String', restriction);
      const first = await reconcile(world.deps, signal);
      expect(first.outcome).toMatchObject({ outcome: 'retry', reason: 'writes-left' });
      expect(first.faults.size).toBe(0);
      expect((await reconcile(world.deps, signal)).outcome.outcome).toBe('done');
      expect(world.home.values()).toEqual(before);
      expect(world.drift).toEqual([1]);
    },
  );

  test('the capacity of a group follows again', async () => {
    const world = await reconciledWorld();
    const name = '/aw/groups/gha/default/capacity';
    world.home.edit(name, JSON.stringify(capacity), world.now(), 'String', { advanced: true });
    world.groups = [{ name: 'aw-gha-default', ...capacity, desired: 4 }];
    await reconcile(world.deps, signal);
    await reconcile(world.deps, signal);
    expect(JSON.parse(world.home.values()[name] ?? '')).toMatchObject({ desired: 4 });
    expect(world.drift).toEqual([1]);
  });
});

test('a refused capacity, and a region without room, are no faults of the declaration', async () => {
  const world = await reconciledWorld();
  world.declare({ '/aw/deployment': '2', '/aw/groups/gha/default': '{}' });
  world.groups = [{ name: 'aw-gha-default', ...capacity, desired: 4 }];
  world.home.before = ([name]) => {
    if (name === '/aw/deployment') throw awsError('ParameterLimitExceeded');
    throw awsError('ValidationException');
  };
  const { faults } = await reconcile(world.deps, signal);
  expect([...faults]).toEqual([]);
  expect(world.warnings).toContain('parameters cannot be written');
});

test('a set that is not declared any more leaves the tree, though its pointer stays', async () => {
  const world = await reconciledWorld();
  world.point('other', SNAPSHOT);
  world.declare({ '/aw/deployment': '{"version":"1"}', '/aw/groups/gha/default': '{}' }, ['other', 'new']);
  await reconcile(world.deps, signal);
  expect(Object.keys(world.home.values()).filter((name) => name.startsWith('/aw/warming/'))).toEqual([
    '/aw/warming/other/snapshot',
  ]);
  expect(world.drift).toEqual([]);
});

test('a later change of the pointer is not the promotion', async () => {
  const world = await reconciledWorld();
  const promotedAt = world.now();
  world.pass(60_000);
  world.point('default', SNAPSHOT, promotedAt);
  await reconcile(world.deps, signal);
  expect(JSON.parse(world.home.values()['/aw/warming/default/snapshot'] ?? '')).toMatchObject({
    promotedAt: promotedAt.toISOString(),
  });
});

describe('the time limit', () => {
  test('ends the writes of a slow region, and reports those that were made', async () => {
    const world = await reconciledWorld();
    world.declare(Object.fromEntries(Array.from({ length: 20 }, (_, index) => [`/aw/x${index}`, '1'])));
    world.replica.before = () => new Promise((resolve) => setTimeout(resolve, 10));
    const { outcome } = await reconcile({ ...world.deps, passMs: 60 }, signal);
    const atEnd = world.replica.calls.length;
    expect(outcome).toMatchObject({ outcome: 'retry', reason: 'writes-left' });
    expect(outcome.detail?.['eu-west-1']).toMatchObject({ written: expect.any(Number) });
    await new Promise((resolve) => setTimeout(resolve, 60));
    // The call that was under way may end after the limit.
    expect(world.replica.calls.length).toBeLessThanOrEqual(atEnd + 1);
    expect(world.replica.calls.length).toBeLessThan(20);
  });

  test('ends a read of the sources that hangs', async () => {
    const world = await reconciledWorld();
    world.store.read = () => new Promise(() => {});
    await expect(reconcile({ ...world.deps, passMs: 20 }, signal)).rejects.toMatchObject({
      reason: 'source-unreadable',
    });
  });

  test('is also that of the record', async () => {
    const world = await reconciledWorld();
    world.replica.list = () => new Promise(() => {});
    const { outcome } = await reconcile(world.deps, AbortSignal.timeout(20));
    expect(outcome).toMatchObject({ outcome: 'retry', reason: 'region-failed' });
  });
});

test('a deleted parameter whose write is left for the next pass is counted then', async () => {
  const world = await reconciledWorld();
  world.home.erase('/aw/deployment');
  world.deps.deletions.external.add('/aw/deployment');
  world.home.before = () => {
    throw awsError('TooManyUpdates');
  };
  await reconcile(world.deps, signal);
  world.home.before = () => {};
  await reconcile(world.deps, signal);
  expect(world.drift).toEqual([1]);
  expect(world.deps.deletions.external.size).toBe(0);
});
