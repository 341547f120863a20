import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { AutoScalingClient } from '@aws-sdk/client-auto-scaling';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { isTransient } from '../../shared/runtime/aws-errors.ts';
import {
  completeHook,
  describeGroup,
  describeInstance,
  failedLaunch,
  listGroups,
  recordHeartbeat,
  setDesiredCapacity,
  terminateInstance,
} from './auto-scaling.ts';

/** Answers in Auto Scaling's query protocol, so that the SDK itself creates the errors. */
let server: Server;
let client: AutoScalingClient;
let asked: Record<string, string>[];
let answer: { status: number; body: string };

beforeEach(async () => {
  asked = [];
  answer = { status: 200, body: '' };
  server = createServer(async (request, response) => {
    asked.push(Object.fromEntries(new URLSearchParams(await text(request))));
    response.writeHead(answer.status, { 'content-type': 'text/xml' }).end(answer.body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  client = new AutoScalingClient({
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    region: 'us-east-1',
    credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
    maxAttempts: 1,
  });
});
afterEach(async () => {
  client.destroy();
  await new Promise((resolve) => server.close(resolve));
});

const says = (operation: string, result: string) => {
  answer = {
    status: 200,
    body: `<${operation}Response><${operation}Result>${result}</${operation}Result></${operation}Response>`,
  };
};
const refuses = (code: string, message: string, status = 400) => {
  const error = `<Error><Type>Sender</Type><Code>${code}</Code><Message>${message}</Message></Error>`;
  answer = { status, body: `<ErrorResponse>${error}<RequestId>1</RequestId></ErrorResponse>` };
};

const ACTION = { autoScalingGroup: 'aw-gha-default', hook: 'aw-boot', instanceId: 'i-0123456789abcdef0' };
const NAMED = {
  AutoScalingGroupName: 'aw-gha-default',
  LifecycleHookName: 'aw-boot',
  InstanceId: 'i-0123456789abcdef0',
};

test('a hook is completed, and its wait extended, by instance id', async () => {
  says('CompleteLifecycleAction', '');
  expect(await completeHook(client, ACTION, 'ABANDON')).toEqual({ applied: true });
  says('RecordLifecycleActionHeartbeat', '');
  expect(await recordHeartbeat(client, ACTION)).toEqual({ applied: true });
  expect(asked).toMatchObject([
    { Action: 'CompleteLifecycleAction', LifecycleActionResult: 'ABANDON', ...NAMED },
    { Action: 'RecordLifecycleActionHeartbeat', ...NAMED },
  ]);
});

test('an instance is terminated, with and without decrement', async () => {
  says('TerminateInstanceInAutoScalingGroup', '<Activity><Progress>0</Progress></Activity>');
  expect(await terminateInstance(client, 'i-0123456789abcdef0', true)).toEqual({ applied: true });
  expect(await terminateInstance(client, 'i-0123456789abcdef0', false)).toEqual({ applied: true });
  expect(asked.map(({ ShouldDecrementDesiredCapacity }) => ShouldDecrementDesiredCapacity)).toEqual([
    'true',
    'false',
  ]);
});

test('a refusal is a result with the message of Auto Scaling', async () => {
  const refusal = 'No active Lifecycle Action found with instance ID i-0123456789abcdef0';
  refuses('ValidationError', refusal);
  const refused = { applied: false, refusal };
  expect(await completeHook(client, ACTION, 'CONTINUE')).toEqual(refused);
  expect(await recordHeartbeat(client, ACTION)).toEqual(refused);
  expect(await terminateInstance(client, 'i-0123456789abcdef0', true)).toEqual(refused);
});

test('an instance is described, or no group contains it', async () => {
  const member =
    '<member><InstanceId>i-0123456789abcdef0</InstanceId><AutoScalingGroupName>aw-gha-default</AutoScalingGroupName><LifecycleState>Terminating:Wait</LifecycleState></member>';
  says('DescribeAutoScalingInstances', `<AutoScalingInstances>${member}</AutoScalingInstances>`);
  expect(await describeInstance(client, 'i-0123456789abcdef0')).toEqual({
    autoScalingGroup: 'aw-gha-default',
    lifecycleState: 'Terminating:Wait',
  });
  expect(asked).toMatchObject([{ 'InstanceIds.member.1': 'i-0123456789abcdef0' }]);
  says('DescribeAutoScalingInstances', '<AutoScalingInstances/>');
  expect(await describeInstance(client, 'i-0123456789abcdef0')).toBeUndefined();
});

test('a group is described, or there is none', async () => {
  const instances = ['InService', 'Terminating:Wait'].map(
    (state, index) =>
      `<member><InstanceId>i-${index}</InstanceId><LifecycleState>${state}</LifecycleState></member>`,
  );
  const sizes = `<AutoScalingGroupName>aw-gha-default</AutoScalingGroupName><MinSize>1</MinSize><MaxSize>9</MaxSize><DesiredCapacity>4</DesiredCapacity><Instances>${instances.join('')}</Instances><Tags><member><Key>team</Key><Value>build</Value></member></Tags>`;
  says('DescribeAutoScalingGroups', `<AutoScalingGroups><member>${sizes}</member></AutoScalingGroups>`);
  expect(await describeGroup(client, 'aw-gha-default')).toEqual({
    name: 'aw-gha-default',
    min: 1,
    max: 9,
    desired: 4,
    instances: [
      { instanceId: 'i-0', lifecycleState: 'InService' },
      { instanceId: 'i-1', lifecycleState: 'Terminating:Wait' },
    ],
    tags: new Map([['team', 'build']]),
  });
  expect(asked).toMatchObject([{ 'AutoScalingGroupNames.member.1': 'aw-gha-default' }]);
  says('DescribeAutoScalingGroups', '<AutoScalingGroups/>');
  expect(await describeGroup(client, 'aw-gha-default')).toBeUndefined();
});

test.each(['MixedInstancesPolicy', 'LaunchTemplate'])(
  'the launch templates of a group and of its instances are described: %s',
  async (kind) => {
    const version = (number: number) =>
      `<LaunchTemplateId>lt-1</LaunchTemplateId><LaunchTemplateName>aw-gha-default</LaunchTemplateName><Version>${number}</Version>`;
    const own = kind === 'LaunchTemplate' ? `<LaunchTemplate>${version(9)}</LaunchTemplate>` : '';
    const mixed = `<MixedInstancesPolicy><LaunchTemplate><LaunchTemplateSpecification>${version(9)}</LaunchTemplateSpecification></LaunchTemplate></MixedInstancesPolicy>`;
    const instance = `<member><InstanceId>i-0</InstanceId><LifecycleState>InService</LifecycleState><LaunchTemplate>${version(8)}</LaunchTemplate></member>`;
    const group = `<AutoScalingGroupName>aw-gha-default</AutoScalingGroupName>${own || mixed}<Instances>${instance}</Instances>`;
    says('DescribeAutoScalingGroups', `<AutoScalingGroups><member>${group}</member></AutoScalingGroups>`);
    expect(await describeGroup(client, 'aw-gha-default')).toMatchObject({
      launchTemplate: { id: 'aw-gha-default', version: '9' },
      instances: [{ launchTemplate: { id: 'aw-gha-default', version: '8' } }],
    });
  },
);

test.each([
  ['the latest launch failed', ['Failed', 'Successful'], '2026-11-23T08:00:00Z', 'No capacity'],
  ['a later launch succeeded', ['Successful', 'Failed'], '2026-11-23T08:00:00Z', undefined],
  ['a launch is in progress', ['PreInService', 'Failed'], '2026-11-23T08:00:00Z', undefined],
  ['the failure is too old', ['Failed'], '2026-11-23T08:00:01Z', undefined],
  ['there was no launch', [], '2026-11-23T08:00:00Z', undefined],
])('why a group does not launch: %s', async (_, statuses, since, reason) => {
  const activities = statuses.map(
    (status) =>
      `<member><Description>Launching a new EC2 instance</Description><StatusCode>${status}</StatusCode><StatusMessage>No capacity</StatusMessage><EndTime>2026-11-23T08:00:00Z</EndTime></member>`,
  );
  const terminated =
    '<member><Description>Terminating EC2 instance: i-1</Description><StatusCode>Successful</StatusCode></member>';
  says('DescribeScalingActivities', `<Activities>${terminated}${activities.join('')}</Activities>`);
  expect(await failedLaunch(client, 'aw-gha-default', new Date(since))).toBe(reason);
});

test.each([
  ['Throttling', 400],
  ['RequestLimitExceeded', 503],
  ['ResourceContention', 500],
  ['InternalFailure', 500],
])('%s is transient', async (code, status) => {
  refuses(code, 'later', status);
  const errors = await Promise.all(
    [
      () => completeHook(client, ACTION, 'CONTINUE'),
      () => recordHeartbeat(client, ACTION),
      () => terminateInstance(client, ACTION.instanceId, false),
      () => describeInstance(client, ACTION.instanceId),
      () => describeGroup(client, ACTION.autoScalingGroup),
      () => setDesiredCapacity(client, ACTION.autoScalingGroup, 1),
      () => listGroups(client).next(),
    ].map((call) => call().catch((error: unknown) => error)),
  );
  expect(errors.map(isTransient)).toEqual(errors.map(() => true));
});

test('a scaling activity in progress is retried', async () => {
  refuses('ScalingActivityInProgress', 'busy');
  const retryable = { name: 'RetryableError', reason: 'scaling-in-progress' };
  await expect(terminateInstance(client, ACTION.instanceId, true)).rejects.toMatchObject(retryable);
  await expect(setDesiredCapacity(client, 'aw-gha-default', 2)).rejects.toMatchObject(retryable);
});

test('a denied call stays an error', async () => {
  refuses('AccessDenied', 'not authorized', 403);
  await expect(completeHook(client, ACTION, 'CONTINUE')).rejects.toMatchObject({ name: 'AccessDenied' });
});

test('groups are listed over every page', async () => {
  const page = (name: string, token = '') =>
    says(
      'DescribeAutoScalingGroups',
      `<AutoScalingGroups><member><AutoScalingGroupName>${name}</AutoScalingGroupName></member></AutoScalingGroups>${token}`,
    );
  page('one', '<NextToken>t</NextToken>');
  const names: string[] = [];
  for await (const { name } of listGroups(client)) {
    names.push(name);
    page('two');
  }
  expect(names).toEqual(['one', 'two']);
  expect(asked.at(-1)).toMatchObject({ NextToken: 't' });
});
