import { describe, expect, test } from 'vitest';
import { isBacklogName, isCapacityName, isSnapshotName, parameterProblem, treeRegions } from './names.ts';

describe('what Parameter Store does not accept is refused before the call', () => {
  test.each([
    ['/other/x', 'v', /not below/],
    ['/aw', 'v', /not below/],
    ['/awful/x', 'v', /not below/],
    [`/aw/${'x'.repeat(1020)}`, 'v', /longer than 1011/],
    ['/aw/a b', 'v', /character/],
    ['/aw/../x\n', 'v', /character/],
    ['/aw//x', 'v', /character/],
    ['/aw/x/', 'v', /character/],
    [`/aw${'/x'.repeat(15)}`, 'v', /levels/],
    ['/aw/x', '', /no value/],
    ['/aw/x', 'é'.repeat(2049), /4096 bytes/],
    ['/aw/x', 'a {{ssm:other}}', /reference/],
  ])('%j = %j', (name, value, problem) => {
    expect(parameterProblem('/aw', name, value)).toMatch(problem);
  });

  test.each([
    ['/aw/deployment', '{}'],
    [`/aw${'/x'.repeat(14)}`, 'v'],
    ['/aw/a.b-c_D/1', 'é'.repeat(2048)],
  ])('%j is fine', (name, value) => {
    expect(parameterProblem('/aw', name, value)).toBeUndefined();
  });
});

test('names of live parameters differ from declared ones', () => {
  expect(isCapacityName('/aw', '/aw/groups/gha/default/capacity')).toBe(true);
  expect(isCapacityName('/aw', '/aw/groups/gha/default')).toBe(false);
  expect(isCapacityName('/aw', '/aw/groups/jenkins/default/capacity')).toBe(false);
  expect(isCapacityName('/aw', '/other/groups/gha/default/capacity')).toBe(false);
  expect(isBacklogName('/aw', '/aw/groups/gha/default/backlog')).toBe(true);
  expect(isBacklogName('/aw', '/aw/groups/gha/default/capacity')).toBe(false);
  expect(isSnapshotName('/aw', '/aw/warming/default/snapshot')).toBe(true);
  expect(isSnapshotName('/aw', '/aw/warming/a/b/snapshot')).toBe(false);
  expect(isSnapshotName('/aw', '/aw/warming/snapshot')).toBe(false);
});

test('each region is written once, also if the replica regions name the home region', () => {
  expect(treeRegions('us-east-1', ['eu-west-1', 'us-east-1', 'eu-west-1'])).toEqual([
    'us-east-1',
    'eu-west-1',
  ]);
});
