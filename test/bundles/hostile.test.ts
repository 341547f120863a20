import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { text as textOf } from 'node:stream/consumers';
import type { SQSBatchResponse } from 'aws-lambda';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bundleFunction } from '../../scripts/build/bundle.ts';
import { batchOf, FIRST_EVENTS } from '../bench/first-events.ts';
import { startAwsEndpoint } from './aws-endpoint.ts';

const root = resolve(import.meta.dirname, '../..');
let folder: string;
let aws: Awaited<ReturnType<typeof startAwsEndpoint>>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hearth-bundle-'));
  aws = await startAwsEndpoint();
  for (const name of Object.keys(FIRST_EVENTS)) {
    await writeFile(join(folder, `${name}.js`), (await bundleFunction(root, name)).code);
  }
  await writeFile(join(folder, 'package.json'), '{"type":"commonjs"}');
});
afterAll(async () => {
  await aws.close();
  await rm(folder, { recursive: true });
});

type Ended = { ending: string; reason?: string; messageId: string };

/** Sends all bodies in one batch through the built bundle. */
async function send(name: string, bodies: unknown[], options: { queue?: string; senderId?: string } = {}) {
  const Records = bodies.flatMap((body, index) =>
    batchOf(body, options.queue, options.senderId).Records.map((record) => ({
      ...record,
      messageId: `m${index}`,
    })),
  );
  const url = (queue: string) => `${aws.url}/123456789012/${queue}`;
  const child = spawn(
    process.execPath,
    [join(root, 'test/bundles/run-bundle.mjs'), join(folder, `${name}.js`)],
    {
      env: {
        ...FIRST_EVENTS[name]?.env,
        AWS_ENDPOINT_URL: aws.url,
        INBOX_URL: url('inbox'),
        DEAD_LETTER_URL: url('dead'),
        REPORTS_URL: url('reports'),
        WARMING_SETS: '{"default":{"group":"gha/warming","deadlineMinutes":60,"keep":3}}',
      },
      stdio: ['pipe', 'pipe', 'pipe'],
    },
  );
  child.stdin.end(JSON.stringify({ Records }));
  // Lambda takes both: errors are logged to the one, everything else to the other.
  const [out, errors] = await Promise.all([textOf(child.stdout), textOf(child.stderr)]);
  const text = `${out}\n${errors}`;
  const lines = text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));
  const answer: SQSBatchResponse = lines.find((line) => line.answer)?.answer;
  const endings: Ended[] = lines.filter((line) => line.message === 'record ended').map((line) => line.record);
  return {
    answer,
    endings,
    text,
    of: (index: number) => endings.find(({ messageId }) => messageId === `m${index}`),
  };
}

const envelope = (source: unknown, detailType: unknown, detail: unknown) => ({
  id: 'x',
  source,
  'detail-type': detailType,
  account: '123456789012',
  region: 'us-east-1',
  time: '2026-11-23T03:00:00Z',
  detail,
});

const report = (change: object) => ({
  report: 'Runner Ready',
  group: 'gha/default',
  autoScalingGroup: 'aw-gha-default',
  instanceId: 'i-0123456789abcdef0',
  at: '2026-11-23T03:00:00Z',
  snapshot: { set: 'default', outcome: 'none' },
  seconds: { restore: 0, boot: 1 },
  ...change,
});

describe.each(Object.keys(FIRST_EVENTS))('%s meets', (name) => {
  test('what is no event, each with its ending, and the good record of the batch with its own', async () => {
    const huge = 'x'.repeat(250_000);
    const bodies = [
      '{"broken":',
      'null',
      '[]',
      '"text"',
      {},
      envelope(1, null, {}),
      envelope('aws.nowhere', 'Unknown', {}),
      envelope('aws.nowhere', 'Unknown', { huge }),
      { ...envelope('aws.ec2', 'x', {}), time: 'yesterday' },
      JSON.parse(`{"__proto__":{"source":"aws.ec2"},"constructor":{}}`),
      FIRST_EVENTS[name]?.body,
    ];
    const { answer, endings, of, text } = await send(name, bodies);
    expect(answer).toEqual({ batchItemFailures: [] });
    expect(endings).toHaveLength(bodies.length);
    expect(of(0)).toMatchObject({ ending: 'dead', reason: 'malformed-json' });
    for (let index = 1; index < bodies.length - 1; index += 1)
      expect(of(index)?.ending, `body ${index}`).toBe('dead');
    expect(of(bodies.length - 1)?.ending).toBe('skipped');
    expect(text).not.toContain(huge.slice(0, 2000));
  });
});

