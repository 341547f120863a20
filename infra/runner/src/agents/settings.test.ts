import { describe, expect, test } from 'vitest';
import { BadConfig } from '../config.ts';
import { parseAgentSettings } from './settings.ts';

const program = { version: '2.336.0', url: 'https://example.com/a.tar.gz', sha256: 'a'.repeat(64) };

test('has defaults', () => {
  expect(parseAgentSettings({ driver: 'gha' })).toMatchObject({
    directory: '/opt/hearth/agents/gha',
    user: 'runner',
    workDirectory: '/var/lib/hearth-agent',
  });
  expect(parseAgentSettings({ driver: 'bk', queue: 'q', program })).toMatchObject({ program });
  expect(parseAgentSettings({ driver: 'bk', queue: 'q' }).gitCloneDepth).toBeUndefined();
});

describe('an error names the setting', () => {
  test.each<[string, object, RegExp]>([
    ['a secret', { secretId: 'arn:aws:secretsmanager:x' }, /secretId/],
    ['no queue for Buildkite', { driver: 'bk' }, /agent\.queue/],
    ['a clone without a commit', { gitCloneDepth: 0 }, /gitCloneDepth/],
    ['a user that is an option', { user: '-x' }, /user: must be a user name/],
    ['a folder that is not absolute', { directory: 'agents' }, /directory: an absolute path/],
    ['a version that is a path', { program: { ...program, version: '../x' } }, /program\.version/],
    ['a short checksum', { program: { ...program, sha256: 'abc' } }, /program\.sha256/],
    ['a program without a checksum', { program: { version: '1', url: program.url } }, /program\.sha256/],
  ])('%s', (_, change, words) => {
    const parse = () => parseAgentSettings({ driver: 'gha', ...change });
    expect(parse).toThrow(BadConfig);
    expect(parse).toThrow(words);
  });
});
