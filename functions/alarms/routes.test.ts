import { describe, expect, test } from 'vitest';
import { ConfigurationError, errorText } from '../../shared/runtime/errors.ts';
import { redactText } from '../../shared/runtime/redact.ts';
import type { Labels } from './labels.ts';
import { allKeys, keysFor, parseRoutes, routingFrom } from './routes.ts';

const KEY = 'R0123456789abcdef0123456789abcde';
const OTHER = 'Rfedcba9876543210fedcba987654321';
const THIRD = 'Raaaabbbbccccddddeeeeffff0000111';

const labels = (change: Partial<Labels> = {}): Labels => ({
  severity: 'error',
  runbook: undefined,
  route: undefined,
  group: undefined,
  ...change,
});

describe('the routing secret', () => {
  test('is one plain key', () => {
    expect(parseRoutes(` ${KEY}\n`)).toEqual(new Map([['default', KEY]]));
  });

  test('or routes with a key each', () => {
    const text = JSON.stringify({ default: KEY, critical: OTHER, 'gha/default': 'REPLACE_ME' });
    expect(parseRoutes(text)).toEqual(
      new Map([
        ['default', KEY],
        ['critical', OTHER],
      ]),
    );
  });

  test.each([
    undefined,
    '',
    ' ',
    'placeholder',
    'REPLACE_ME',
    'change-me',
    '{}',
    '{"default":""}',
    'xxxxxxxx',
  ])('is not set yet: %j', (text) => {
    expect(parseRoutes(text).size).toBe(0);
  });

  test.each([
    ['a key of another length', 'R0123456789abcdef0123456789abcdeSECRET'],
    ['broken JSON', `{"default": "${KEY}SECRET"`],
    ['a list', `{"default": ["${KEY}SECRET"]}`],
    ['a key in place of the name', `{"${KEY}SECRET": "critical"}`],
    ['a key between other names', `{"default": "${KEY}", "${OTHER}": "SECRET"}`],
    ['a route with a key that is none', `{"default": "${KEY}", "critical": "${KEY}SECRET"}`],
  ])('that is %s is named, and none of it is repeated', (_, text) => {
    const error = (() => {
      try {
        return parseRoutes(text);
      } catch (thrown) {
        return thrown;
      }
    })();
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(errorText(error)).toMatch(/routing secret/);
    expect(errorText(error)).not.toMatch(/SECRET|R0123|Rfedc/);
  });

  test('never shows a key in a log again', () => {
    parseRoutes(JSON.stringify({ default: THIRD }));
    expect(redactText(`sent with ${THIRD}`)).toBe('sent with [redacted]');
  });
});

describe('the key for an alarm', () => {
  const routes = new Map([
    ['default', KEY],
    ['critical', OTHER],
    ['gha/default', THIRD],
  ]);

  test.each([
    ['its own route', labels({ route: 'critical', group: 'gha/default' }), [OTHER, THIRD, KEY]],
    ['its runner group', labels({ group: 'gha/default', severity: 'critical' }), [THIRD, OTHER, KEY]],
    ['its severity', labels({ severity: 'critical' }), [OTHER, KEY]],
    ['the default', labels({ route: 'nowhere', group: 'bk/x' }), [KEY]],
  ])('is that of %s, then of what would fit next', (_, alarmLabels, keys) => {
    expect(keysFor(routes, alarmLabels)).toEqual(keys);
  });

  test('is none where no route fits', () => {
    expect(keysFor(new Map([['critical', KEY]]), labels())).toEqual([]);
  });

  test('every key there is comes once', () => {
    expect(allKeys(new Map([...routes, ['night', KEY]]))).toEqual([KEY, OTHER, THIRD]);
  });
});

describe('routing', () => {
  function secretOf(...texts: (string | undefined)[]) {
    let current = 0;
    return {
      get: async () => texts[current],
      refresh: () => {
        current = Math.min(current + 1, texts.length - 1);
      },
    };
  }

  test.each([
    ['unset', undefined],
    ['a placeholder', 'placeholder'],
  ])('a secret that was %s is read again for the next alarm', async (_, text) => {
    const routing = routingFrom(secretOf(text, KEY));
    expect((await routing.get()).size).toBe(0);
    expect((await routing.get()).get('default')).toBe(KEY);
  });

  test('so is one that was wrong, and one whose key was refused', async () => {
    const routing = routingFrom(secretOf('{', KEY, OTHER));
    await expect(routing.get()).rejects.toThrow('routing secret');
    expect((await routing.get()).get('default')).toBe(KEY);
    expect((await routing.get()).get('default')).toBe(KEY);
    routing.refresh();
    expect((await routing.get()).get('default')).toBe(OTHER);
  });
});

test('routing_key is another name of the default route', () => {
  const key = 'R0123456789abcdef0123456789abcde';
  expect(parseRoutes(JSON.stringify({ routing_key: key })).get('default')).toBe(key);
});
