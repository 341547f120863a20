import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { snapshotTime } from '../../shared/snapshot/layout.ts';
import { emptyPointer, type Pointer, promote, quarantine } from '../../shared/snapshot/pointer.ts';
import { objectsToDelete, snapshotsToDelete } from './prune.ts';
import { idOf } from './testing/fake-warming.ts';

const NOW = new Date('2026-11-23T03:00:00Z');
const LONG_AGO = '2026-11-01T00:00:00.000Z';

const vouched = (id: string) => ({ id, manifestSha256: 'a'.repeat(64) });

function pointer(change: {
  current?: string;
  previous?: string[];
  quarantined?: Pointer['quarantined'];
  updatedAt?: string;
}): Pointer {
  const { current, previous = [], ...rest } = change;
  return {
    ...emptyPointer(new Date(LONG_AGO)),
    ...rest,
    current: current === undefined ? null : vouched(current),
    previous: previous.map(vouched),
  };
}

const days = (...each: number[]) => each.map((day) => idOf(day));

describe('deleted is', () => {
  test('what is old, and neither named nor among the newest', () => {
    const at = pointer({ current: idOf(22), previous: days(20) });
    expect(snapshotsToDelete(at, days(10, 18, 19, 20, 21, 22), 2, NOW)).toEqual(days(10, 18, 19));
    expect(snapshotsToDelete(at, days(10, 18, 19, 20, 21, 22), 4, NOW)).toEqual(days(10, 18));
    expect(snapshotsToDelete(at, days(10, 18, 19, 20, 21, 22), 9, NOW)).toEqual([]);
  });

  test("a broken one after a day of quarantine, and it takes no other one's place", () => {
    const entry = (day: number, at: string) => ({ id: idOf(day), reason: 'x', at });
    const at = pointer({
      current: idOf(22),
      quarantined: [entry(21, '2026-11-22T04:00:00Z'), entry(20, '2026-11-22T02:00:00Z')],
    });
    expect(snapshotsToDelete(at, days(18, 19, 20, 21, 22), 2, NOW)).toEqual(days(18, 20));
  });

  test('nothing while instances may fetch what the pointer named before its last change', () => {
    const at = pointer({ current: idOf(22), updatedAt: '2026-11-23T02:50:00Z' });
    expect(snapshotsToDelete(at, days(10, 22), 1, NOW)).toEqual([]);
    const later = new Date(NOW.getTime() + 10 * 60_000);
    expect(snapshotsToDelete(at, days(10, 22), 1, later)).toEqual(days(10));
  });

  test('nothing newer than the current one, however long it has waited for its verification', () => {
    expect(snapshotsToDelete(pointer({ current: idOf(10) }), days(10, 11, 12), 1, NOW)).toEqual([]);
  });

  test('nothing where no snapshot is current', () => {
    expect(snapshotsToDelete(pointer({}), days(1, 2, 3), 1, NOW)).toEqual([]);
  });

  test('what has an id that is no time', () => {
    const odd = '00000000T000000Z-00000000';
    expect(snapshotsToDelete(pointer({ current: idOf(22) }), [odd, idOf(22)], 1, NOW)).toEqual([odd]);
  });
});

test('objects that nothing needs are deleted when they are older than any save, or their snapshot has gone', () => {
  const object = (day: number, hours: number) => ({
    id: idOf(day),
    writtenAt: new Date(NOW.getTime() - hours * 3_600_000),
  });
  const objects = [object(1, 99), object(2, 47), object(3, 49), object(4, 47)];
  expect(objectsToDelete(objects, new Set([idOf(1)]), NOW, [idOf(4)])).toEqual(days(3, 4));
});

describe('for any history of a set', () => {
  const HOUR = 3_600_000;
  /** Each hour one snapshot is made, with frames of the current one or whole; some are promoted, some found broken. */
  const history = fc.array(
    fc.record({
      inherits: fc.boolean(),
      fate: fc.constantFrom('promoted', 'promoted', 'waiting', 'broken'),
    }),
    { maxLength: 60 },
  );
  const when = fc.integer({ min: 0, max: 200 });
  const keeps = fc.integer({ min: 1, max: 6 });

  function play(steps: readonly { inherits: boolean; fate: string }[]) {
    const start = Date.parse('2026-11-01T00:00:00Z');
    let at = emptyPointer(new Date(start));
    /** Ids of the objects that each manifest names. */
    const manifests = new Map<string, string[]>();
    for (const [hour, step] of steps.entries()) {
      const time = new Date(start + hour * HOUR);
      const id = `${time.toISOString().replace(/[-:]|\.\d{3}/g, '')}-00000000`;
      const inherited = step.inherits && at.current ? (manifests.get(at.current.id) ?? []) : [];
      manifests.set(id, [...inherited.slice(-3), id]);
      if (step.fate === 'promoted') at = promote(at, vouched(id), time) ?? at;
      if (step.fate === 'broken') at = quarantine(at, id, 'x', time) ?? at;
    }
    return { pointer: at, manifests, end: start + steps.length * HOUR };
  }

  test('nothing is deleted that the pointer names, that is newer, or that a remaining manifest needs', () => {
    fc.assert(
      fc.property(history, when, keeps, (steps, hours, keep) => {
        const { pointer: at, manifests, end } = play(steps);
        const now = new Date(end + hours * HOUR);
        const ids = [...manifests.keys()];
        const deleted = new Set(snapshotsToDelete(at, ids, keep, now));
        const quarantined = new Set(at.quarantined.map(({ id }) => id));
        for (const each of [at.current, ...at.previous]) if (each) expect(deleted.has(each.id)).toBe(false);
        for (const id of ids) {
          if (quarantined.has(id)) continue;
          if (at.current === null || id > at.current.id) expect(deleted.has(id)).toBe(false);
          if (now.getTime() - snapshotTime(id).getTime() < 24 * HOUR) expect(deleted.has(id)).toBe(false);
        }
        const sound = ids.filter((id) => !quarantined.has(id) && id <= (at.current?.id ?? ''));
        for (const id of sound.slice(-keep)) expect(deleted.has(id)).toBe(false);

        const remaining = ids.filter((id) => !deleted.has(id));
        const named = new Set(remaining.flatMap((id) => manifests.get(id) ?? []));
        const objects = ids.map((id) => ({ id, writtenAt: snapshotTime(id) }));
        const gone = new Set(objectsToDelete(objects, named, now, [...deleted]));
        for (const object of remaining.flatMap((id) => manifests.get(id) ?? [])) {
          expect(gone.has(object)).toBe(false);
        }
      }),
    );
  });

  test('in the end there is no more than what is kept, what is named and what is newer', () => {
    fc.assert(
      fc.property(history, keeps, (steps, keep) => {
        const { pointer: at, manifests, end } = play(steps);
        const ids = [...manifests.keys()];
        const deleted = new Set(snapshotsToDelete(at, ids, keep, new Date(end + 1000 * HOUR)));
        const { current } = at;
        if (current === null) return;
        const left = ids.filter((id) => !deleted.has(id) && id <= current.id);
        // The pointer of this history is not trimmed to `keep`, as it is on promotion: it may name three more.
        expect(left.length).toBeLessThanOrEqual(Math.max(keep, 1) + at.previous.length);
      }),
    );
  });
});
