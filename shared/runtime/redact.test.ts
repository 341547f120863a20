import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { createLogger, withLogFields } from './logger.ts';
import { redactingReplacer, redactText, registerSecret } from './redact.ts';

const printed = (value: unknown) => JSON.stringify(value, redactingReplacer);

/** Put together here, so that no scanner takes this file for a leak. */
const accessKey = `AKIA${'Z'.repeat(16)}`;
const githubToken = `ghp_${'z'.repeat(36)}`;
const privateKey = ['-----BEGIN RSA PRIVATE KEY-----', 'zzzz', '-----END RSA PRIVATE KEY-----'].join('\n');

describe('by name', () => {
  test.each([
    'token',
    'accessToken',
    'auth_token',
    'routing_key',
    'routingKey',
    'Authorization',
    'x-api-key',
    'SecretAccessKey',
    'password',
    'privateKey',
    'credentials',
    'encodedJitConfig',
    'encoded_jit_config',
    'x-hub-signature-256',
    'signature',
    'set-cookie',
    'jwt',
    'pem',
  ])('%s is not printed, at any depth and of any type', (name) => {
    for (const value of ['hunter2!', ['hunter2!'], { inner: 'hunter2!' }, 12345]) {
      expect(printed({ deep: [{ [name]: value }] })).toBe(`{"deep":[{"${name}":"[redacted]"}]}`);
    }
  });

  test.each([
    'LifecycleActionToken',
    'NextToken',
    'tokens',
    'keyboard',
    'monkey',
    'secretary',
    'signatures',
    'tempem',
  ])('%s is printed', (name) => {
    expect(printed({ [name]: 'plain' })).toBe(`{"${name}":"plain"}`);
  });

  test('an empty value is printed as it is', () => {
    expect(printed({ token: '', secret: null, password: false })).toBe(
      '{"token":"","secret":null,"password":false}',
    );
  });
});

describe('by value', () => {
  test('a registered secret is found in the middle of any text, also in the message of an error', () => {
    registerSecret('s3cr3t-value-of-a-test');
    expect(redactText('POST with s3cr3t-value-of-a-test failed')).toBe('POST with [redacted] failed');
    expect(printed({ error: new Error('bad key s3cr3t-value-of-a-test') })).not.toContain('s3cr3t');
  });

  test('a secret with the special characters of regular expressions is redacted', () => {
    registerSecret('a+b(c)*[d]$.^|\\');
    expect(redactText('<a+b(c)*[d]$.^|\\>')).toBe('<[redacted]>');
  });

  test('short words are not registered: they would redact ordinary text', () => {
    registerSecret('warm');
    expect(redactText('warm boot')).toBe('warm boot');
  });

  test('a registered secret between any two texts', () => {
    registerSecret('0123456789abcdefghij');
    fc.assert(
      fc.property(fc.string(), fc.string(), (before, after) => {
        expect(redactText(`${before}0123456789abcdefghij${after}`)).not.toContain('0123456789abcdefghij');
      }),
    );
  });
});

