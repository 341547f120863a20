import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { envelope as event, SAMPLES_ACCOUNT } from '../../test/support/sqs.ts';
import { FakeFleet, GROUP, INSTANCE } from './testing/fake-fleet.ts';

const samples = resolve(import.meta.dirname, '../../test/fixtures/events');

let fleet: FakeFleet;
beforeEach(() => {
  fleet = new FakeFleet();
});

const sample = async (name: string): Promise<unknown> =>
  JSON.parse(await readFile(join(samples, `${name}.json`), 'utf8'));

const activity = (kind: string, change: object = {}) =>
  event('aws.autoscaling', `EC2 Instance ${kind}`, { AutoScalingGroupName: GROUP, ...change });
const notice = (kind: string, detail: object = { 'instance-id': INSTANCE }) => event('aws.ec2', kind, detail);
const SPOT = 'EC2 Spot Instance Interruption Warning';

describe('events as AWS documents them', () => {
  test.each([
    ['autoscaling-launch-unsuccessful-insufficient-capacity', 'done', undefined],
    ['ec2-spot-interruption-warning-terminate', 'done', undefined],
    ['autoscaling-sqs-body-lifecycle-notification', 'dead', 'malformed-envelope'],
    ['autoscaling-terminate-lifecycle-action', 'dead', 'unknown-event'],
    ['autoscaling-launch-successful', 'dead', 'unknown-event'],
    ['ec2-rebalance-recommendation', 'dead', 'unknown-event'],
    ['s3-object-created-put', 'dead', 'unknown-event'],
  ])('%s: %s, %s', async (name, outcome, reason) => {
    const result = await fleet.event(await sample(name), { account: SAMPLES_ACCOUNT });
    expect(result).toMatchObject({ outcome, ...(reason && { reason }) });
  });

  test('a launch failure with null in place of the message is counted', async () => {
    const failure = activity('Launch Unsuccessful', {
      StatusMessage: null,
      EC2InstanceId: null,
      Cause: null,
    });
    expect(await fleet.event(failure)).toMatchObject({ outcome: 'done' });
    expect(fleet.measurements).toHaveLength(1);
  });
});

describe('a launch that failed', () => {
  test('is counted by its group, with or without an instance', async () => {
    for (const change of [{}, { EC2InstanceId: '', StatusMessage: 'no capacity' }]) {
      expect(await fleet.event(activity('Launch Unsuccessful', change))).toMatchObject({ outcome: 'done' });
    }
    expect(fleet.measurements).toEqual([
      { name: 'LaunchFailures', value: 1, dimensions: { Group: 'gha/default' } },
      { name: 'LaunchFailures', value: 1, dimensions: { Group: 'gha/default' } },
    ]);
  });

  test('is counted when its hook times out, and not twice when its runner has reported it', async () => {
    const abandoned = (why: string) =>
      activity('Launch Unsuccessful', {
        StatusMessage: `Instance failed to complete user's Lifecycle Action: Lifecycle Action with token 1 was abandoned: ${why}`,
      });
    expect(await fleet.event(abandoned('Heartbeat Timeout'))).toMatchObject({ outcome: 'done' });
    expect(await fleet.event(abandoned('Lifecycle Action Completed with ABANDON Result'))).toMatchObject({
      outcome: 'skipped',
      reason: 'counted-by-report',
    });
    expect(fleet.measurements).toHaveLength(1);
  });

  test('logs a bounded reason', async () => {
    const outcome = await fleet.event(
      activity('Launch Unsuccessful', { StatusMessage: 'x'.repeat(100_000) }),
    );
    expect(JSON.stringify(outcome).length).toBeLessThan(1000);
  });

  test('of a foreign group is skipped, and a malformed one is dead', async () => {
    const foreign = activity('Launch Unsuccessful', { AutoScalingGroupName: 'web' });
    expect(await fleet.event(foreign)).toMatchObject({ outcome: 'skipped', reason: 'foreign-group' });
    const malformed = activity('Launch Unsuccessful', { AutoScalingGroupName: undefined });
    expect(await fleet.event(malformed)).toMatchObject({ outcome: 'dead', reason: 'malformed-detail' });
    expect(fleet.measurements).toEqual([]);
  });
});

describe('a Spot notice', () => {
  test('terminates the instance, which starts its replacement and its drain', async () => {
    expect(await fleet.event(notice(SPOT))).toMatchObject({ outcome: 'done' });
    expect(fleet.calls).toEqual([`terminate ${INSTANCE}`]);
  });

  test.each([
    [undefined, GROUP, 'not-in-group'],
    ['InService', 'web', 'foreign-group'],
    ['InService', 'aw-web', 'foreign-group'],
    ['Terminating', GROUP, 'already-terminating'],
    ['Terminating:Wait', GROUP, 'already-terminating'],
    ['Standby', GROUP, 'held-by-operator'],
  ])('for one in state %s of %s: %s', async (state, group, reason) => {
    fleet.state = state;
    fleet.group = group;
    expect(await fleet.event(notice(SPOT))).toMatchObject({ outcome: 'skipped', reason });
    expect(fleet.calls).toEqual([]);
  });

  test('is retried while the instance exists, and no longer', async () => {
    fleet.error = Object.assign(new Error('Rate exceeded'), { name: 'Throttling' });
    expect(await fleet.event(notice(SPOT), { ageSeconds: 60 })).toMatchObject({ outcome: 'retry' });
    expect(await fleet.event(notice(SPOT), { ageSeconds: 301 })).toMatchObject({
      outcome: 'skipped',
      reason: 'stale',
    });
  });

  test.each([{}, { 'instance-id': 'i-0; rm -rf /' }, { 'instance-id': null }])(
    'about %o is dead',
    async (detail) => {
      expect(await fleet.event(notice(SPOT, detail))).toMatchObject({
        outcome: 'dead',
        reason: 'malformed-detail',
      });
    },
  );
});

test('an event of another account is dead, whatever it is about', async () => {
  for (const body of [notice(SPOT), activity('Launch Unsuccessful')]) {
    expect(await fleet.event(body, { account: '999999999999' })).toMatchObject({
      outcome: 'dead',
      reason: 'foreign-account',
    });
  }
  expect(fleet.calls).toEqual([]);
  expect(fleet.measurements).toEqual([]);
});

test('a test notification is skipped', async () => {
  const body = { Event: 'autoscaling:TEST_NOTIFICATION', AutoScalingGroupName: GROUP };
  expect(await fleet.event(body)).toEqual({ outcome: 'skipped', reason: 'test-notification' });
});

test('an event from the right source of an unknown type, or the other way round, is dead', async () => {
  expect(await fleet.event(event('aws.autoscaling', SPOT, {}))).toMatchObject({ reason: 'unknown-event' });
  expect(await fleet.event(event('aws.ec2', 'EC2 Instance Terminate Successful', {}))).toMatchObject({
    reason: 'unknown-event',
  });
});
