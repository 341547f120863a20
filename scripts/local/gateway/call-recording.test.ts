import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { callRecording, type Recording } from './call-recording.ts';
import type { Incoming } from './incoming.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hearth-calls-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const deployment = {
  home: { account: '111122223333', region: 'us-west-2' },
  prefix: 'aw',
  bucket: 'bucket',
  groups: [],
  warmingSets: {},
} as never;

const caller = { name: 'i-1', role: 'aw-gha-default', session: 'i-1' };

const json = (service: string, operation: string, body: object): Incoming => ({
  method: 'POST',
  path: '/',
  query: new URLSearchParams(),
  headers: { 'x-amz-target': `X.${operation}`, 'content-type': 'application/x-amz-json-1.0' },
  body: Buffer.from(JSON.stringify(body)),
  region: 'us-west-2',
  service,
  operation,
  streamed: false,
});

function recorded(...calls: Incoming[]): Recording['calls'] {
  const recording = callRecording(folder);
  for (const call of calls) recording?.add(call, caller);
  recording?.write(deployment);
  return readdirSync(folder).flatMap((file) => JSON.parse(readFileSync(join(folder, file), 'utf8')).calls);
}

test('a call is recorded with its names, and with the form of its input without values', () => {
  const body = {
    QueueUrl: 'http://x/1/aw-reports',
    MessageBody: 'a secret',
    DelaySeconds: 7,
    A: [{ B: '' }],
  };
  expect(recorded(json('sqs', 'SendMessage', body))).toEqual([
    {
      service: 'sqs',
      operation: 'SendMessage',
      role: 'aw-gha-default',
      parameters: { Queue: 'aw-reports' },
      input: {
        kind: 'json',
        body: { QueueUrl: 'xxxx', MessageBody: 'xxxx', DelaySeconds: 7, A: [{ B: '' }] },
      },
    },
  ]);
});

test('calls that differ in their values alone are one', () => {
  const send = (MessageBody: string) => json('sqs', 'SendMessage', { QueueUrl: 'http://x/1/q', MessageBody });
  expect(recorded(send('one more'), send('two more'))).toHaveLength(1);
});

test('a form, and the headers and the query of S3, are recorded by name', () => {
  const form: Incoming = {
    ...json('autoscaling', 'DescribeAutoScalingGroups', {}),
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: Buffer.from(
      'Action=DescribeAutoScalingGroups&AutoScalingGroupNames.member.1=aw-gha-default&MaxRecords=100',
    ),
  };
  const s3: Incoming = {
    ...json('s3', 'PutObject', {}),
    method: 'PUT',
    path: '/bucket/sets/default/frames/1',
    query: new URLSearchParams('x-id=PutObject'),
    headers: { 'if-none-match': '*', 'content-length': '4', range: 'bytes=0-1' },
    streamed: true,
  };
  expect(recorded(form, s3).map(({ parameters, input }) => ({ parameters, input }))).toEqual([
    {
      parameters: {},
      input: {
        kind: 'form',
        fields: { Action: 'xxxx', 'AutoScalingGroupNames.member.1': 'xxxx', MaxRecords: '100' },
      },
    },
    {
      parameters: { Bucket: 'bucket', Key: 'sets/default/frames/1', 'if-none-match': '*' },
      input: {
        kind: 'rest',
        method: 'PUT',
        path: '/bucket/sets/default/frames/1',
        headers: ['if-none-match', 'content-length', 'range'],
        query: ['x-id'],
      },
    },
  ]);
});

test('an event is recorded with its source, and a call of PagerDuty not at all', () => {
  const event = json('events', 'PutEvents', { Entries: [{ Source: 'aw.lifecycle', Detail: '{}' }] });
  const calls = recorded(event, json('pagerduty', 'enqueue', { routing_key: 'secret' }));
  expect(calls.map(({ parameters }) => parameters)).toEqual([{ Source: 'aw.lifecycle' }]);
});

test('without a folder, and without calls, nothing is written', () => {
  expect(callRecording(undefined)).toBeUndefined();
  expect(recorded()).toEqual([]);
});
