import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  autoScalingGroupName,
  CI_PROVIDERS,
  GROUP_NAME,
  type Group,
  groupId,
  hookName,
  INSTANCE_ID,
  parseAutoScalingGroupName,
  parseGroupId,
  SET_NAME,
} from './names.ts';

const group: fc.Arbitrary<Group> = fc.record({
  provider: fc.constantFrom(...CI_PROVIDERS),
  name: fc.stringMatching(GROUP_NAME),
});
const prefix = fc.constantFrom('aw', 'aw-gha', 'ci', 'a');

test('every group is found again by its id and by its Auto Scaling group, for every prefix', () => {
  fc.assert(
    fc.property(group, prefix, (one, deployment) => {
      expect(parseGroupId(groupId(one))).toEqual(one);
      expect(parseAutoScalingGroupName(deployment, autoScalingGroupName(deployment, one))).toEqual(one);
    }),
  );
});

test('no text of any kind becomes a group that would be written otherwise', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      const parsed = parseGroupId(text);
      if (parsed) expect(groupId(parsed)).toBe(text);
    }),
  );
});

describe('groups that are not ours', () => {
  test.each([
    'web-gha-default',
    'aw',
    'aw-',
    'aw-gha',
    'aw-gha-',
    'aw-jenkins-default',
    'awgha-default',
    'aw-gha-De fault',
    'aw-gha-../../etc',
    '',
  ])('%s', (name) => {
    expect(parseAutoScalingGroupName('aw', name)).toBeUndefined();
  });
});

test.each(['gha', 'gha/', '/default', 'gha/a/b', 'gha/..', 'GHA/default', `gha/${'a'.repeat(49)}`])(
  '%s is no group id',
  (id) => {
    expect(parseGroupId(id)).toBeUndefined();
  },
);

test('hooks are named after the phase that they hold', () => {
  expect([hookName('aw', 'boot'), hookName('aw', 'drain')]).toEqual(['aw-boot', 'aw-drain']);
});

test('set names cannot leave their folder', () => {
  for (const name of ['default', 'ios_17', 'a']) expect(name).toMatch(SET_NAME);
  for (const name of ['..', '.', 'a/b', 'a..b', '', '-a', 'a-', 'A', 'a\nb', 'a\n'])
    expect(name).not.toMatch(SET_NAME);
});

test('instance ids have 8 or 17 digits', () => {
  for (const id of ['i-01234567', 'i-0123456789abcdef0']) expect(id).toMatch(INSTANCE_ID);
  for (const id of [
    'i-0123456',
    'i-012345678',
    'i-0123456789ABCDEF0',
    'mi-0123456789abcdef0',
    'i-01234567\n',
  ])
    expect(id).not.toMatch(INSTANCE_ID);
});
