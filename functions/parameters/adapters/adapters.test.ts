import { AutoScalingClient, DescribeAutoScalingGroupsCommand } from '@aws-sdk/client-auto-scaling';
import {
  DeleteParametersCommand,
  GetParametersByPathCommand,
  PutParameterCommand,
  SSMClient,
} from '@aws-sdk/client-ssm';
import { expect, test } from 'vitest';
import { autoScalingGroups } from './auto-scaling-groups.ts';
import { parameterStore } from './parameter-store.ts';

/** A real client whose calls get prepared answers, in order, and do not leave the process. */
function answering<C extends SSMClient | AutoScalingClient>(client: C, answers: object[]) {
  const sent: { command: string; input: object }[] = [];
  const left = [...answers];
  client.middlewareStack.add(
    (_next, context) => async (args: { input: object }) => {
      sent.push({ command: context.commandName ?? '', input: args.input });
      return { output: { $metadata: {}, ...left.shift() }, response: {} };
    },
    { step: 'initialize', name: 'answer' },
  );
  return { client, sent };
}

const region = { region: 'us-east-1' };
const signal = new AbortController().signal;

test('the tree is read page by page, including an empty page', async () => {
  const modified = new Date('2026-11-23T03:00:00Z');
  const { client, sent } = answering(new SSMClient(region), [
    {
      Parameters: [{ Name: '/aw/a', Value: '1', Type: 'String', LastModifiedDate: modified }],
      NextToken: 't1',
    },
    { Parameters: [], NextToken: 't2' },
    { Parameters: [{ Name: '/aw/b', Value: 'AQ', Type: 'SecureString', LastModifiedDate: modified }] },
  ]);
  expect(await parameterStore(client).list('/aw', signal)).toEqual([
    { name: '/aw/a', value: '1', type: 'String', modifiedAt: modified },
    { name: '/aw/b', value: 'AQ', type: 'SecureString', modifiedAt: modified },
  ]);
  const first = { Path: '/aw', Recursive: true, MaxResults: 10 };
  expect(sent.map(({ input }) => input)).toEqual([
    first,
    { ...first, NextToken: 't1' },
    { ...first, NextToken: 't2' },
  ]);
  expect(sent[0]?.command).toBe(GetParametersByPathCommand.name);
});

test('values are written as standard strings, for any default tier of the account', async () => {
  const { client, sent } = answering(new SSMClient(region), [{}, {}]);
  const store = parameterStore(client);
  await store.put('/aw/a', '1', signal);
  await store.remove(['/aw/b', '/aw/c'], signal);
  expect(sent).toEqual([
    {
      command: PutParameterCommand.name,
      input: { Name: '/aw/a', Value: '1', Type: 'String', Tier: 'Standard', Overwrite: true },
    },
    { command: DeleteParametersCommand.name, input: { Names: ['/aw/b', '/aw/c'] } },
  ]);
});

test('groups of other deployments are left out, pages are followed, and lifecycle states are counted except retained instances', async () => {
  const instances = [
    'InService',
    'Pending:Wait',
    'Terminating:Wait',
    'Terminating',
    'Terminating:Retained',
    'InService',
  ];
  const { client, sent } = answering(new AutoScalingClient(region), [
    {
      AutoScalingGroups: [{ AutoScalingGroupName: 'other' }, { AutoScalingGroupName: 'aw-x-y' }],
      NextToken: 't',
    },
    {
      AutoScalingGroups: [
        {
          AutoScalingGroupName: 'aw-gha-default',
          MinSize: 1,
          MaxSize: 9,
          DesiredCapacity: 3,
          Instances: instances.map((LifecycleState) => ({ LifecycleState })),
        },
      ],
    },
  ]);
  expect(await autoScalingGroups(client, 'aw').list()).toEqual([
    { name: 'aw-gha-default', min: 1, max: 9, desired: 3, inService: 2, draining: 2 },
  ]);
  expect(sent).toEqual([
    { command: DescribeAutoScalingGroupsCommand.name, input: { MaxRecords: 100 } },
    { command: DescribeAutoScalingGroupsCommand.name, input: { MaxRecords: 100, NextToken: 't' } },
  ]);
});

test('an aborted signal ends the calls of Parameter Store', async () => {
  const { client, sent } = answering(new SSMClient(region), []);
  const send = client.send.bind(client);
  const signals: unknown[] = [];
  const recording = {
    send: (command: never, options?: { abortSignal?: unknown }) => {
      signals.push(options?.abortSignal);
      return send(command);
    },
  } as Pick<SSMClient, 'send'>;
  const store = parameterStore(recording);
  await store.list('/aw', signal);
  await store.put('/aw/a', '1', signal);
  await store.remove(['/aw/a'], signal);
  expect(signals).toEqual([signal, signal, signal]);
  expect(sent).toHaveLength(3);
});
