import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { envelope } from '../support/sqs.ts';
import { type Bundles, openBundles } from './open-bundles.ts';

/**
 * The bundles are built without parts of the SDK that no function needs. These tests cover signing, calling, parsing of
 * answers and recognition of errors.
 */
let bundles: Bundles;
beforeAll(async () => {
  bundles = await openBundles();
});
afterAll(() => bundles.close());
afterEach(() => {
  bundles.aws.answers.clear();
  bundles.aws.calls.length = 0;
});

const KEY = 'B0123456789abcdef0123456789abcde';
const ARN = 'arn:aws:cloudwatch:us-east-1:123456789012:alarm:aw-launch-failures';

const alarmEvent = envelope(
  'aws.cloudwatch',
  'CloudWatch Alarm State Change',
  { alarmName: 'aw-launch-failures', state: { value: 'ALARM' } },
  { resources: [ARN] },
);

const answer = (operation: string, body: object | string, status = 200) =>
  bundles.aws.answers.set(operation, {
    status,
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });

const inAlarm = {
  MetricAlarms: [
    { AlarmArn: ARN, AlarmName: 'aw-launch-failures', StateValue: 'ALARM', StateReason: 'Threshold Crossed' },
  ],
};

describe('alarms', () => {
  beforeEach(() => {
    answer('ListTagsForResource', { Tags: [{ Key: 'hearth:severity', Value: 'error' }] });
  });

  test('pages with the alarm, its tags and its key, and the key is in no line', async () => {
    answer('DescribeAlarms', inAlarm);
    answer('ListTagsForResource', { Tags: [{ Key: 'hearth:severity', Value: 'critical' }] });
    answer('GetSecretValue', { SecretString: JSON.stringify({ critical: KEY }) });
    answer('POST /v2/enqueue', { status: 'success' }, 202);
    const { of, text } = await bundles.send('alarms', [alarmEvent]);
    expect(of(0)).toMatchObject({ outcome: 'done', detail: { sent: 'trigger' } });
    const sent = bundles.aws.calls.filter(({ operation }) => operation === 'POST /v2/enqueue');
    expect(sent.map(({ body }) => JSON.parse(body))).toMatchObject([
      { routing_key: KEY, event_action: 'trigger', dedup_key: ARN, payload: { severity: 'critical' } },
    ]);
    expect(text).not.toContain(KEY);
  });

  test('is dead when PagerDuty refuses, and the key is not in its dead letter', async () => {
    answer('DescribeAlarms', inAlarm);
    answer('GetSecretValue', { SecretString: KEY });
    answer('POST /v2/enqueue', { message: `invalid routing key ${KEY}` }, 400);
    const { of, text } = await bundles.send('alarms', [alarmEvent]);
    expect(of(0)).toMatchObject({ outcome: 'dead', reason: 'pagerduty-refused' });
    const letters = bundles.aws.calls.filter(({ operation }) => operation === 'SendMessage');
    expect(letters).toHaveLength(1);
    expect(text + JSON.stringify(letters)).not.toContain(KEY);
  });

  test.each([
    [
      'a service that is down',
      503,
      { __type: 'ServiceUnavailable', message: 'later' },
      'service-unavailable',
    ],
    ['a call that is not allowed', 400, { __type: 'AccessDenied', message: 'no' }, 'unexpected-error'],
  ])('distinguishes %s', async (_, status, body, reason) => {
    answer('DescribeAlarms', body, status);
    const { of } = await bundles.send('alarms', [alarmEvent]);
    expect(of(0)).toMatchObject({
      outcome: 'retry',
      reason,
      detail: { error: expect.stringContaining(body.__type) },
    });
    expect(bundles.aws.calls.map(({ operation }) => operation)).toContain('ChangeMessageVisibility');
  });

  test('pages no alarm without a tag of the deployment', async () => {
    answer('DescribeAlarms', inAlarm);
    answer('ListTagsForResource', { Tags: [{ Key: 'team', Value: 'x' }] });
    const { of } = await bundles.send('alarms', [alarmEvent]);
    expect(of(0)).toMatchObject({ outcome: 'skipped', reason: 'foreign-alarm' });
  });

  test('recognises an error without its class by its name', async () => {
    answer('DescribeAlarms', inAlarm);
    answer('GetSecretValue', { __type: 'ResourceNotFoundException', message: 'no such secret' }, 400);
    const { of } = await bundles.send('alarms', [alarmEvent]);
    expect(of(0)).toMatchObject({ outcome: 'retry', reason: 'configuration' });
  });
});

describe('lifecycle', () => {
  const report = {
    report: 'Runner Ready',
    group: 'gha/default',
    autoScalingGroup: 'aw-gha-default',
    instanceId: 'i-0123456789abcdef0',
    at: '2026-11-23T03:00:00Z',
    snapshot: { set: 'default', outcome: 'none' },
    seconds: { restore: 0, boot: 1 },
  };
  const sender = { queue: 'reports', senderId: 'AROARUNNER:i-0123456789abcdef0' };
  const refusal = (code: string, message: string) =>
    `<ErrorResponse><Error><Type>Sender</Type><Code>${code}</Code><Message>${message}</Message></Error></ErrorResponse>`;

  test('skips an action that has ended', async () => {
    const refused = refusal(
      'ValidationError',
      'No active Lifecycle Action found with instance ID i-0123456789abcdef0',
    );
    answer('CompleteLifecycleAction', refused, 400);
    const { of } = await bundles.send('lifecycle', [report], sender);
    expect(of(0)).toMatchObject({ outcome: 'skipped', reason: 'instance-gone' });
  });

  test.each(['ResourceContention', 'Throttling'])('retries after %s', async (code) => {
    answer('CompleteLifecycleAction', refusal(code, 'busy'), 400);
    const { of } = await bundles.send('lifecycle', [report], sender);
    expect(of(0)).toMatchObject({ outcome: 'retry', reason: 'service-unavailable' });
  });
});
