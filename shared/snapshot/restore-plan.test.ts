import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeFrame } from './frame.ts';
import { openIndex } from './frame-index.ts';
import { snapshotId } from './layout.ts';
import { planRestore } from './restore-plan.ts';
import {
  type FakeImage,
  type FakeSnapshot,
  fakeImage,
  fakeSnapshot,
  unitContent,
} from './testing/fake-snapshot.ts';
import { bytesOf, unitsOf } from './units.ts';

const UNITS = 32;

/** Time limit, in milliseconds, of a property over many images. */
const PROPERTY_MS = 60_000;
const idOf = (generation: number) => snapshotId(new Date(Date.UTC(2026, 10, 1 + generation)), '0123abcd');

/** Images of successive nights: each night replaces, zeroes and adds runs of units. */
const nights = fc.array(
  fc.array(
    fc.record({
      first: fc.nat(UNITS - 1),
      units: fc.integer({ min: 1, max: 12 }),
      text: fc.option(fc.constantFrom('a', 'b', 'c'), { nil: undefined }),
    }),
    { minLength: 1, maxLength: 4 },
  ),
  { minLength: 1, maxLength: 8 },
);

function generations(changes: typeof nights extends fc.Arbitrary<infer T> ? T : never, frameUnits: number) {
  const snapshots: FakeSnapshot[] = [];
  let image: FakeImage = fakeImage('super', 'block');
  for (const [night, runs] of changes.entries()) {
    const next = new Map(image);
    for (const { first, units, text } of runs) {
      for (let unit = Math.max(1, first); unit < Math.min(UNITS, first + units); unit += 1) {
        if (text === undefined) next.delete(unit);
        else next.set(unit, `${text}${night % 2}`);
      }
    }
    image = next;
    snapshots.push(
      fakeSnapshot('default', idOf(night), image, {
        parent: snapshots.at(-1),
        imageUnits: UNITS,
        frameUnits,
        fetchFirst: [3, 30, 7],
      }),
    );
  }
  return snapshots;
}

/** Applies a plan to a file, its frames in the order that `shuffle` gives. */
function restore(
  file: Buffer,
  snapshot: FakeSnapshot,
  snapshots: readonly FakeSnapshot[],
  base: FakeSnapshot | undefined,
  shuffle: <T>(items: T[]) => T[],
): { written: Set<number>; punched: Set<number> } {
  const written = new Set<number>();
  const punched = new Set<number>();
  const plan = planRestore(snapshot.index, base?.index);
  for (const { firstUnit, units } of plan.punches()) {
    file.fill(0, bytesOf(firstUnit), bytesOf(firstUnit + units));
    for (let unit = firstUnit; unit < firstUnit + units; unit += 1) punched.add(unit);
  }
  for (const fetch of shuffle([...plan.fetches()])) {
    const { id } = snapshot.manifest.frames[fetch.object] ?? {};
    const body = snapshots.find((each) => each.manifest.id === id)?.frames?.stored ?? Buffer.alloc(0);
    const content = decodeFrame(body.subarray(fetch.offset, fetch.offset + fetch.storedBytes), fetch);
    for (const { firstUnit, units, firstUnitInFrame } of fetch.writes) {
      content.copy(file, bytesOf(firstUnit), bytesOf(firstUnitInFrame), bytesOf(firstUnitInFrame + units));
      for (let unit = firstUnit; unit < firstUnit + units; unit += 1) {
        expect(written.has(unit)).toBe(false);
        written.add(unit);
      }
    }
  }
  return { written, punched };
}

function bytesOfImage(image: FakeImage): Buffer {
  const file = Buffer.alloc(bytesOf(UNITS));
  for (const [unit, text] of image) unitContent(text).copy(file, bytesOf(unit));
  return file;
}

test(
  'overlapping generations give the same image over any base and in any order of arrival',
  () => {
    fc.assert(
      fc.property(
        nights,
        fc.constantFrom(1, 4, 16),
        fc.nat(),
        fc.nat(),
        (changes, frameUnits, pick, seed) => {
          const snapshots = generations(changes, frameUnits);
          const target = snapshots.at(-1) as FakeSnapshot;
          const base = snapshots[pick % (snapshots.length + 1)];
          const shuffle = <T>(items: T[]) =>
            items
              .map((item, index) => [(Math.imul(index + 1, 2_654_435_761) ^ seed) >>> 0, item] as const)
              .sort(([a], [b]) => a - b)
              .map(([, item]) => item);
          const file = base ? bytesOfImage(base.image) : Buffer.alloc(bytesOf(UNITS));
          const { written, punched } = restore(file, target, snapshots, base, shuffle);
          expect(file.equals(bytesOfImage(target.image))).toBe(true);
          for (const unit of punched) expect(written.has(unit)).toBe(false);
          // What both have from the same frame is not written again.
          if (base === target) expect(written.size + punched.size).toBe(0);
        },
      ),
      { numRuns: 40 },
    );
  },
  PROPERTY_MS,
);

test(
  'every index of a generation keeps the rules of the format',
  () => {
    fc.assert(
      fc.property(nights, fc.constantFrom(1, 4, 16), (changes, frameUnits) => {
        for (const { index, manifest } of generations(changes, frameUnits)) {
          const opened = openIndex('index', index.bytes, {
            imageUnits: unitsOf(manifest.image.bytes),
            records: manifest.index.records,
            objects: manifest.frames,
          });
          expect([...opened.records()]).toEqual([...index.records()]);
          expect(opened.totals()).toEqual(manifest.totals);
        }
      }),
      { numRuns: 40 },
    );
  },
  PROPERTY_MS,
);

test('the frames that the index names first are fetched first, and each frame once', () => {
  const texts = Array.from({ length: 10 }, (_, unit) => String(unit));
  const { index } = fakeSnapshot('default', idOf(0), fakeImage(...texts), {
    frameUnits: 2,
    fetchFirst: [9, 50, 4, 5, 8],
  });
  const order = [...planRestore(index).fetches()].map(({ writes }) => writes[0]?.firstUnit);
  expect(order).toEqual([8, 4, 0, 2, 6]);
});

test('the same frame at another place is other content', () => {
  const first = fakeSnapshot('default', idOf(0), fakeImage('s', 't', 'x', 'y'), { frameUnits: 2 });
  const moved = fakeImage('s', 't', undefined, 'x', 'y');
  const second = fakeSnapshot('default', idOf(1), moved, { parent: first });
  expect(second.index.sha256(1)).toEqual(first.index.sha256(1));
  const plan = planRestore(second.index, first.index);
  expect([...plan.fetches()].map(({ writes }) => writes)).toEqual([
    [{ firstUnit: 3, units: 2, firstUnitInFrame: 0 }],
  ]);
});

test('a frame of which a unit in the middle was replaced is fetched once and written around it', () => {
  const first = fakeSnapshot('default', idOf(0), fakeImage('a', 'b', 'c', 'd'));
  const second = fakeSnapshot('default', idOf(1), fakeImage('a', 'b', 'x', undefined), { parent: first });
  expect([...planRestore(second.index).fetches()].map(({ object, writes }) => ({ object, writes }))).toEqual([
    { object: 0, writes: [{ firstUnit: 0, units: 2, firstUnitInFrame: 0 }] },
    { object: 1, writes: [{ firstUnit: 2, units: 1, firstUnitInFrame: 0 }] },
  ]);
  const step = planRestore(second.index, first.index);
  expect([...step.fetches()]).toHaveLength(1);
  expect([...step.punches()]).toEqual([{ firstUnit: 3, units: 1 }]);
});
