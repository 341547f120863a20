import { expect, test } from 'vitest';
import { activeGroups, type Deployment } from './functions.ts';

test('a group that has become empty is there for some calls more: what is remembered of its jobs ends', () => {
  const counts = { queued: 1, running: 0 };
  const group = { desired: 0, instances: [] };
  const active = activeGroups({
    world: { groups: [{ id: 'bk/g', takes: ['g'], pool: 'p', settings: { autoScalingGroup: 'aw-bk-g' } }] },
    autoScaling: { entries: new Map([['aw-bk-g', { group }]]) },
    ci: { pools: new Map([['p', { counts: new Map([['g', counts]]) }]]) },
  } as unknown as Deployment);
  const found = (times: number) => Array.from({ length: times }, () => active().length);
  expect(found(2)).toEqual([1, 1]);
  counts.queued = 0;
  expect(found(7)).toEqual([1, 1, 1, 1, 1, 0, 0]);
  group.desired = 1;
  expect(found(1)).toEqual([1]);
});
