import { AutoScalingClient } from '@aws-sdk/client-auto-scaling';
import { expect, test } from 'vitest';
import { capacityPort } from './auto-scaling.ts';

/** A real client whose calls are answered here, before they would leave the process. */
function answering(answer: object | Error) {
  const client = new AutoScalingClient({ region: 'us-east-1' });
  const sent: { command: string | undefined; input: object }[] = [];
  client.middlewareStack.add(
    (_next, context) => async (args) => {
      sent.push({ command: context.commandName, input: args.input });
      if (answer instanceof Error) throw answer;
      return { output: { $metadata: {}, ...answer }, response: {} };
    },
    { step: 'initialize', name: 'answer' },
  );
  return { port: capacityPort(client), sent };
}

test('a group is described by its name', async () => {
  const { port, sent } = answering({ AutoScalingGroups: [{ MinSize: 1, MaxSize: 3, DesiredCapacity: 2 }] });
  expect(await port.describe('aw-gha-warming')).toEqual({ min: 1, max: 3, desired: 2 });
  expect(sent).toEqual([
    { command: 'DescribeAutoScalingGroupsCommand', input: { AutoScalingGroupNames: ['aw-gha-warming'] } },
  ]);
});

test('a group that does not exist is undefined', async () => {
  expect(await answering({ AutoScalingGroups: [] }).port.describe('x')).toBeUndefined();
});

test('a capacity is set, whatever the cooldown', async () => {
  const { port, sent } = answering({});
  await port.set('aw-gha-warming', 1);
  expect(sent).toEqual([
    {
      command: 'SetDesiredCapacityCommand',
      input: { AutoScalingGroupName: 'aw-gha-warming', DesiredCapacity: 1 },
    },
  ]);
});

test('a group that is busy scaling is asked again later; any other error stays what it is', async () => {
  const busy = Object.assign(new Error('busy'), { name: 'ScalingActivityInProgressFault' });
  await expect(answering(busy).port.set('x', 1)).rejects.toMatchObject({
    name: 'RetryableError',
    reason: 'scaling-in-progress',
  });
  const other = Object.assign(new Error('no'), { name: 'ValidationError' });
  await expect(answering(other).port.set('x', 1)).rejects.toBe(other);
});
