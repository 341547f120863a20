import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Desired, Expected } from './desired.ts';
import { isOwnName } from './names.ts';
import { type Plan, planTree } from './plan.ts';
import type { Parameter } from './ports.ts';

const DECLARED_AT = new Date('2026-11-23T03:00:00Z');
const before = new Date(DECLARED_AT.getTime() - 60_000);
const after = new Date(DECLARED_AT.getTime() + 60_000);

function desired(values: Record<string, Expected | string>, isHeld: Desired['isHeld'] = () => false) {
  const entries = Object.entries(values).map(([name, each]): [string, Expected] => [
    name,
    typeof each === 'string' ? { value: each, since: DECLARED_AT } : each,
  ]);
  return { expected: new Map(entries), isHeld, declaredAt: DECLARED_AT };
}

function existing(name: string, value: string, modifiedAt = before, type = 'String'): Parameter {
  return { name, value, modifiedAt, type };
}

test('new parameters are written first, and then those that were written least recently', () => {
  const at = (seconds: number) => new Date(before.getTime() - seconds * 1000);
  const plan = planTree('/aw', desired({ '/aw/a': '1', '/aw/b': '1', '/aw/c': '1', '/aw/d': '1' }), [
    existing('/aw/a', '0', at(10)),
    existing('/aw/b', '0', at(30)),
    existing('/aw/c', '0', at(20)),
  ]);
  expect(plan.writes.map(({ name }) => name)).toEqual(['/aw/d', '/aw/b', '/aw/c', '/aw/a']);
});

describe('somebody else changed', () => {
  test('a value that is newer than its declaration', () => {
    const plan = planTree('/aw', desired({ '/aw/x': '1' }), [existing('/aw/x', '2', after)]);
    expect(plan).toMatchObject({ writes: [{ name: '/aw/x', value: '1', exists: true }], deletes: [] });
    expect([...plan.drift]).toEqual(['/aw/x']);
  });

  test('but not one that is older than the declaration', () => {
    const plan = planTree('/aw', desired({ '/aw/x': '1' }), [existing('/aw/x', '2', before)]);
    expect(plan.writes).toHaveLength(1);
    expect(plan.drift.size).toBe(0);
  });

  test('an undeclared parameter, unless it is older than the declaration', () => {
    const plan = planTree('/aw', desired({}), [
      existing('/aw/groups/gha/mine', 'x', after),
      existing('/aw/groups/gha/old', 'x', before),
    ]);
    expect(plan.deletes).toEqual(['/aw/groups/gha/mine', '/aw/groups/gha/old']);
    expect([...plan.drift]).toEqual(['/aw/groups/gha/mine']);
  });

  test('but parameters of another program below the root stay, whatever their names', () => {
    const plan = planTree('/aw', desired({}), [
      existing('/aw/external_cache_endpoint', 'x', after),
      existing('/aw/groups/gl/default', 'x', after),
      existing('/aw/groups/gha/default/token', 'x', after),
      existing('/aw/warming/default/bucket', 'x', after),
      existing('/aw/groups/gha/default', 'AQICAH', after, 'SecureString'),
      existing('/aw/deployment/version', 'x', after),
    ]);
    expect(plan).toMatchObject({ writes: [], deletes: [], replaces: [] });
    expect(plan.drift.size).toBe(0);
  });

  test('a missing parameter, only if there was an event about its delete', () => {
    const values = desired({ '/aw/new': '1', '/aw/gone': '2' });
    const plan = planTree('/aw', values, [], new Set(['/aw/gone']));
    expect(plan.writes).toHaveLength(2);
    expect([...plan.drift]).toEqual(['/aw/gone']);
  });

  test('a type, which needs a delete and a new parameter', () => {
    const secret = existing('/aw/x', 'AQICAH', before, 'SecureString');
    const plan = planTree('/aw', desired({ '/aw/x': '1' }), [secret]);
    expect(plan).toMatchObject({ writes: [], deletes: [], replaces: ['/aw/x'] });
    expect([...plan.drift]).toEqual(['/aw/x']);
  });

  test('capacity, if it is not what this function writes', () => {
    const name = '/aw/groups/gha/default/capacity';
    const now = '{"min":0,"max":5,"desired":2,"inService":1,"draining":0}';
    const values = desired({ [name]: { value: now } });
    const older = '{"min":0,"max":5,"desired":1,"inService":0,"draining":0}';
    expect(planTree('/aw', values, [existing(name, older, after)]).drift.size).toBe(0);
    for (const edited of [
      '{"min":0}',
      'plenty',
      '{"min":0,"max":5,"desired":"2","inService":1,"draining":0}',
    ]) {
      expect([...planTree('/aw', values, [existing(name, edited, after)]).drift]).toEqual([name]);
    }
  });
});

