import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { ConfigurationError, RetryableError } from '../../shared/runtime/errors.ts';
import { handleBatch } from '../../shared/runtime/inbox.ts';
import { outcomeOfError, recordHandler } from '../../shared/runtime/record.ts';
import { message as inboxMessage, queueUrl, sqsRecord } from '../../test/support/sqs.ts';

import type { Alarm } from './alarm-source.ts';
import { handleAlarmMessage, RETRY_FOR_MS } from './handle.ts';
import { parseRoutes, type Routes } from './routes.ts';
import type { AlarmDeps } from './settle.ts';

const folder = new URL('../../test/fixtures/events/', import.meta.url);
const samples = readdirSync(folder).filter((name) => name.endsWith('.json'));
const sample = (name: string) => JSON.parse(readFileSync(new URL(name, folder), 'utf8'));

const KEY = 'H0123456789abcdef0123456789abcde';
const SENT_AT = new Date('2026-11-23T03:00:00Z');

const inAlarm: Alarm = {
  name: 'aw-gha-default-bootstrap-failures',
  arn: 'arn:aws:cloudwatch:us-west-2:210987654321:alarm:aw-gha-default-bootstrap-failures',
  state: 'ALARM',
  reason: 'because',
  since: SENT_AT,
  description: '',
  muted: false,
  metric: undefined,
  dimensions: {},
};

function setting(
  change: { alarm?: Alarm | undefined; routes?: () => Routes; send?: () => Promise<void> } = {},
) {
  const sent: string[] = [];
  const deps: AlarmDeps = {
    alarms: {
      look: async () => ('alarm' in change ? change.alarm : inAlarm),
      before: async () => undefined,
      tags: async () => ({}),
    },
    pager: {
      async send(event) {
        await change.send?.();
        sent.push(event.event_action);
      },
    },
    routing: { get: async () => (change.routes ?? (() => parseRoutes(KEY)))(), refresh: () => {} },
    count: () => {},
    warn: () => {},
    clock: { now: () => SENT_AT },
  };
  return { deps, sent };
}

const message = (body: unknown) => inboxMessage(body, { sentAt: SENT_AT });

const IN_ALARM = 'cloudwatch-alarm-state-change-metric-ok-to-alarm.json';

/** What is sent for the samples that are about an alarm; all others are no concern of this function. */
const ABOUT_ALARMS: Record<string, unknown> = {
  [IN_ALARM]: { outcome: 'done', detail: { sent: 'trigger' } },
  'cloudwatch-alarm-state-change-metric-alarm-to-ok.json': { outcome: 'done', detail: { sent: 'trigger' } },
  'cloudwatch-alarm-state-change-metric-insufficient-data.json': {
    outcome: 'done',
    detail: { sent: 'trigger' },
  },
  'cloudwatch-alarm-configuration-change-delete.json': { outcome: 'done', detail: { sent: 'trigger' } },
  'cloudwatch-alarm-configuration-change-create.json': { outcome: 'skipped', reason: 'settings-changed' },
  'cloudwatch-alarm-configuration-change-update.json': { outcome: 'skipped', reason: 'settings-changed' },
};

describe.each(samples)('%s', (name) => {
  test('comes to the outcome of what the alarm is now', async () => {
    const { deps } = setting();
    const outcome = await handleAlarmMessage(message(sample(name)), { prefix: 'aw', ...deps }).catch(
      outcomeOfError,
    );
    if (ABOUT_ALARMS[name]) expect(outcome).toEqual(ABOUT_ALARMS[name]);
    else
      expect(outcome).toMatchObject({
        outcome: 'dead',
        reason: expect.stringMatching(/^(unknown-event|malformed-envelope)$/),
      });
  });
});

test('an alarm of somebody else is left alone', async () => {
  const { deps, sent } = setting();
  for (const prefix of ['other', 'aw-gha-default-bootstrap-failures', 'a']) {
    expect(await handleAlarmMessage(message(sample(IN_ALARM)), { ...deps, prefix })).toMatchObject({
      outcome: 'skipped',
      reason: 'foreign-alarm',
    });
  }
  expect(sent).toEqual([]);
});

test('an alarm that is gone has its incident resolved', async () => {
  const { deps, sent } = setting({ alarm: undefined });
  const body = sample('cloudwatch-alarm-configuration-change-delete.json');
  expect(await handleAlarmMessage(message(body), { prefix: 'aw', ...deps })).toEqual({
    outcome: 'done',
    detail: { sent: 'resolve' },
  });
  expect(sent).toEqual(['resolve']);
});

describe('a page that cannot be sent', () => {
  const deadline = new Date('2026-11-23T09:00:00Z');

  test('waits as long as PagerDuty asks, six hours at most', async () => {
    const { deps } = setting({
      send: () => Promise.reject(new RetryableError('pagerduty-throttled', 'busy', { afterSeconds: 30 })),
    });
    expect(await handleAlarmMessage(message(sample(IN_ALARM)), { prefix: 'aw', ...deps })).toMatchObject({
      outcome: 'retry',
      reason: 'pagerduty-throttled',
      afterSeconds: 30,
      deadline,
    });
  });

  test('waits for somebody to repair the secret, and does not say what is in it', async () => {
    const { deps } = setting({ routes: () => parseRoutes('{"default":"half-a-key"') });
    const outcome = await handleAlarmMessage(message(sample(IN_ALARM)), { prefix: 'aw', ...deps });
    expect(outcome).toMatchObject({ outcome: 'retry', reason: 'configuration', deadline });
    expect(JSON.stringify(outcome)).not.toContain('half-a-key');
  });

  test('because the secret does not exist waits for it', async () => {
    const { deps } = setting({
      routes: () => {
        throw new ConfigurationError('secret aw_pd_routing_key does not exist');
      },
    });
    const outcome = await handleAlarmMessage(message(sample(IN_ALARM)), { prefix: 'aw', ...deps });
    expect(outcome).toMatchObject({ outcome: 'retry', deadline });
  });
});

test('no line that a record leaves behind has the key in it, whatever fails', async () => {
  const lines: string[] = [];
  const log = (...line: unknown[]) => {
    lines.push(JSON.stringify(line));
  };
  const { deps } = setting({ send: () => Promise.reject(new Error(`fetch to https://x?key=${KEY} failed`)) });
  const handle = recordHandler((body) => handleAlarmMessage(body, { prefix: 'aw', ...deps }), {
    retryFor: RETRY_FOR_MS,
    clock: deps.clock,
  });
  await handleBatch([sqsRecord(JSON.stringify(sample(IN_ALARM)), { sentAt: SENT_AT })], handle, 5_000, {
    sqs: { send: async () => ({}) } as never,
    inboxUrls: [queueUrl('aw-test-inbox')],
    deadLetterUrl: queueUrl('aw-test-dead'),
    logger: { debug: log, info: log, warn: log, error: log },
  });
  expect(lines.join()).toContain('unexpected-error');
  expect(lines.join()).not.toContain(KEY);
});
