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
    layers: '/mnt/ephemeral/aw/layers',
    warm: '/mnt/ephemeral/aw/warm',
    state: '/var/lib/aw-runner',
  },
  agent: { driver: 'simulated', url: 'http://127.0.0.1:1', queue: 'q', command: ['agent'] },
};
const parse = (change: object) =>
  parseConfig(JSON.stringify({ ...good, ...change }), '/etc/aw-runner/config.json');

test('what need not be said has a value', () => {
  expect(parse({})).toMatchObject({
    metadataEndpoint: 'http://169.254.169.254',
    bootTimeoutSeconds: 900,
    heartbeatSeconds: 60,
    warming: false,
  });
});

describe('what is wrong is named, with the file', () => {
  test.each<[string, object, RegExp]>([
    ['a group that is none', { group: 'jenkins/x' }, /group: must be <host>\/<name>/],
    ['a set that leaves its folder', { warmingSet: '../x' }, /warmingSet/],
    [
      'a path that is not absolute',
      { directories: { ...good.directories, warm: 'warm' } },
      /directories\.warm: an absolute path/,
    ],
    ['a driver that is not there', { agent: { driver: 'jenkins' } }, /agent\.driver/],
    ['a word that nobody knows', { bootTimeout: 5 }, /bootTimeout/],
    ['an idle timeout past 12 hours', { idleTimeoutMinutes: 721 }, /idleTimeoutMinutes/],
    ['a warming run without a command', { warming: { command: [] } }, /warming/],
    ['a warming run of nothing', { warming: {} }, /needs either command or bazel/],
    [
      'a warming run of two minds',
      { warming: { command: ['x'], bazel: { directory: '/w' } } },
      /needs either command or bazel/,
    ],
    ['a newer version', { version: 2 }, /version/],
  ])('%s', (_, change, words) => {
    expect(() => parse(change)).toThrow(BadConfig);
    expect(() => parse(change)).toThrow(words);
    expect(() => parse(change)).toThrow('/etc/aw-runner/config.json');
  });

  test('no JSON, and no file', async () => {
    expect(() => parseConfig('{', 'x.json')).toThrow(/x\.json/);
    await expect(readConfig('/no/such/config.json')).rejects.toThrow('/no/such/config.json cannot be read');
  });
});
