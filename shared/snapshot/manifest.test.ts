import * as v from 'valibot';
import { expect, test } from 'vitest';
import { compositeChecksum, type Manifest, manifestSchema, platformProblem } from './manifest.ts';
import { fakeImage, fakeSnapshot } from './testing/fake-snapshot.ts';

const ID = '20261123T030000Z-00000001';
const OLDER = '20261122T030000Z-00000001';
const { manifest } = fakeSnapshot('default', ID, fakeImage('a', 'b'));
const frames = manifest.frames[0] as Manifest['frames'][number];

test('a manifest is read as it was written', () => {
  expect(v.parse(manifestSchema, JSON.parse(JSON.stringify(manifest)))).toEqual(manifest);
});

test.each<[string, object, RegExp]>([
  ['a size that is no whole unit', { image: { bytes: 65_537 } }, /multiple of 65536/],
  ['a size beyond any disk', { image: { bytes: 2 ** 50 } }, /max/i],
  ['an index of a gigabyte', { index: { ...manifest.index, bytes: 2 ** 30 } }, /max/i],
  ['no frames', { frames: [] }, /length/],
  ['33 objects', { frames: Array.from({ length: 33 }, () => frames) }, /length/],
  ['one object twice', { frames: [frames, frames] }, /twice/],
  ['frames of a later snapshot', { frames: [{ ...frames, id: '20261124T030000Z-00000001' }] }, /later/],
  ['a parent that is not older', { parent: ID }, /older than its parent/],
  ['frames of another one and no parent', { frames: [{ ...frames, id: OLDER }] }, /no parent/],
  ['an object whose name is a path', { frames: [{ ...frames, id: '../../x' }] }, /id of a snapshot/],
  ['more parts than S3 has', { frames: [{ ...frames, parts: 10_001 }] }, /max/i],
  ['a path of a megabyte', { paths: ['/'.repeat(2 ** 20)] }, /length/],
])('%s is refused', (_, change, text) => {
  const { issues, success } = v.safeParse(manifestSchema, { ...manifest, ...change });
  expect(success).toBe(false);
  expect(issues?.map((issue) => `${issue.message} ${issue.type}`).join(' ')).toMatch(text);
});

test('a platform that no runner has is a problem, and so is another one than that of the instance', () => {
  const on = (change: Partial<Manifest['platform']>, host?: { os: string; arch: string }) =>
    platformProblem({ platform: { ...manifest.platform, ...change } }, host);
  expect(on({})).toBeUndefined();
  expect(on({ ext4Features: ['extent', 'orphan_file'] })).toMatch(/orphan_file/);
  expect(on({ os: 'win32' })).toMatch(/win32/);
  expect(on({ arch: 'mips' })).toMatch(/mips/);
  expect(on({}, { os: 'linux', arch: 'arm64' })).toMatch(/linux\/x64, this is linux\/arm64/);
  expect(on({}, { os: 'linux', arch: 'x64' })).toBeUndefined();
});

test('the composite checksum has the form of S3', () => {
  // 12,000,000 zeros in parts of 5 MiB, as the rules of S3 give it.
  const sha256 = Buffer.from('Kc/qGTamadHLbauKH4vHjv6X3J/Y0HR45AKqlYgXeeQ=', 'base64').toString('hex');
  expect(compositeChecksum({ sha256, parts: 3 })).toBe('Kc/qGTamadHLbauKH4vHjv6X3J/Y0HR45AKqlYgXeeQ=-3');
});
