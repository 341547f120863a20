import { expect, test } from 'vitest';
import { parseConfig } from './config.ts';
import { runnerDirectories } from './directories.ts';

const config = (paths: string[], change: object = {}) =>
  parseConfig(
    JSON.stringify({
      version: 1,
      region: 'us-east-1',
      bucket: 'b',
      reportsUrl: 'https://sqs.example.com/q',
      group: 'gha/default',
      autoScalingGroup: 'aw-gha-default',
      directories: { images: '/mnt/aw', warm: '/mnt/aw/warm', state: '/var/lib/aw-runner', paths },
      agent: { driver: 'gha' },
      ...change,
    }),
    'test',
  );

test('new directories belong to the user of jobs, and in a warming run to that of its command', () => {
  const owner = (change: object) => runnerDirectories(config(['/opt/cache'], change)).owner;
  expect(owner({})).toBe('runner');
  expect(owner({ agent: { driver: 'gha', user: 'ci' } })).toBe('ci');
  expect(owner({ warming: { command: ['true'], user: 'builder' } })).toBe('builder');
  expect(owner({ warming: { command: ['true'] } })).toBe('runner');
  expect(owner({ warming: { command: ['true'] }, agent: { driver: 'gha', user: 'ci' } })).toBe('ci');
});

test.each([
  [['/opt/cache', '/opt/cache/deep'], '/opt/cache/deep is inside /opt/cache'],
  [['/mnt/aw/base'], '/mnt/aw/base overlaps /mnt/aw'],
  [['/var/lib/hearth-agent/gha/runner'], 'overlaps /var/lib/hearth-agent/gha/runner'],
  [['/var/lib/hearth-agent/bk'], '/var/lib/hearth-agent/bk contains what agents keep'],
  [['/var/lib/hearth-agent'], '/var/lib/hearth-agent overlaps'],
])('%j is refused', (paths, reason) => {
  expect(() => runnerDirectories(config(paths))).toThrow(reason);
});

test('a checkout and the plugins of an agent can be warm', () => {
  const paths = ['/var/lib/hearth-agent/gha/work/monorepo', '/var/lib/hearth-agent/bk/plugins'];
  expect(runnerDirectories(config(paths)).paths).toEqual(paths);
  expect(runnerDirectories(config([]), paths).paths).toEqual(paths);
});
