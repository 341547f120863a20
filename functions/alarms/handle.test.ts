import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { ConfigurationError, RetryableError } from '../../shared/runtime/errors.ts';
import { handleBatch } from '../../shared/runtime/inbox.ts';
import { outcomeOfError, recordHandler } from '../../shared/runtime/record.ts';
import {
  message as inboxMessage,
  outcomeOf,
  queueUrl,
  SAMPLES_ACCOUNT,
  sqsRecord,
} from '../../test/support/sqs.ts';
import type { Alarm } from './alarm.ts';
import { handleAlarmMessage, retryForMs } from './handle.ts';
import type { AlarmDeps, Routes } from './ports.ts';
import { parseRoutes } from './routes.ts';

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
  suppression: { kind: 'none' },
  metric: undefined,
  dimensions: {},
};

function setting(
  change: { alarm?: Alarm | undefined; routes?: () => Routes; send?: () => Promise<void> } = {},
) {
  const sent: string[] = [];
  const deps: AlarmDeps = {
    alarms: {
      get: async () => ('alarm' in change ? change.alarm : inAlarm),
      priorState: async () => 'unknown',
      tags: async () => ({ 'hearth:severity': 'error' }),
      inAlarm: async () => [],
    },
    pager: {
      async send(event) {
        await change.send?.();
        sent.push(event.event_action);
      },
    },
    routing: { get: async () => (change.routes ?? (() => parseRoutes(KEY)))(), refresh: () => {} },
    seriesResolves: new Map(),
    prefix: 'aw',
    metrics: { add: () => {} },
    logger: { warn: () => {} },
    clock: { now: () => SENT_AT },
  };
  return { deps, sent };
}

const message = (body: unknown) => inboxMessage(body, { sentAt: SENT_AT, account: SAMPLES_ACCOUNT });

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
  'cloudwatch-alarm-configuration-change-create.json': {
    outcome: 'skipped',
    reason: 'configuration-changed',
  },
  'cloudwatch-alarm-configuration-change-update.json': {
    outcome: 'skipped',
    reason: 'configuration-changed',
  },
};

describe.each(samples)('%s', (name) => {
  test('has the outcome of the present alarm', async () => {
    const { deps } = setting();
    const outcome = await handleAlarmMessage(message(sample(name)), deps).catch(outcomeOfError);
    if (ABOUT_ALARMS[name]) expect(outcome).toEqual(ABOUT_ALARMS[name]);
    else
      expect(outcome).toMatchObject({
        outcome: 'dead',
        reason: expect.stringMatching(/^(unknown-event|malformed-envelope)$/),
      });
  });
});

test('an alarm of another deployment is skipped', async () => {
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
  expect(await handleAlarmMessage(message(body), deps)).toEqual({
    outcome: 'done',
    detail: { sent: 'resolve' },
  });
  expect(sent).toEqual(['resolve']);
});

describe('a page that cannot be sent', () => {
  const handle = (deps: AlarmDeps) => outcomeOf(handleAlarmMessage(message(sample(IN_ALARM)), deps));

  test('is retried when PagerDuty asks for it', async () => {
    const { deps } = setting({
      send: () => Promise.reject(new RetryableError('pagerduty-throttled', 'busy', { afterSeconds: 30 })),
    });
    expect(await handle(deps)).toMatchObject({
      outcome: 'retry',
      reason: 'pagerduty-throttled',
      afterSeconds: 30,
    });
  });

  test('is retried until the secret is repaired, and nothing of the secret is logged', async () => {
    const { deps } = setting({ routes: () => parseRoutes('{"default":"half-a-key"') });
    const outcome = await handle(deps);
    expect(outcome).toMatchObject({ outcome: 'retry', reason: 'configuration' });
    expect(JSON.stringify(outcome)).not.toContain('half-a-key');
  });

  test('is retried while the secret does not exist', async () => {
    const { deps } = setting({
      routes: () => {
        throw new ConfigurationError('secret aw_pd_routing_key does not exist');
      },
    });
    const outcome = await handle(deps);
    expect(outcome).toMatchObject({ outcome: 'retry' });
  });

  test('is retried for six hours, and inside a mute window for six hours after its end', () => {
    const body = sample(IN_ALARM);
    expect(retryForMs({ body })).toBe(6 * 3_600_000);
    const at = Date.parse('2024-05-14T16:20:12.204Z');
    body.detail.muteDetail = { muteWindowEnd: new Date(at + 2 * 3_600_000).toISOString() };
    expect(retryForMs({ body })).toBe(8 * 3_600_000);
    body.detail.muteDetail = { muteWindowEnd: new Date(at + 30 * 86_400_000).toISOString() };
    expect(retryForMs({ body })).toBe(13 * 86_400_000);
  });
});

test('SQS keeps the message of a page for longer than the longest retry time', () => {
  const queues = readFileSync(new URL('../../infra/modules/function/queues.tf', import.meta.url), 'utf8');
  const seconds = Number(/^ {2}retention = (\d+)$/m.exec(queues)?.[1]);
  const inbox = /resource "aws_sqs_queue" "inbox" \{.*?^\}/ms.exec(queues)?.[0];
  expect(inbox).toMatch(/message_retention_seconds\s+= local\.retention/);
  const body = sample(IN_ALARM);
  body.detail.muteDetail = { muteWindowEnd: '2030-01-01T00:00:00Z' };
  expect(retryForMs({ body })).toBeLessThan(seconds * 1000);
});

test('no log line contains the routing key after a failure of any kind', async () => {
  const lines: string[] = [];
  const log = (...line: unknown[]) => {
    lines.push(JSON.stringify(line));
  };
  const { deps } = setting({ send: () => Promise.reject(new Error(`fetch to https://x?key=${KEY} failed`)) });
  const handle = recordHandler((body) => handleAlarmMessage(body, deps), {
    retryFor: retryForMs,
    clock: deps.clock,
  });
  await handleBatch(
    [sqsRecord(JSON.stringify(sample(IN_ALARM)), { sentAt: SENT_AT, account: SAMPLES_ACCOUNT })],
    handle,
    5_000,
    {
      sqs: { send: async () => ({}) } as never,
      inboxUrls: [queueUrl('aw-test-inbox')],
      deadLetterUrl: queueUrl('aw-test-dead'),
      logger: { debug: log, info: log, warn: log, error: log },
    },
  );
  expect(lines.join()).toContain('unexpected-error');
  expect(lines.join()).not.toContain(KEY);
});

test('work that is left at the time limit sends nothing when its environment resumes', async () => {
  const { deps, sent } = setting();
  const limit = new AbortController();
  const alarms: AlarmDeps['alarms'] = {
    ...deps.alarms,
    async get() {
      limit.abort();
      return inAlarm;
    },
  };
  const late = inboxMessage(sample(IN_ALARM), { sentAt: SENT_AT, signal: limit.signal });
  await handleAlarmMessage(late, { ...deps, alarms }).catch(() => undefined);
  expect(sent).toEqual([]);
});
