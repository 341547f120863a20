import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { AutoScalingClient } from '@aws-sdk/client-auto-scaling';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { isTransient } from '../../shared/runtime/aws-errors.ts';
import { autoScalingPort } from './auto-scaling.ts';
import type { AutoScalingPort } from './ports.ts';

/** Answers as Auto Scaling's query protocol does, so that it is the SDK itself which makes its errors. */
let server: Server;
let client: AutoScalingClient;
let port: AutoScalingPort;
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
  port = autoScalingPort(client);
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

test('a hook is completed, and prolonged, by instance', async () => {
  says('CompleteLifecycleAction', '');
  expect(await port.complete(ACTION, 'ABANDON')).toEqual({ applied: true });
  says('RecordLifecycleActionHeartbeat', '');
  expect(await port.heartbeat(ACTION)).toEqual({ applied: true });
  expect(asked).toMatchObject([
    { Action: 'CompleteLifecycleAction', LifecycleActionResult: 'ABANDON', ...NAMED },
    { Action: 'RecordLifecycleActionHeartbeat', ...NAMED },
  ]);
});

test('an instance is let go, with and without decrement', async () => {
  says('TerminateInstanceInAutoScalingGroup', '<Activity><Progress>0</Progress></Activity>');
  expect(await port.terminate('i-0123456789abcdef0', true)).toEqual({ applied: true });
  expect(await port.terminate('i-0123456789abcdef0', false)).toEqual({ applied: true });
  expect(asked.map(({ ShouldDecrementDesiredCapacity }) => ShouldDecrementDesiredCapacity)).toEqual([
    'true',
    'false',
  ]);
});

test('a refusal is an answer, in Auto Scaling’s own words', async () => {
  const said = 'No active Lifecycle Action found with instance ID i-0123456789abcdef0';
  refuses('ValidationError', said);
  const refused = { applied: false, said };
  expect(await port.complete(ACTION, 'CONTINUE')).toEqual(refused);
  expect(await port.heartbeat(ACTION)).toEqual(refused);
  expect(await port.terminate('i-0123456789abcdef0', true)).toEqual(refused);
});

test('an instance is described, or no group has it', async () => {
  const member =
    '<member><InstanceId>i-0123456789abcdef0</InstanceId><AutoScalingGroupName>aw-gha-default</AutoScalingGroupName><LifecycleState>Terminating:Wait</LifecycleState></member>';
  says('DescribeAutoScalingInstances', `<AutoScalingInstances>${member}</AutoScalingInstances>`);
  expect(await port.describeInstance('i-0123456789abcdef0')).toEqual({
    autoScalingGroup: 'aw-gha-default',
    lifecycleState: 'Terminating:Wait',
  });
  expect(asked).toMatchObject([{ 'InstanceIds.member.1': 'i-0123456789abcdef0' }]);
  says('DescribeAutoScalingInstances', '<AutoScalingInstances/>');
  expect(await port.describeInstance('i-0123456789abcdef0')).toBeUndefined();
});

test('a group is described, or there is none', async () => {
  const sizes = '<MinSize>1</MinSize><MaxSize>9</MaxSize><DesiredCapacity>4</DesiredCapacity>';
  says('DescribeAutoScalingGroups', `<AutoScalingGroups><member>${sizes}</member></AutoScalingGroups>`);
  expect(await port.describeGroup('aw-gha-default')).toEqual({ min: 1, desired: 4 });
  expect(asked).toMatchObject([{ 'AutoScalingGroupNames.member.1': 'aw-gha-default' }]);
  says('DescribeAutoScalingGroups', '<AutoScalingGroups/>');
  expect(await port.describeGroup('aw-gha-default')).toBeUndefined();
});

test.each([
  ['Throttling', 400],
  ['RequestLimitExceeded', 503],
  ['ResourceContention', 500],
  ['InternalFailure', 500],
])('%s is for another try', async (code, status) => {
  refuses(code, 'later', status);
  const errors = await Promise.all(
    [
      () => port.complete(ACTION, 'CONTINUE'),
      () => port.heartbeat(ACTION),
      () => port.terminate(ACTION.instanceId, false),
      () => port.describeInstance(ACTION.instanceId),
      () => port.describeGroup(ACTION.autoScalingGroup),
    ].map((call) => call().catch((error: unknown) => error)),
  );
  expect(errors.map(isTransient)).toEqual([true, true, true, true, true]);
});

test('a group that is busy scaling is asked again later', async () => {
  refuses('ScalingActivityInProgress', 'busy');
  await expect(port.terminate(ACTION.instanceId, true)).rejects.toMatchObject({
    name: 'RetryableError',
    reason: 'scaling-in-progress',
  });
});

test('what may not be done stays an error', async () => {
  refuses('AccessDenied', 'not authorized', 403);
  await expect(port.complete(ACTION, 'CONTINUE')).rejects.toMatchObject({ name: 'AccessDenied' });
});
