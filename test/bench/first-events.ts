import type { SQSEvent } from 'aws-lambda';

/** For each function, its environment and two first events: one to skip, and one that makes it call AWS. */
export type FirstEvent = {
  env: Record<string, string>;
  /** Needs no answer from AWS: it is parsed, the clients are created, and it is about another deployment. */
  body: unknown;
  /** Is about this deployment, so it needs a call to AWS. */
  busy: { body: unknown; queue?: string; senderId?: string };
};

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
  AWS_LAMBDA_FUNCTION_NAME: 'aw_bench',
  INBOX_URL: 'http://127.0.0.1:9/123456789012/inbox',
  DEAD_LETTER_URL: 'http://127.0.0.1:9/123456789012/dead',
  NAME_PREFIX: 'aw',
};

export const FIRST_EVENTS: Readonly<Record<string, FirstEvent>> = {
  lifecycle: {
    env: {
      ...common,
      BUCKET: 'bucket',
      REPORTS_URL: 'http://127.0.0.1:9/123456789012/reports',
      EVENT_BUS: 'aw-reports',
    },
    body: envelope('aws.autoscaling', 'EC2 Instance Launch Unsuccessful', {
      AutoScalingGroupName: 'other-gha-default',
      EC2InstanceId: 'i-0123456789abcdef0',
    }),
    busy: {
      queue: 'reports',
      senderId: 'AROARUNNER:i-0123456789abcdef0',
      body: {
        report: 'Runner Ready',
        group: 'gha/default',
        autoScalingGroup: 'aw-gha-default',
        instanceId: 'i-0123456789abcdef0',
        at: '2026-11-23T03:00:00Z',
        snapshot: { set: 'default', outcome: 'none' },
        seconds: { restore: 0, boot: 1 },
      },
    },
  },
  alarms: {
    env: { ...common, ROUTING_SECRET_ID: 'secret', PAGERDUTY_URL: 'https://events.example' },
    body: envelope('aws.cloudwatch', 'CloudWatch Alarm State Change', {
      alarmName: 'other-alarm',
      state: { value: 'ALARM' },
    }),
    busy: {
      body: envelope('aws.cloudwatch', 'CloudWatch Alarm State Change', {
        alarmName: 'aw-alarm',
        state: { value: 'OK' },
      }),
    },
  },
  warming: {
    env: {
      ...common,
      BUCKET: 'bucket',
      WARMING_SETS: '{"default":{"group":"gha/warming","deadlineMinutes":60,"keep":3}}',
    },
    body: envelope('aw.schedule', 'Warming Check', { set: 'other' }),
    busy: { body: envelope('aw.schedule', 'Warming Check', { set: 'default' }) },
  },
  registration: {
    env: { ...common, BUCKET: 'bucket', ACCOUNT_ID: '123456789012' },
    body: envelope('aws.autoscaling', 'EC2 Instance Terminate Successful', {
      AutoScalingGroupName: 'other-gha-default',
      EC2InstanceId: 'i-0123456789abcdef0',
    }),
    busy: { body: envelope('aw.schedule', 'Registration Sweep', {}) },
  },
  parameters: {
    env: { ...common, BUCKET: 'bucket', PARAMETER_ROOT: '/aw', REPLICA_REGIONS: '[]' },
    body: envelope('aws.ssm', 'Parameter Store Change', { name: '/other/parameter' }),
    busy: {
      body: envelope('aws.ssm', 'Parameter Store Change', { name: '/aw/parameter', operation: 'Delete' }),
    },
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
          SentTimestamp: String(Date.now()),
          SenderId: senderId,
          ApproximateFirstReceiveTimestamp: String(Date.now()),
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
