import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { envelope } from '../support/sqs.ts';
import { type Bundles, type Code, openBundles } from './open-bundles.ts';

/**
 * The build drops the error classes of the SDK, so the name of an error is its class in the source and its code on the wire in a
 * bundle. Each row answers one operation with an AWS error as on the wire, and both must have the same outcome and reason.
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

type Answer = { status: number; body: string };

/** Errors as services with the Query protocol send them (Auto Scaling). */
const queryError = (code: string, status = 400): Answer => ({
  status,
  body: `<ErrorResponse><Error><Type>Sender</Type><Code>${code}</Code><Message>refused</Message></Error></ErrorResponse>`,
});

/** Errors as S3 sends them. */
const s3Error = (code: string, status: number): Answer => ({
  status,
  body: `<Error><Code>${code}</Code><Message>refused</Message></Error>`,
});

/** Errors as services with a JSON protocol send them. */
const jsonError = (code: string, status = 400): Answer => ({
  status,
  body: JSON.stringify({ __type: code, message: 'refused' }),
});

const ok = (body: object | string): Answer => ({
  status: 200,
  body: typeof body === 'string' ? body : JSON.stringify(body),
});

const INSTANCE = 'i-0123456789abcdef0';
const GROUP = 'aw-gha-default';

const report = (name: string, fields: object) => ({
  name: 'lifecycle',
  body: {
    report: name,
    group: 'gha/default',
    autoScalingGroup: GROUP,
    instanceId: INSTANCE,
    at: new Date().toISOString(),
    ...fields,
  },
  options: { queue: 'reports', senderId: `AROARUNNER:${INSTANCE}` },
});

const ready = report('Runner Ready', {
  snapshot: { set: 'default', outcome: 'none' },
  seconds: { restore: 0, boot: 1 },
});
const unhealthy = report('Runner Unhealthy', { reason: 'disk full' });

const inService = ok(
  `<DescribeAutoScalingInstancesResponse><DescribeAutoScalingInstancesResult><AutoScalingInstances><member><InstanceId>${INSTANCE}</InstanceId><AutoScalingGroupName>${GROUP}</AutoScalingGroupName><LifecycleState>InService</LifecycleState></member></AutoScalingInstances></DescribeAutoScalingInstancesResult></DescribeAutoScalingInstancesResponse>`,
);

const alarm = {
  name: 'alarms',
  body: envelope(
    'aws.cloudwatch',
    'CloudWatch Alarm State Change',
    { alarmName: 'aw-launch-failures', state: { value: 'ALARM' } },
    {
      time: new Date(),
      resources: ['arn:aws:cloudwatch:eu-west-1:123456789012:alarm:aw-launch-failures'],
    },
  ),
  options: {},
};
const inAlarm = ok({
  MetricAlarms: [
    {
      AlarmArn: 'arn:aws:cloudwatch:eu-west-1:123456789012:alarm:aw-launch-failures',
      AlarmName: 'aw-launch-failures',
      StateValue: 'ALARM',
      StateReason: 'Threshold Crossed',
    },
  ],
});

/** Without such a tag an alarm does not page. */
const tagged = ok({ Tags: [{ Key: 'hearth:severity', Value: 'error' }] });

const warmingRun = {
  name: 'warming',
  body: envelope('aw.schedule', 'Warming Run Due', { set: 'default' }, { time: new Date() }),
  options: {},
};

const reconcile = {
  name: 'parameters',
  body: envelope(
    'aws.ssm',
    'Parameter Store Change',
    { name: '/aw/parameter', operation: 'Delete' },
    { time: new Date() },
  ),
  options: {},
};

type Row = [
  error: string,
  operation: string,
  answer: Answer,
  event: { name: string; body: object; options: object },
  expected: { outcome: string; reason?: string },
  others?: Record<string, Answer>,
];

const ROWS: Row[] = [
  [
    'ScalingActivityInProgress',
    'TerminateInstanceInAutoScalingGroup',
    queryError('ScalingActivityInProgress'),
    unhealthy,
    { outcome: 'retry', reason: 'scaling-in-progress' },
    { DescribeAutoScalingInstances: inService, 'PUT /bucket/lifecycle/': ok('') },
  ],
  [
    'ValidationError',
    'CompleteLifecycleAction',
    queryError('ValidationError'),
    ready,
    { outcome: 'skipped', reason: 'hook-completed' },
    { DescribeAutoScalingInstances: inService },
  ],
  [
    'ResourceContention',
    'CompleteLifecycleAction',
    queryError('ResourceContention'),
    ready,
    { outcome: 'retry', reason: 'service-unavailable' },
  ],
  [
    'Throttling',
    'CompleteLifecycleAction',
    queryError('Throttling'),
    ready,
    { outcome: 'retry', reason: 'service-unavailable' },
  ],
  [
    'Throttling',
    'DescribeAlarms',
    jsonError('Throttling'),
    alarm,
    { outcome: 'retry', reason: 'service-unavailable' },
  ],
  [
    'ResourceNotFoundException',
    'GetSecretValue',
    jsonError('ResourceNotFoundException'),
    alarm,
    { outcome: 'retry', reason: 'configuration' },
    { DescribeAlarms: inAlarm, ListTagsForResource: tagged },
  ],
  [
    'TooManyUpdates',
    'PutParameter',
    jsonError('TooManyUpdates'),
    reconcile,
    { outcome: 'retry' },
    { 'GET /bucket/config/parameters.json': ok({ version: 1, parameters: { '/aw/deployment': 'x' } }) },
  ],
  [
    'PreconditionFailed',
    'PUT /bucket/',
    s3Error('PreconditionFailed', 412),
    warmingRun,
    { outcome: 'skipped', reason: 'run-in-progress' },
  ],
  [
    'ConditionalRequestConflict',
    'PUT /bucket/',
    s3Error('ConditionalRequestConflict', 409),
    warmingRun,
    { outcome: 'retry', reason: 'object-contended' },
  ],
  [
    'SlowDown',
    'PUT /bucket/',
    s3Error('SlowDown', 503),
    warmingRun,
    { outcome: 'retry', reason: 'service-unavailable' },
  ],
];

test.each(ROWS)('%s of %s has the same outcome in source and bundle', async (...row) => {
  const [, operation, answer, event, expected, others = {}] = row;
  for (const [other, text] of Object.entries(others)) bundles.aws.answers.set(other, text);
  bundles.aws.answers.set(operation, answer);
  const run = (code: Code) => bundles.send(event.name, [event.body], { ...event.options, code });
  const [source, bundle] = await Promise.all([run('source'), run('bundle')]);
  expect(source.of(0), source.text).toMatchObject(expected);
  expect(bundle.of(0), bundle.text).toMatchObject({ ...expected, reason: source.of(0)?.reason });
  const calls = bundles.aws.calls.filter((call) => call.operation.startsWith(operation));
  expect(calls.length).toBeGreaterThanOrEqual(2);
});
