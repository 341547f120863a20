import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { createLogger, withLogFields } from './logger.ts';
import { hasCredentials, lineRedactor, redactingReplacer, redactText, registerSecret } from './redact.ts';

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
    ['a token of npm', `npm_${filler(36)}`],
    ['a token of GitLab', `glpat-${filler(20)}`],
    ['a token of Docker Hub', `dckr_pat_${filler(27)}`],
    ['a token of Slack', `xoxb-${filler(24)}`],
    ['a token of Vault', `hvs.${filler(24)}`],
    ['a key of Google', `AIza${filler(35)}`],
    ['a token of PagerDuty', `u+${filler(18)}`],
    ['a PGP key', privateKey.replaceAll('RSA PRIVATE KEY', 'PGP PRIVATE KEY BLOCK')],
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
    [`DEPLOY_TOKEN=${filler(8)} make`, 'DEPLOY_TOKEN=[redacted] make'],
    [`export npm_config_password='${filler(8)}'`, "export npm_config_password='[redacted]'"],
    [
      `https://example.com/x?access_token=${filler(8)}&y=1`,
      'https://example.com/x?access_token=[redacted]&y=1',
    ],
    [`{"api_key": "${filler(3)}"}`, '{"api_key": "[redacted]"}'],
    [`{\\"password\\":\\"${filler(3)}\\"}`, '{\\"password\\":\\"[redacted]\\"}'],
    [`X-Vault-Token: ${filler(8)}1`, 'X-Vault-Token: [redacted]'],
    [`tool --deploy-token ${filler(8)} up`, 'tool --deploy-token [redacted] up'],
    [`curl -u name:${filler(8)} https://example.com`, 'curl -u name:[redacted] https://example.com'],
    [`machine x login y password ${filler(8)}`, 'machine x login y password [redacted]'],
    [`Cookie: session=${filler(8)}; other=1`, 'Cookie: [redacted]'],
    [
      `GET /x?X-Amz-Credential=AKIA%2F1&X-Amz-Security-Token=${filler(9)}&X-Amz-Signature=${filler(64)}`,
      'GET /x?X-Amz-Credential=[redacted]&X-Amz-Security-Token=[redacted]&X-Amz-Signature=[redacted]',
    ],
    [`https://hooks.slack.com/services/T0/B0/${filler(24)}`, 'https://hooks.slack.com/services/[redacted]'],
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
    'privateKey: must be a PEM text of at most 8192 characters',
    'token: expected string',
    'the secret: no value was put into it in 30 days',
    'use --token FILE or --password',
    'tokens=12 keyboard=qwertz',
    `sha256:${'a'.repeat(64)}`,
  ])('%s stays as it is', (text) => {
    expect(redactText(text)).toBe(text);
  });
});

describe('a hostile text of megabytes is redacted in a time that grows with its length alone', () => {
  // With one pattern that begins anew inside of what it has read, each of these takes minutes.
  const bytes = 2 * 1024 * 1024;
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
    'token=',
    'token="a',
    'token: a',
    'tokentoken',
    '--token-',
    '--a-token ',
    '"password":"',
    '-u a',
    '-u a:',
    'login a password',
    'login ',
    'cookie: ',
    'signature=a',
    'npm_',
    'sk-sk-',
  ])('%j', (piece) => {
    const text = piece.repeat(Math.ceil(bytes / piece.length));
    expect(redactText(text).length).toBeLessThan(3 * text.length);
  });
});

describe('the lines of a program', () => {
  const body = ['MIIEzzzz', 'zzzz', 'zzzz=='];
  const key = [privateKey.split('\n')[0] ?? '', ...body, privateKey.split('\n').at(-1) ?? ''];

  test('have no line of a private key, and all others', () => {
    const redact = lineRedactor();
    const printed = ['before', ...key, 'between', ...key, 'after'].map(redact);
    expect(printed.filter((line) => line !== '[redacted]')).toEqual(['before', 'between', 'after']);
    expect(printed.join('')).not.toContain('zzzz');
  });

  test('are redacted from a begin without an end, for the length of a key', () => {
    const redact = lineRedactor();
    const printed = [...key.slice(0, -1), ...Array.from({ length: 300 }, () => 'line')].map(redact);
    expect(printed.slice(0, 100)).toEqual(Array.from({ length: 100 }, () => '[redacted]'));
    expect(printed.at(-1)).toBe('line');
  });

  test('end and begin keys in one line', () => {
    const redact = lineRedactor();
    const [begin, end] = [key[0], key.at(-1)];
    expect(redact(`a ${begin}`)).toBe('a [redacted]');
    expect(redact(`zzzz ${end} b ${begin} zzzz`)).toBe('[redacted] b [redacted]');
    expect(redact('zzzz')).toBe('[redacted]');
    expect(redact(`${end} c`)).toBe('[redacted] c');
    expect(redact('d')).toBe('d');
  });
});

test.each([
  ['git', 'clone', 'https://example.com/a?b=c@d'],
  ['make', 'GITHUB_TOKEN_FILE=/run/token', '--secret', 'id=npm'],
  ['bazel', 'build', '--config=ci', '//npm_package:all'],
])('a command without credentials: %s %s %s', (...words) => {
  for (const word of words) expect(hasCredentials(word), word).toBe(false);
});

test.each([
  githubToken,
  accessKey,
  `x glpat-${'z'.repeat(20)}`,
  `npm_${'z'.repeat(36)}`,
  `bkct_${'z'.repeat(40)}`,
])('credentials in a command', (word) => expect(hasCredentials(word)).toBe(true));

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
