import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Desired, Wanted } from './desired.ts';
import { type Plan, type Present, planTree } from './plan.ts';

const DECLARED_AT = new Date('2026-11-23T03:00:00Z');
const before = new Date(DECLARED_AT.getTime() - 60_000);
const after = new Date(DECLARED_AT.getTime() + 60_000);

function desired(wanted: Record<string, Wanted | string>, isHeld: Desired['isHeld'] = () => false) {
  const entries = Object.entries(wanted).map(([name, each]): [string, Wanted] => [
    name,
    typeof each === 'string' ? { value: each, since: DECLARED_AT } : each,
  ]);
  return { wanted: new Map(entries), isHeld, declaredAt: DECLARED_AT };
}

function there(name: string, value: string, modifiedAt = before, type = 'String'): Present {
  return { name, value, modifiedAt, type };
}

describe('somebody else has changed', () => {
  test('a value that is newer than its declaration', () => {
    const plan = planTree('/aw', desired({ '/aw/x': '1' }), [there('/aw/x', '2', after)]);
    expect(plan).toMatchObject({ writes: [{ name: '/aw/x', value: '1' }], deletes: [] });
    expect([...plan.drift]).toEqual(['/aw/x']);
  });

  test('but not one that a newer declaration has left behind', () => {
    const plan = planTree('/aw', desired({ '/aw/x': '1' }), [there('/aw/x', '2', before)]);
    expect(plan.writes).toHaveLength(1);
    expect(plan.drift.size).toBe(0);
  });

  test('a parameter that nobody declared, unless it was declared before', () => {
    const plan = planTree('/aw', desired({}), [there('/aw/mine', 'x', after), there('/aw/old', 'x', before)]);
    expect(plan.deletes).toEqual(['/aw/mine', '/aw/old']);
    expect([...plan.drift]).toEqual(['/aw/mine']);
  });

  test('a parameter that is gone, only if an event has told of it', () => {
    const wanted = desired({ '/aw/new': '1', '/aw/gone': '2' });
    const plan = planTree('/aw', wanted, [], new Set(['/aw/gone']));
    expect(plan.writes).toHaveLength(2);
    expect([...plan.drift]).toEqual(['/aw/gone']);
  });

  test('a type, which takes a delete and a new parameter', () => {
    const secret = there('/aw/x', 'AQICAH', before, 'SecureString');
    const plan = planTree('/aw', desired({ '/aw/x': '1' }), [secret]);
    expect(plan).toMatchObject({ writes: [], deletes: [], replaces: ['/aw/x'] });
    expect([...plan.drift]).toEqual(['/aw/x']);
  });

  test('capacity, if it is not what this function writes', () => {
    const name = '/aw/groups/gha/default/capacity';
    const now = '{"min":0,"max":5,"desired":2,"inService":1,"draining":0}';
    const wanted = desired({ [name]: { value: now } });
    const older = '{"min":0,"max":5,"desired":1,"inService":0,"draining":0}';
    expect(planTree('/aw', wanted, [there(name, older, after)]).drift.size).toBe(0);
    for (const edited of [
      '{"min":0}',
      'plenty',
      '{"min":0,"max":5,"desired":"2","inService":1,"draining":0}',
    ]) {
      expect([...planTree('/aw', wanted, [there(name, edited, after)]).drift]).toEqual([name]);
    }
  });
});

test('what is live and gone is deleted without a word about drift', () => {
  const names = ['/aw/groups/gha/old/capacity', '/aw/warming/old/snapshot'];
  const plan = planTree(
    '/aw',
    desired({}),
    names.map((name) => there(name, '{}', after)),
  );
  expect(plan.deletes).toEqual(names);
  expect(plan.drift.size).toBe(0);
});

test('a value that cannot be written is refused, and the one that is there stays', () => {
  const wanted = desired({ '/aw/big': 'x'.repeat(4097), '/aw/small': 'x', '/elsewhere': 'x' });
  const plan = planTree('/aw', wanted, [there('/aw/big', 'as it was')]);
  expect(plan.refused.map(({ name }) => name)).toEqual(['/aw/big', '/elsewhere']);
  expect(plan.writes).toEqual([{ name: '/aw/small', value: 'x' }]);
  expect(plan.deletes).toEqual([]);
});

describe('for any tree', () => {
  // Few names, so that they meet; some outside of the root, some that only begin like it.
  const name = fc.constantFrom(
    '/aw/a',
    '/aw/b',
    '/aw/c/d',
    '/aw/held',
    '/awful/x',
    '/other/y',
    '/aw',
    'aw/z',
  );
  const value = fc.constantFrom('1', '2', '', 'x'.repeat(5000), '{{ssm:x}}');
  const date = fc.constantFrom(before, after);
  const wantedTree = fc.dictionary(name, value);
  const presentTree = fc.uniqueArray(
    fc.record({
      name,
      value: fc.constantFrom('1', '2', '3'),
      type: fc.constantFrom('String', 'StringList', 'SecureString'),
      modifiedAt: date,
    }),
    { selector: (parameter) => parameter.name },
  );
  const isHeld = (each: string) => each === '/aw/held';

  function applied(plan: Plan, present: readonly Present[]): Present[] {
    const tree = new Map(present.map((parameter) => [parameter.name, parameter]));
    for (const gone of [...plan.deletes, ...plan.replaces]) tree.delete(gone);
    for (const each of plan.writes) tree.set(each.name, there(each.name, each.value, after));
    return [...tree.values()];
  }

  test('a plan touches nothing outside of the root and nothing that is held', () => {
    fc.assert(
      fc.property(wantedTree, presentTree, (wanted, present) => {
        const plan = planTree('/aw', desired(wanted, isHeld), present);
        const touched = [...plan.writes.map((each) => each.name), ...plan.deletes, ...plan.replaces];
        for (const each of touched) {
          expect(each).toMatch(/^\/aw\//);
          expect(each).not.toBe('/aw/held');
        }
        expect(new Set(touched).size).toBe(touched.length);
        for (const each of plan.drift) expect(touched).toContain(each);
      }),
    );
  });

  test('after it the tree is as wanted, and at most one more plan has anything to do', () => {
    fc.assert(
      fc.property(wantedTree, presentTree, (wanted, present) => {
        const goal = desired(wanted, isHeld);
        const first = planTree('/aw', goal, present);
        const once = applied(first, present);
        const second = planTree('/aw', goal, once);
        // Only what had another type is left, now to be written.
        expect(second.writes.map((each) => each.name).sort()).toEqual([...first.replaces].sort());
        expect([...second.deletes, ...second.replaces, ...second.drift]).toEqual([]);
        const twice = applied(second, once);
        expect(planTree('/aw', goal, twice)).toMatchObject({ writes: [], deletes: [], replaces: [] });
        const refused = new Set(first.refused.map((each) => each.name));
        for (const [each, { value: text }] of goal.wanted) {
          if (refused.has(each) || isHeld(each)) continue;
          expect(twice.find((parameter) => parameter.name === each)).toMatchObject({
            value: text,
            type: 'String',
          });
        }
        for (const parameter of twice) {
          const isOurs = parameter.name.startsWith('/aw/') && !isHeld(parameter.name);
          if (isOurs) expect(goal.wanted.has(parameter.name)).toBe(true);
        }
      }),
    );
  });
});
