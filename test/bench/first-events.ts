import type { SQSEvent } from 'aws-lambda';

/** For each function, its environment and a first event that needs no answer from AWS: it parses, connects and skips. */
export type FirstEvent = { env: Record<string, string>; body: unknown };

const envelope = (source: string, detailType: string, detail: object) => ({
  version: '0',
  id: '00000000-0000-0000-0000-000000000000',
  source,
  'detail-type': detailType,
  account: '123456789012',
  region: 'us-east-1',
  time: '2026-11-23T03:00:00Z',
  resources: [],
  detail,
});

const common = {
  AWS_REGION: 'us-east-1',
  AWS_ACCESS_KEY_ID: 'test',
  AWS_SECRET_ACCESS_KEY: 'test',
  INBOX_URL: 'http://127.0.0.1:9/123456789012/inbox',
  DEAD_LETTER_URL: 'http://127.0.0.1:9/123456789012/dead',
  NAME_PREFIX: 'aw',
};

export const FIRST_EVENTS: Readonly<Record<string, FirstEvent>> = {
  lifecycle: {
    env: { ...common, REPORTS_URL: 'http://127.0.0.1:9/123456789012/reports', EVENT_BUS: 'default' },
    body: envelope('aws.autoscaling', 'EC2 Instance-launch Lifecycle Action', {
      AutoScalingGroupName: 'other-gha-default',
      EC2InstanceId: 'i-0123456789abcdef0',
      LifecycleHookName: 'aw-boot',
    }),
  },
  alarms: {
    env: { ...common, ROUTING_SECRET_ID: 'secret', PAGERDUTY_URL: 'https://events.example' },
    body: envelope('aws.cloudwatch', 'CloudWatch Alarm State Change', {
      alarmName: 'other-alarm',
      state: { value: 'ALARM' },
    }),
  },
  warming: {
    env: { ...common, BUCKET: 'bucket', WARMING_SETS: '{}' },
    body: envelope('aw.schedule', 'Warming Check', { set: 'other' }),
  },
  parameters: {
    env: { ...common, BUCKET: 'bucket', PARAMETER_ROOT: '/aw', REPLICA_REGIONS: '[]' },
    body: envelope('aws.ssm', 'Parameter Store Change', { name: '/other/parameter' }),
  },
};

/** A batch with one message, as Lambda hands it to a function. */
export function batchOf(body: unknown, queue = 'inbox', senderId = 'AROAEXAMPLE:events'): SQSEvent {
  return {
    Records: [
      {
        messageId: '11111111-1111-1111-1111-111111111111',
        receiptHandle: 'handle',
        body: typeof body === 'string' ? body : JSON.stringify(body),
        attributes: {
          ApproximateReceiveCount: '1',
          SentTimestamp: '1795402800000',
          SenderId: senderId,
          ApproximateFirstReceiveTimestamp: '1795402800000',
        },
        messageAttributes: {},
        md5OfBody: '',
        eventSource: 'aws:sqs',
        eventSourceARN: `arn:aws:sqs:us-east-1:123456789012:${queue}`,
        awsRegion: 'us-east-1',
      },
    ],
  };
}