describe('names that would leave their place', () => {
  test('lifecycle: groups, hooks and instance ids', async () => {
    const action = (change: object) =>
      envelope('aws.autoscaling', 'EC2 Instance-terminate Lifecycle Action', {
        AutoScalingGroupName: 'aw-gha-default',
        EC2InstanceId: 'i-0123456789abcdef0',
        LifecycleHookName: 'aw-drain',
        ...change,
      });
    const { of } = await send('lifecycle', [
      action({ EC2InstanceId: '../../etc/passwd' }),
      action({ EC2InstanceId: ['i-0123456789abcdef0'] }),
      action({ AutoScalingGroupName: 'aw-gha-../../x' }),
      action({ AutoScalingGroupName: 'aw-' }),
      action({ AutoScalingGroupName: 'x'.repeat(300) }),
      envelope('aws.ec2', 'EC2 Spot Instance Interruption Warning', { 'instance-id': 'i-0; rm -rf /' }),
    ]);
    expect([0, 1, 4, 5].map((index) => of(index)?.ending)).toEqual(['dead', 'dead', 'dead', 'dead']);
    expect([2, 3].map((index) => of(index))).toMatchObject([
      { ending: 'skipped', reason: 'foreign-group' },
      { ending: 'skipped', reason: 'foreign-group' },
    ]);
  });

  test('warming: sets and keys', async () => {
    const created = (key: string) =>
      envelope('aws.s3', 'Object Created', { bucket: { name: 'bucket' }, object: { key } });
    const { of } = await send('warming', [
      envelope('aw.schedule', 'Warming Run Due', { set: '../other' }),
      envelope('aw.schedule', 'Warming Run Due', { set: '__proto__' }),
      envelope('aw.schedule', 'Warming Run Due', { set: { $ne: 1 } }),
      created('sets/../default/snapshots/20261123T030000Z-00000000/manifest.json'),
      created('sets/default/snapshots/../../x/manifest.json'),
      created('sets/constructor/snapshots/20261123T030000Z-00000000/manifest.json'),
    ]);
    expect([0, 1, 2, 3, 4, 5].map((index) => of(index))).toMatchObject([
      { ending: 'skipped', reason: 'unknown-set' },
      { ending: 'skipped', reason: 'unknown-set' },
      { ending: 'dead', reason: 'malformed-detail' },
      { ending: 'skipped', reason: 'no-manifest' },
      { ending: 'skipped', reason: 'no-manifest' },
      { ending: 'skipped', reason: 'unknown-set' },
    ]);
  });
});

describe('the reports queue', () => {
  const sender = { queue: 'reports', senderId: 'AROARUNNER:i-0123456789abcdef0' };

  test('only what the sender may say is believed', async () => {
    const { of, answer } = await send(
      'lifecycle',
      [
        report({ instanceId: 'i-0fedcba9876543210' }),
        report({ group: 'gha/other' }),
        report({ autoScalingGroup: 'aw-gha-other' }),
        report({ report: 'Runner Escaped' }),
        report({ seconds: { restore: 'NaN', boot: -1 } }),
        envelope('aws.autoscaling', 'EC2 Instance-terminate Lifecycle Action', {}),
        report({}),
      ],
      sender,
    );
    expect([0, 1, 2, 3, 4, 5].map((index) => of(index))).toMatchObject([
      { ending: 'dead', reason: 'forged-instance' },
      { ending: 'dead', reason: 'forged-group' },
      { ending: 'dead', reason: 'forged-group' },
      { ending: 'dead', reason: 'malformed-report' },
      { ending: 'dead', reason: 'malformed-report' },
      { ending: 'dead', reason: 'malformed-report' },
    ]);
    // The true one completes its hook: the endpoint takes the call and answers it.
    expect(of(6)?.ending).toBe('done');
    expect(answer.batchItemFailures).toEqual([]);
    expect(aws.calls.some(({ operation }) => operation === 'CompleteLifecycleAction')).toBe(true);
  });

  test('a report in the inbox of events is no report, and a sender that is no role is nobody', async () => {
    const inInbox = await send('lifecycle', [report({})], { queue: 'inbox' });
    expect(inInbox.of(0)).toMatchObject({ ending: 'dead', reason: 'malformed-envelope' });
    const byAccount = await send('lifecycle', [report({})], {
      queue: 'reports',
      senderId: 'i-0123456789abcdef0',
    });
    expect(byAccount.of(0)).toMatchObject({ ending: 'dead', reason: 'forged-instance' });
  });

  test('what is dead is in the dead-letter queue, whole, with its reason', async () => {
    aws.calls.length = 0;
    await send('lifecycle', [report({ instanceId: 'i-0fedcba9876543210' })], sender);
    const sent = aws.calls.find(({ operation }) => operation === 'SendMessage');
    expect(sent?.body).toContain('forged-instance');
    expect(sent?.body).toContain('i-0fedcba9876543210');
  });
});