test('a live parameter without a source is deleted and is no drift', () => {
  const names = ['/aw/groups/gha/old/capacity', '/aw/warming/old/snapshot'];
  const plan = planTree(
    '/aw',
    desired({}),
    names.map((name) => existing(name, '{}', after)),
  );
  expect(plan.deletes).toEqual(names);
  expect(plan.drift.size).toBe(0);
});

test('a value that cannot be written is refused, and the present value stays', () => {
  const values = desired({ '/aw/big': 'x'.repeat(4097), '/aw/small': 'x', '/elsewhere': 'x' });
  const plan = planTree('/aw', values, [existing('/aw/big', 'as it was')]);
  expect(plan.refused.map(({ name }) => name)).toEqual(['/aw/big', '/elsewhere']);
  expect(plan.writes).toEqual([{ name: '/aw/small', value: 'x', exists: false }]);
  expect(plan.deletes).toEqual([]);
});

describe('for any tree', () => {
  // Few names, so that trees overlap. Some are outside of the root, some share only its first letters.
  const name = fc.constantFrom(
    '/aw/deployment',
    '/aw/groups/gha/a',
    '/aw/warming/b/snapshot',
    '/aw/c/d',
    '/aw/held',
    '/awful/x',
    '/other/y',
    '/aw',
    'aw/z',
  );
  const value = fc.constantFrom('1', '2', '', 'x'.repeat(5000), '{{ssm:x}}');
  const date = fc.constantFrom(before, after);
  const expectedTree = fc.dictionary(name, value);
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

  function applied(plan: Plan, present: readonly Parameter[]): Parameter[] {
    const tree = new Map(present.map((parameter) => [parameter.name, parameter]));
    for (const gone of [...plan.deletes, ...plan.replaces]) tree.delete(gone);
    for (const each of plan.writes) tree.set(each.name, existing(each.name, each.value, after));
    return [...tree.values()];
  }

  test('a plan touches nothing outside of the root and nothing that is held', () => {
    fc.assert(
      fc.property(expectedTree, presentTree, (values, present) => {
        const plan = planTree('/aw', desired(values, isHeld), present);
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

  test('after it the tree is as desired, and at most one more plan has changes', () => {
    fc.assert(
      fc.property(expectedTree, presentTree, (values, present) => {
        const goal = desired(values, isHeld);
        const first = planTree('/aw', goal, present);
        const once = applied(first, present);
        const second = planTree('/aw', goal, once);
        // Only what had another type is left to be written.
        expect(second.writes.map((each) => each.name).sort()).toEqual([...first.replaces].sort());
        expect([...second.deletes, ...second.replaces, ...second.drift]).toEqual([]);
        const twice = applied(second, once);
        expect(planTree('/aw', goal, twice)).toMatchObject({ writes: [], deletes: [], replaces: [] });
        const refused = new Set(first.refused.map((each) => each.name));
        for (const [each, { value: text }] of goal.expected) {
          if (refused.has(each) || isHeld(each)) continue;
          expect(twice.find((parameter) => parameter.name === each)).toMatchObject({
            value: text,
            type: 'String',
          });
        }
        for (const parameter of twice) {
          const isManaged =
            isOwnName('/aw', parameter.name) && parameter.type === 'String' && !isHeld(parameter.name);
          if (isManaged) expect(goal.expected.has(parameter.name)).toBe(true);
        }
      }),
    );
  });
});
