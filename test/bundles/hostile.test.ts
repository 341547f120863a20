import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FIRST_EVENTS } from '../bench/first-events.ts';
import { envelope as eventEnvelope } from '../support/sqs.ts';
import { type Bundles, openBundles } from './open-bundles.ts';

let bundles: Bundles;
let send: Bundles['send'];

beforeAll(async () => {
  bundles = await openBundles();
  send = bundles.send;
});
afterAll(() => bundles.close());

/** An envelope whose fields may have any type. */
const envelope = (source: unknown, detailType: unknown, detail: unknown) => ({
  ...eventEnvelope('', '', {}),
  source,
  'detail-type': detailType,
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

describe.each(Object.keys(FIRST_EVENTS))('%s handles', (name) => {
  test('bodies that are no event, each with its own outcome, beside a good record', async () => {
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
    const { answer, outcomes, of, text } = await send(name, bodies);
    expect(answer).toEqual({ batchItemFailures: [] });
    expect(outcomes).toHaveLength(bodies.length);
    expect(of(0)).toMatchObject({ outcome: 'dead', reason: 'malformed-json' });
    for (let index = 1; index < bodies.length - 1; index += 1)
      expect(of(index)?.outcome, `body ${index}`).toBe('dead');
    expect(of(bodies.length - 1)?.outcome).toBe('skipped');
    expect(text).not.toContain(huge.slice(0, 2000));
  });

  test('events of another account, and schedules of another deployment', async () => {
    const own = FIRST_EVENTS[name]?.body as { source: string };
    const foreign = { ...own, account: '999999999999' };
    const scheduled = envelope('xx.schedule', 'Backlog Poll Due', {});
    const { of } = await send(name, [foreign, scheduled]);
    expect(of(0)).toMatchObject({ outcome: 'dead', reason: 'foreign-account' });
    expect(of(1)).toMatchObject({ outcome: 'dead', reason: 'unknown-event' });
  });
});

describe('names with a path in them', () => {
  test('lifecycle: groups, hooks and instance ids', async () => {
    const failure = (change: object) =>
      envelope('aws.autoscaling', 'EC2 Instance Launch Unsuccessful', {
        AutoScalingGroupName: 'aw-gha-default',
        EC2InstanceId: 'i-0123456789abcdef0',
        ...change,
      });
    const interruption = (instanceId: unknown) =>
      envelope('aws.ec2', 'EC2 Spot Instance Interruption Warning', { 'instance-id': instanceId });
    const { of } = await send('lifecycle', [
      interruption('../../etc/passwd'),
      interruption(['i-0123456789abcdef0']),
      failure({ AutoScalingGroupName: 'aw-gha-../../x' }),
      failure({ AutoScalingGroupName: 'aw-' }),
      failure({ AutoScalingGroupName: 'x'.repeat(300) }),
      interruption('i-0; rm -rf /'),
    ]);
    expect([0, 1, 4, 5].map((index) => of(index)?.outcome)).toEqual(['dead', 'dead', 'dead', 'dead']);
    expect([2, 3].map((index) => of(index))).toMatchObject([
      { outcome: 'skipped', reason: 'foreign-group' },
      { outcome: 'skipped', reason: 'foreign-group' },
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
      { outcome: 'skipped', reason: 'unknown-set' },
      { outcome: 'skipped', reason: 'unknown-set' },
      { outcome: 'dead', reason: 'malformed-detail' },
      { outcome: 'skipped', reason: 'no-manifest' },
      { outcome: 'skipped', reason: 'no-manifest' },
      { outcome: 'skipped', reason: 'unknown-set' },
    ]);
  });
});

describe('the reports queue', () => {
  const sender = { queue: 'reports', senderId: 'AROARUNNER:i-0123456789abcdef0' };

  test('a report is applied only for its own sender', async () => {
    const forged = [
      ['forged-instance', report({ instanceId: 'i-0fedcba9876543210' })],
      ['forged-group', report({ group: 'gha/other' })],
      ['forged-group', report({ autoScalingGroup: 'aw-gha-other' })],
      ['malformed-report', report({ report: 'Runner Escaped' })],
      ['malformed-report', report({ snapshot: { set: '../x', outcome: 'none' } })],
      ['malformed-report', envelope('aws.autoscaling', 'EC2 Instance-terminate Lifecycle Action', {})],
    ] as const;
    for (const start of [0, 3]) {
      // A sender has three dead letters at once.
      const part = forged.slice(start, start + 3);
      const { outcomes } = await send(
        'lifecycle',
        part.map(([, body]) => body),
        sender,
      );
      expect(outcomes).toMatchObject(part.map(([reason]) => ({ outcome: 'dead', reason })));
    }
    const { of, answer } = await send('lifecycle', [report({})], sender);
    // The valid report completes its hook: the endpoint answers the call.
    expect(of(0)?.outcome).toBe('done');
    expect(answer.batchItemFailures).toEqual([]);
    expect(bundles.aws.calls.some(({ operation }) => operation === 'CompleteLifecycleAction')).toBe(true);
  });

  test('a report in the inbox of events, and a sender that is not a role, are dead', async () => {
    const inInbox = await send('lifecycle', [report({})], { queue: 'inbox' });
    expect(inInbox.of(0)).toMatchObject({ outcome: 'dead', reason: 'malformed-envelope' });
    const byAccount = await send('lifecycle', [report({})], {
      queue: 'reports',
      senderId: 'i-0123456789abcdef0',
    });
    expect(byAccount.of(0)).toMatchObject({ outcome: 'dead', reason: 'forged-instance' });
  });

  test('a dead record is in the dead-letter queue, whole, with its reason', async () => {
    bundles.aws.calls.length = 0;
    await send('lifecycle', [report({ instanceId: 'i-0fedcba9876543210' })], sender);
    const sent = bundles.aws.calls.find(({ operation }) => operation === 'SendMessage');
    expect(sent?.body).toContain('forged-instance');
    expect(sent?.body).toContain('i-0fedcba9876543210');
  });
});