describe('by format', () => {
  const filler = (length: number) => 'z'.repeat(length);
  const jwt = [`eyJ${filler(20)}`, `eyJ${filler(60)}`, filler(43)].join('.');

  test.each([
    ['an access key of AWS', accessKey],
    ['a token of GitHub', githubToken],
    ['a token of GitHub with a JWT inside', `ghs_1234_${jwt}`],
    ['a fine-grained token of GitHub', `github_pat_${filler(22)}_${filler(59)}`],
    ['an agent token of Buildkite', `bkct_${filler(40)}`],
    ['a user token of Buildkite', `bkua_${filler(40)}`],
    ['a personal token of CircleCI', `CCIPAT_${filler(22)}_${filler(40)}`],
    ['a project token of CircleCI', `CCIPRJ_${filler(22)}_${filler(40)}`],
    ['a JWT', jwt],
    ['a JWT without a signature', jwt.replace(/[^.]*$/, '')],
    ['a private key', privateKey],
    ['a private key without a kind', privateKey.replaceAll('RSA ', '')],
  ])('%s', (_, secret) => {
    expect(printed({ text: `see ${secret} there` })).toBe('{"text":"see [redacted] there"}');
    expect(redactText(`"${secret}"`)).toBe('"[redacted]"');
  });

  test.each([
    [`aws_secret_access_key = ${filler(40)}`, 'aws_secret_access_key = [redacted]'],
    [`{"SecretAccessKey":"${filler(40)}"}`, '{"SecretAccessKey":"[redacted]"}'],
    [`Authorization: Bearer ${filler(12)} sent`, 'Authorization: Bearer [redacted] sent'],
    [`'authorization': 'Basic ${filler(12)}'`, "'authorization': 'Basic [redacted]'"],
    [
      `git fetch https://x-access-token:${filler(8)}@example.com/a/b`,
      'git fetch https://[redacted]@example.com/a/b',
    ],
    [`https://${filler(8)}@example.com`, 'https://[redacted]@example.com'],
    ['postgres://user:p@ss@db.example.com:5432/x', 'postgres://[redacted]@db.example.com:5432/x'],
  ])('%s', (text, redacted) => {
    expect(redactText(text)).toBe(redacted);
    expect(redactText(redacted)).toBe(redacted);
  });

  test('a private key that was cut off is redacted to the end', () => {
    expect(redactText(`before ${privateKey.slice(0, -5)} and more`)).toBe('before [redacted]');
    expect(redactText(`${privateKey} between ${privateKey} after`)).toBe(
      '[redacted] between [redacted] after',
    );
  });

  test.each([
    'https://api.github.com/repos/acme/monorepo/actions/runs?x=a@b.c',
    'ssh://git@github.com/acme/monorepo',
    'git@github.com:acme/monorepo.git',
    'arn:aws:secretsmanager:us-west-2:123456789012:secret:aw_gha_app_x1y2z3-AbCdEf',
    'secret aw_bk_agent_token_local is not JSON',
    'mail to on-call@example.com: https://example.com',
    'i-0123456789abcdef0-12',
    `sha256:${'a'.repeat(64)}`,
  ])('%s stays as it is', (text) => {
    expect(redactText(text)).toBe(text);
  });
});

describe('a hostile text of many megabytes is redacted in a time that grows with its length alone', () => {
  // With one pattern that begins anew inside of what it has read, each of these takes hours.
  const bytes = 8 * 1024 * 1024;
  test.each([
    '-----BEGIN PRIVATE KEY-----',
    '-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----',
    'eyJaaaaaaaa.',
    'eyJ-eyJ_',
    'eyJ',
    'ghp_a-',
    'bkct_-',
    'a',
    'a://',
    'https://a',
    'authorization: basic ',
    'secret_access_key = ',
    'CCIPAT_',
    ' ',
    'AKIA',
  ])('%j', (piece) => {
    const text = piece.repeat(Math.ceil(bytes / piece.length));
    expect(redactText(text).length).toBeLessThanOrEqual(text.length);
  });
});

test("the functions' logger redacts", () => {
  const lines: string[] = [];
  vi.stubEnv('POWERTOOLS_DEV', 'true');
  const print = vi.spyOn(console, 'info').mockImplementation((line: string) => void lines.push(line));
  registerSecret('another-registered-secret');
  const logger = createLogger('test');
  withLogFields({ messageId: 'm-1' }, () =>
    logger.info('sent with another-registered-secret', { request: { routing_key: 'abcdefgh', size: 1 } }),
  );
  print.mockRestore();
  vi.unstubAllEnvs();
  expect(lines.join().replace(/\s/g, '')).toContain('"size":1');
  expect(lines.join()).toContain('m-1');
  expect(lines.join()).not.toMatch(/abcdefgh|another-registered-secret/);
});
