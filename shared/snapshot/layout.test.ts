import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SET_NAME } from '../fleet/names.ts';
import {
  framesKey,
  indexKey,
  manifestKey,
  parseSetKey,
  pointerKey,
  runKey,
  SNAPSHOT_ID,
  snapshotId,
  snapshotTime,
} from './layout.ts';

const set = fc.stringMatching(SET_NAME);
const entropy = fc.stringMatching(/^[0-9a-f]{8}$/);
const time = fc.date({
  min: new Date('2020-01-01T00:00:00Z'),
  max: new Date('2099-12-31T23:59:59Z'),
  noInvalidDate: true,
});

test('every key is read as what it was written as', () => {
  fc.assert(
    fc.property(set, time, entropy, (name, at, digits) => {
      const id = snapshotId(at, digits);
      expect(parseSetKey(pointerKey(name))).toEqual({ kind: 'pointer', set: name });
      expect(parseSetKey(runKey(name))).toEqual({ kind: 'run', set: name });
      expect(parseSetKey(manifestKey(name, id))).toEqual({ kind: 'manifest', set: name, id });
      expect(parseSetKey(indexKey(name, id))).toEqual({ kind: 'index', set: name, id });
      expect(parseSetKey(framesKey(name, id))).toEqual({ kind: 'frames', set: name, id });
    }),
  );
});

test('ids sort by time and contain it, to the second', () => {
  fc.assert(
    fc.property(time, time, entropy, entropy, (one, two, a, b) => {
      const [first, second] = [snapshotId(one, a), snapshotId(two, b)];
      expect(first).toMatch(SNAPSHOT_ID);
      const seconds = (date: Date) => Math.floor(date.getTime() / 1000);
      expect(seconds(snapshotTime(first))).toBe(seconds(one));
      if (seconds(one) < seconds(two)) expect(first < second).toBe(true);
    }),
  );
});

test.each([
  'sets/default',
  'sets//pointer.json',
  'sets/../pointer.json',
  'sets/default/pointer.json/',
  'sets/default/snapshots/manifest.json',
  'sets/default/snapshots/../manifest.json',
  'sets/default/snapshots/20261123T030000Z-1f2e3d4c/manifest.json.new',
  'sets/default/snapshots/20261123T030000Z-1f2e3d4c/deep/manifest.json',
  'sets/default/snapshots/20261123T030000Z-1f2e3d4c/index.new',
  'sets/default/frames/',
  'sets/default/frames/../pointer.json',
  'sets/default/frames/20261123T030000Z-1f2e3d4c/x',
  'sets/default/layers/abc.sqfs',
  `sets/default/layers/${'A'.repeat(64)}.sqfs`,
  `other/default/layers/${'a'.repeat(64)}.sqfs`,
  'config/parameters.json',
  '',
])('%s is nothing of a set', (key) => {
  expect(parseSetKey(key)).toBeUndefined();
});
