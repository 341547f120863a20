import fc from 'fast-check';
import * as v from 'valibot';
import { describe, expect, test } from 'vitest';
import { snapshotId } from './layout.ts';
import {
  emptyPointer,
  isQuarantined,
  KEPT_PREVIOUS,
  MAX_POINTER_BYTES,
  type Pointer,
  pointerSchema,
  promote,
  quarantine,
  vouchedFor,
} from './pointer.ts';

const at = new Date('2026-11-23T08:00:00Z');
const digest = 'a'.repeat(64);
const id = (minute: number) => snapshotId(new Date(at.getTime() + minute * 60_000), '0123abcd');
const vouched = (minute: number) => ({ id: id(minute), manifestSha256: digest });
const after = (...steps: ((pointer: Pointer) => Pointer | undefined)[]) =>
  steps.reduce((pointer, step) => step(pointer) ?? pointer, emptyPointer(at));
const promoted = (minute: number) => (pointer: Pointer) => promote(pointer, vouched(minute), at);
const broken = (minute: number) => (pointer: Pointer) => quarantine(pointer, id(minute), 'flipped bit', at);

describe('promotion', () => {
  test('the first one, then newer ones, with those before them behind', () => {
    expect(after(promoted(1), promoted(2), promoted(3))).toMatchObject({
      current: vouched(3),
      previous: [vouched(2), vouched(1)],
    });
  });

  test('an older one never replaces a newer one, and the same one changes nothing', () => {
    const pointer = after(promoted(2));
    expect(promote(pointer, vouched(1), at)).toBeUndefined();
    expect(promote(pointer, vouched(2), at)).toBeUndefined();
  });

  test('one that was quarantined does not come back', () => {
    expect(promote(after(promoted(1), promoted(2), broken(2)), vouched(2), at)).toBeUndefined();
  });
});

test('promotedAt changes with the current snapshot only', () => {
  const minutes = (minute: number) => new Date(at.getTime() + minute * 60_000);
  const two = after(
    (pointer) => promote(pointer, vouched(1), minutes(1)),
    (pointer) => promote(pointer, vouched(2), minutes(2)),
  );
  expect(two.promotedAt).toBe(minutes(2).toISOString());
  const other = quarantine(two, id(3), 'flipped bit', minutes(3));
  expect(other).toMatchObject({ updatedAt: minutes(3).toISOString(), promotedAt: minutes(2).toISOString() });
  const rolledBack = quarantine(two, id(2), 'flipped bit', minutes(4));
  expect(rolledBack).toMatchObject({ current: vouched(1), promotedAt: minutes(4).toISOString() });
});

describe('quarantine', () => {
  test('of more than 20 in a day forgets none of them until their manifests are pruned', () => {
    const pointer = after(...Array.from({ length: 30 }, (_, index) => broken(index)));
    for (let index = 0; index < 30; index += 1) expect(promote(pointer, vouched(index), at)).toBeUndefined();
    const later = new Date(at.getTime() + 49 * 3_600_000);
    expect(quarantine(pointer, id(40), 'flipped bit', later)?.quarantined).toHaveLength(20);
  });

  test('of a flood keeps the pointer readable', () => {
    const pointer = after(
      ...Array.from(
        { length: 300 },
        (_, index) => (before: Pointer) => quarantine(before, id(index), '\0'.repeat(9_999), at),
      ),
    );
    expect(JSON.stringify(pointer, null, 2).length).toBeLessThan(MAX_POINTER_BYTES);
    expect(v.is(pointerSchema, pointer)).toBe(true);
    expect(isQuarantined(pointer, id(299))).toBe(true);
  });

  test('of the current one rolls back, once', () => {
    const pointer = after(promoted(1), promoted(2), broken(2));
    expect(pointer).toMatchObject({
      current: vouched(1),
      previous: [],
      quarantined: [{ id: id(2), reason: 'flipped bit' }],
    });
    expect(quarantine(pointer, id(2), 'again', at)).toBeUndefined();
  });

  test('of the only one leaves none: cold boots are better than broken ones', () => {
    expect(after(promoted(1), broken(1)).current).toBeNull();
  });

  test('of one behind leaves the current one', () => {
    expect(after(promoted(1), promoted(2), broken(1))).toMatchObject({ current: vouched(2), previous: [] });
  });

  test('of one that is not yet promoted keeps it from ever being', () => {
    const pointer = after(broken(5));
    expect(isQuarantined(pointer, id(5))).toBe(true);
    expect(promote(pointer, vouched(5), at)).toBeUndefined();
  });
});

test('whatever happens, the current one is sound, and newer than all behind it', () => {
  const step = fc.record({ broken: fc.boolean(), minute: fc.integer({ min: 0, max: 12 }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 18 }), (steps) => {
      const pointer = after(...steps.map((one) => (one.broken ? broken(one.minute) : promoted(one.minute))));
      const behind = pointer.previous.map((each) => each.id);
      const current = pointer.current?.id ?? null;
      for (const other of [pointer.current, ...pointer.previous]) {
        if (other !== null) expect(isQuarantined(pointer, other.id)).toBe(false);
      }
      expect(behind.length).toBeLessThanOrEqual(KEPT_PREVIOUS);
      expect([...behind].sort().reverse()).toEqual(behind);
      if (behind[0]) expect(current !== null && current > behind[0]).toBe(true);
    }),
  );
});

test('the pointer vouches for the current snapshot and those behind it', () => {
  const pointer = after(promoted(1), promoted(2), promoted(3), broken(3));
  expect(vouchedFor(pointer, id(2))).toEqual(vouched(2));
  expect(vouchedFor(pointer, id(1))).toEqual(vouched(1));
  expect(vouchedFor(pointer, id(3))).toBeUndefined();
});
