import { describe, expect, test } from 'vitest';
import { BadConfig, parseConfig, readConfig } from './config.ts';

const good = {
  version: 1,
  region: 'eu-west-1',
  bucket: 'aw-snapshots',
  reportsUrl: 'https://sqs.eu-west-1.amazonaws.com/123456789012/aw-reports',
  group: 'gha/default',
  autoScalingGroup: 'aw-gha-default',
  directories: {
    images: '/mnt/ephemeral/aw',
    warm: '/mnt/ephemeral/aw/warm',
    state: '/var/lib/aw-runner',
  },
  agent: { driver: 'gha' },
};
const parse = (change: object) =>
  parseConfig(JSON.stringify({ ...good, ...change }), '/etc/aw-runner/config.json');

test('optional settings have defaults', () => {
  expect(parse({})).toMatchObject({
    metadataEndpoint: 'http://169.254.169.254',
    bootTimeoutSeconds: 900,
    heartbeatSeconds: 60,
    warming: false,
  });
  expect(parse({}).drainTimeoutSeconds).toBeUndefined();
});

describe('each error names the file', () => {
  test.each<[string, object, RegExp]>([
    ['an unknown provider', { group: 'jenkins/x' }, /group: must be <provider>\/<name>/],
    ['a set outside its folder', { warmingSet: '../x' }, /warmingSet/],
    [
      'a path that is not absolute',
      { directories: { ...good.directories, warm: 'warm' } },
      /directories\.warm: an absolute path/,
    ],
    ['an unknown driver', { agent: { driver: 'jenkins' } }, /agent\.driver/],
    ['the simulated driver of the local cloud', { agent: { driver: 'simulated' } }, /agent\.driver/],
    ['an unknown setting', { bootTimeout: 5 }, /bootTimeout/],
    ['a location that is no URL', { registrationUrl: 'registration' }, /registrationUrl/],
    ['an idle timeout past 12 hours', { idleTimeoutMinutes: 721 }, /idleTimeoutMinutes/],
    ['a warming run without a command', { warming: { command: [] } }, /warming/],
    ['a warming run without settings', { warming: {} }, /needs either command or bazel/],
    [
      'a warming run with both kinds of command',
      { warming: { command: ['x'], bazel: { directory: '/w' } } },
      /needs either command or bazel/,
    ],
    ['a newer version', { version: 2 }, /version/],
  ])('%s', (_, change, words) => {
    expect(() => parse(change)).toThrow(BadConfig);
    expect(() => parse(change)).toThrow(words);
    expect(() => parse(change)).toThrow('/etc/aw-runner/config.json');
  });

  test('a file that is no JSON or is missing', async () => {
    expect(() => parseConfig('{', 'x.json')).toThrow(/x\.json/);
    await expect(readConfig('/no/such/config.json')).rejects.toThrow('/no/such/config.json cannot be read');
  });
});
