import { describe, expect, test } from 'vitest';
import { reconcile } from './reconcile.ts';
import { type FakeHouse, fakeHouse } from './testing/fake-house.ts';
import { awsError } from './testing/fake-region.ts';

const SNAPSHOT = '20261123T020000Z-00000001';
const capacity = { min: 0, max: 5, desired: 2, inService: 1, draining: 1 };

/** A house whose tree is as it should be. */
async function settledHouse(): Promise<FakeHouse> {
  const house = fakeHouse();
  house.declare({ '/aw/deployment': '{"version":"1"}', '/aw/groups/gha/default': '{}' });
  house.point('default', SNAPSHOT);
  house.groups = [
    { name: 'aw-gha-default', ...capacity },
    { name: 'aw-gha-undeclared', ...capacity },
  ];
  house.pass(1000);
  expect((await reconcile(house.context)).outcome.outcome).toBe('done');
  house.pass(60_000);
  house.home.calls.length = 0;
  house.replica.calls.length = 0;
  expect(house.drift).toEqual([]);
  return house;
}

test('the tree is what is declared and what is live, in every region', async () => {
  const house = await settledHouse();
  expect(house.home.values()).toEqual({
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
  expect(house.replica.values()).toEqual(house.home.values());
});

test('a second look writes nothing, however much later it is', async () => {
  const house = await settledHouse();
  house.pass(86_400_000);
  expect((await reconcile(house.context)).outcome.outcome).toBe('done');
  expect([...house.home.calls, ...house.replica.calls]).toEqual([]);
});

describe('a hand edit', () => {
  test('is set back and counted, once', async () => {
    const house = await settledHouse();
    const before = house.home.values();
    house.home.edit('/aw/deployment', 'mine', house.now());
    house.home.edit('/aw/extra', 'mine', house.now());
    house.home.edit('/aw/groups/gha/default', 'secret', house.now(), 'SecureString');
    house.pass(1000);
    const first = await reconcile(house.context);
    // A type cannot be changed: the parameter is deleted now and written by the look that follows.
    expect(first.outcome).toMatchObject({ outcome: 'retry', reason: 'writes-left' });
    expect((await reconcile(house.context)).outcome.outcome).toBe('done');
    expect(house.home.values()).toEqual(before);
    expect(house.drift).toEqual([3]);
    expect(house.warnings).toContain('somebody else changed the tree: it was set back');
  });

  test('that removes a parameter is counted when an event tells of it', async () => {
    const house = await settledHouse();
    house.home.erase('/aw/deployment');
    house.context.removals.told.add('/aw/deployment');
    await reconcile(house.context);
    expect(house.home.calls).toEqual(['put /aw/deployment']);
    expect(house.drift).toEqual([1]);
    expect(house.context.removals.told.size).toBe(0);
  });

  test('is not forgotten while the home region fails', async () => {
    const house = await settledHouse();
    const { list } = house.home;
    house.home.erase('/aw/deployment');
    house.context.removals.told.add('/aw/deployment');
    house.home.list = async () => {
      throw awsError('InternalServerError');
    };
    await reconcile(house.context);
    house.home.list = list;
    await reconcile(house.context);
    expect(house.drift).toEqual([1]);
  });

  test("outside of the root is nobody's business here", async () => {
    const house = await settledHouse();
    house.home.edit('/other/x', 'mine', house.now());
    await reconcile(house.context);
    expect(house.home.values()['/other/x']).toBe('mine');
  });
});

test('changes of our own are no drift', async () => {
  const house = await settledHouse();
  house.groups = [{ name: 'aw-gha-default', ...capacity, inService: 2 }];
  house.point('default', '20261124T020000Z-00000002');
  house.declare({ '/aw/groups/gha/default': '{"max":9}' });
  house.pass(1000);
  expect((await reconcile(house.context)).outcome).toMatchObject({
    outcome: 'done',
    detail: { home: { written: 3, deleted: 1, drift: 0 } },
  });
  expect(house.drift).toEqual([]);
});

describe('hold, never zero', () => {
  test('without the declared part nothing at all is changed', async () => {
    const house = await settledHouse();
    await house.store.remove('config/parameters.json');
    house.home.edit('/aw/extra', 'x', house.now());
    const { outcome } = await reconcile(house.context);
    expect(outcome).toMatchObject({ outcome: 'retry', reason: 'nothing-declared' });
    expect(house.home.calls).toEqual([]);
  });

  test('without Auto Scaling the capacities stay, and the rest goes on', async () => {
    const house = await settledHouse();
    house.groups = awsError('ServiceUnavailable');
    house.home.edit('/aw/deployment', 'mine', house.now());
    const { outcome, faults } = await reconcile(house.context);
    expect(outcome).toMatchObject({ outcome: 'retry', reason: 'source-unreadable' });
    expect(house.home.calls).toEqual(['put /aw/deployment']);
    expect(house.home.values()['/aw/groups/gha/default/capacity']).toBe(JSON.stringify(capacity));
    expect(faults.size).toBe(0);
  });

  test('without a listing of the bucket the snapshots stay', async () => {
    const house = await settledHouse();
    const { list } = house.store;
    house.store.list = (prefix) => {
      if (prefix === 'sets/') throw awsError('SlowDown');
      return list(prefix);
    };
    const { outcome } = await reconcile(house.context);
    expect(outcome).toMatchObject({ outcome: 'retry', reason: 'source-unreadable' });
    expect(house.home.calls).toEqual([]);
  });

  test('a pointer that cannot be parsed holds its own parameter, and is named as the fault', async () => {
    const house = await settledHouse();
    house.store.put('sets/default/pointer.json', '{"version":');
    house.point('other', SNAPSHOT);
    const { outcome, faults } = await reconcile(house.context);
    expect(outcome.outcome).toBe('done');
    expect([...faults.keys()]).toEqual(['sets/default/pointer.json']);
    expect(house.home.calls).toEqual(['put /aw/warming/other/snapshot']);
  });

  test('a set whose snapshots are all quarantined has no parameter', async () => {
    const house = await settledHouse();
    house.point('default', null);
    await reconcile(house.context);
    expect(house.home.calls).toEqual(['remove /aw/warming/default/snapshot']);
    expect(house.drift).toEqual([]);
  });
});

describe('regions', () => {
  test('one that fails does not hold up the other, and is tried again', async () => {
    const house = await settledHouse();
    house.declare({ '/aw/deployment': '2' });
    house.replica.list = async () => {
      throw awsError('AccessDeniedException');
    };
    const { outcome } = await reconcile(house.context);
    expect(outcome).toMatchObject({ outcome: 'retry', reason: 'region-failed' });
    expect(house.home.values()['/aw/deployment']).toBe('2');
  });

  test('one that hangs is given up', async () => {
    const house = await settledHouse();
    house.declare({ '/aw/deployment': '2' });
    house.replica.list = () => new Promise(() => {});
    const { outcome } = await reconcile({ ...house.context, regionMs: 20 });
    expect(outcome).toMatchObject({ outcome: 'retry', reason: 'region-failed' });
    expect(house.home.values()['/aw/deployment']).toBe('2');
  });

  test('throttling leaves the rest for later', async () => {
    const house = await settledHouse();
    house.declare({ '/aw/a': '1', '/aw/b': '2' });
    house.home.before = ([name]) => {
      if (name === '/aw/b') throw awsError('TooManyUpdates');
    };
    expect((await reconcile(house.context)).outcome).toMatchObject({
      outcome: 'retry',
      reason: 'writes-left',
    });
    house.home.before = () => {};
    expect((await reconcile(house.context)).outcome.outcome).toBe('done');
    expect(house.home.values()['/aw/b']).toBe('2');
  });
});

test('a declared value that is too large is a fault of the declaration, and the others are written', async () => {
  const house = await settledHouse();
  house.declare({ '/aw/big': 'x'.repeat(5000), '/aw/small': 'x', '/etc/passwd': 'x' });
  const { outcome, faults } = await reconcile(house.context);
  expect(outcome.outcome).toBe('done');
  expect(faults.get('config/parameters.json')).toMatch(
    /\/aw\/big has a value larger.*\/etc\/passwd is not below/,
  );
  expect(house.home.values()['/aw/small']).toBe('x');
  expect(house.home.values()['/etc/passwd']).toBeUndefined();
});
