import { describe, expect, test } from 'vitest';
import { PermanentError, RetryableError } from '../../shared/runtime/errors.ts';
import type { Alarm } from './alarm.ts';
import { readTags, sendResolve, sendTrigger } from './notify.ts';
import type { AlarmDeps } from './ports.ts';

const alarm: Alarm = {
  name: 'aw-x',
  arn: 'arn:x',
  state: 'ALARM',
  reason: '',
  since: undefined,
  description: 'severity: critical',
  suppression: { kind: 'none' },
  metric: undefined,
  dimensions: {},
};

/**
 * @param secrets the routes of each reading of the secret: the first until it is refreshed, then the next
 * @param answers what PagerDuty throws for a key
 */
function setting(secrets: Record<string, string>[], answers: Record<string, Error> = {}) {
  const sent: string[] = [];
  const warnings: string[] = [];
  let reading = 0;
  const deps: Pick<AlarmDeps, 'pager' | 'routing' | 'logger'> & {
    alarms: Pick<AlarmDeps['alarms'], 'tags'>;
  } = {
    alarms: { tags: async () => ({}) },
    pager: {
      async send(event, key) {
        const error = answers[key];
        if (error) throw error;
        sent.push(`${event.event_action} ${key}`);
      },
    },
    routing: {
      get: async () => new Map(Object.entries(secrets[Math.min(reading, secrets.length - 1)] ?? {})),
      refresh: () => {
        reading += 1;
      },
    },
    logger: { warn: (message) => void warnings.push(message) },
  };
  return { deps, sent, warnings };
}

const refused = new PermanentError('pagerduty-refused', 'invalid key');
const busy = new RetryableError('pagerduty-throttled', 'too many');

describe('a page', () => {
  test('goes through the key that fits', async () => {
    const { deps, sent } = setting([{ default: 'd', critical: 'c' }]);
    expect(await sendTrigger(alarm, {}, deps)).toBe('sent');
    expect(sent).toEqual(['trigger c']);
  });

  test('goes nowhere without a key', async () => {
    const { deps, sent } = setting([{ warning: 'w' }]);
    expect(await sendTrigger(alarm, {}, deps)).toBe('no-key');
    expect(sent).toEqual([]);
  });

  test('goes through the new key where the old one is refused', async () => {
    const { deps, sent, warnings } = setting([{ default: 'old' }, { default: 'new' }], { old: refused });
    expect(await sendTrigger(alarm, {}, deps)).toBe('sent');
    expect(sent).toEqual(['trigger new']);
    expect(warnings).toHaveLength(1);
  });

  test('goes through the next best route where its own is refused', async () => {
    const { deps, sent } = setting([{ critical: 'c', default: 'd' }], { c: refused });
    expect(await sendTrigger(alarm, {}, deps)).toBe('sent');
    expect(sent).toEqual(['trigger d']);
  });

  test('is dead where every key is refused', async () => {
    const { deps } = setting([{ critical: 'c', default: 'd' }], { c: refused, d: refused });
    await expect(sendTrigger(alarm, {}, deps)).rejects.toBe(refused);
  });

  test('waits for the right key where PagerDuty is busy', async () => {
    const { deps, sent } = setting([{ critical: 'c', default: 'd' }], { c: busy });
    await expect(sendTrigger(alarm, {}, deps)).rejects.toBe(busy);
    expect(sent).toEqual([]);
  });
});

describe('a resolve', () => {
  test('goes through every key', async () => {
    const { deps, sent } = setting([{ default: 'd', critical: 'c', night: 'c' }]);
    expect(await sendResolve('arn:x', deps)).toBe('sent');
    expect(sent).toEqual(['resolve d', 'resolve c']);
  });

  test('goes nowhere without a key', async () => {
    expect(await sendResolve('arn:x', setting([{}]).deps)).toBe('no-key');
  });

  test('reaches the others where one key fails, and is tried again', async () => {
    const { deps, sent } = setting([{ a: 'a', b: 'b', c: 'c' }], { a: refused, b: busy });
    await expect(sendResolve('arn:x', deps)).rejects.toBe(busy);
    expect(sent).toEqual(['resolve c']);
  });

  test('is dead where a key is refused that is still in the secret, after the other keys received it', async () => {
    const { deps, sent } = setting([{ a: 'a', b: 'b' }], { a: refused });
    await expect(sendResolve('arn:x', deps)).rejects.toBe(refused);
    expect(sent).toEqual(['resolve b']);
  });

  test('goes through the new keys where one was rotated', async () => {
    const { deps, sent } = setting(
      [
        { a: 'old', b: 'b' },
        { a: 'new', b: 'b' },
      ],
      { old: refused },
    );
    expect(await sendResolve('arn:x', deps)).toBe('sent');
    expect(sent).toEqual(['resolve b', 'resolve new']);
  });
});

describe('the tags of an alarm', () => {
  const failing = (error: Error) => {
    const { deps, warnings } = setting([{}]);
    return { warnings, deps: { ...deps, alarms: { tags: () => Promise.reject(error) } } };
  };

  test('can be done without where they may not be read', async () => {
    const { deps, warnings } = failing(Object.assign(new Error('no'), { name: 'AccessDenied' }));
    expect(await readTags(alarm, deps)).toBeUndefined();
    expect(warnings).toHaveLength(1);
  });

  test('are retried where CloudWatch throttles: the route depends on them', async () => {
    const { deps } = failing(Object.assign(new Error('slow down'), { name: 'ThrottlingException' }));
    await expect(readTags(alarm, deps)).rejects.toThrow('slow down');
  });
});
