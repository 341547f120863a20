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
  ])('%s is not printed, at any depth and of any type', (name) => {
    for (const value of ['hunter2!', ['hunter2!'], { inner: 'hunter2!' }, 12345]) {
      expect(printed({ deep: [{ [name]: value }] })).toBe(`{"deep":[{"${name}":"[redacted]"}]}`);
    }
  });

  test.each(['LifecycleActionToken', 'NextToken', 'tokens', 'keyboard', 'monkey', 'secretary'])(
    '%s is printed',
    (name) => {
      expect(printed({ [name]: 'plain' })).toBe(`{"${name}":"plain"}`);
    },
  );

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

test.each([accessKey, githubToken, privateKey])('by format: %#', (secret) => {
  expect(printed({ text: `see ${secret} there` })).toBe('{"text":"see [redacted] there"}');
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
