import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { event, FakeFleet, GROUP, INSTANCE } from './testing/fake-fleet.ts';

const samples = resolve(import.meta.dirname, '../../test/fixtures/events');

let fleet: FakeFleet;
beforeEach(() => {
  fleet = new FakeFleet();
});

const sample = async (name: string): Promise<unknown> =>
  JSON.parse(await readFile(join(samples, `${name}.json`), 'utf8'));

const action = (transition: 'launch' | 'terminate', change: object = {}) =>
  event('aws.autoscaling', `EC2 Instance-${transition} Lifecycle Action`, {
    AutoScalingGroupName: GROUP,
    EC2InstanceId: INSTANCE,
    LifecycleHookName: transition === 'launch' ? 'aw-boot' : 'aw-drain',
    ...change,
  });
const activity = (kind: string, change: object = {}) =>
  event('aws.autoscaling', `EC2 Instance ${kind}`, { AutoScalingGroupName: GROUP, ...change });
const notice = (kind: string, detail: object = { 'instance-id': INSTANCE }) => event('aws.ec2', kind, detail);
const SPOT = 'EC2 Spot Instance Interruption Warning';
const REBALANCE = 'EC2 Instance Rebalance Recommendation';

describe('events as AWS documents them', () => {
  test.each([
    ['autoscaling-launch-lifecycle-action', 'skipped', 'runner-reports-itself'],
    ['autoscaling-launch-lifecycle-action-ec2-to-asg', 'skipped', 'runner-reports-itself'],
    ['autoscaling-terminate-lifecycle-action', 'skipped', 'runner-reports-itself'],
    ['autoscaling-terminate-lifecycle-action-asg-to-ec2', 'skipped', 'runner-reports-itself'],
    ['autoscaling-terminate-lifecycle-action-warmpool-to-ec2-derived', 'skipped', 'runner-reports-itself'],
    ['autoscaling-launch-successful', 'skipped', 'nothing-to-do'],
    ['autoscaling-launch-successful-with-origin-destination', 'skipped', 'nothing-to-do'],
    ['autoscaling-terminate-successful', 'skipped', 'nothing-to-do'],
    ['autoscaling-launch-unsuccessful-insufficient-capacity', 'done', undefined],
    ['ec2-rebalance-recommendation', 'skipped', 'rebalance-is-advice'],
    ['ec2-spot-interruption-warning-terminate', 'done', undefined],
    ['autoscaling-sqs-body-lifecycle-notification', 'dead', 'malformed-envelope'],
    ['autoscaling-instance-refresh-started', 'dead', 'unknown-event'],
    ['ec2-state-change-terminated', 'dead', 'unknown-event'],
    ['s3-object-created-put', 'dead', 'unknown-event'],
  ])('%s: %s, %s', async (name, outcome, reason) => {
    const result = await fleet.event(await sample(name));
    expect(result).toMatchObject({ outcome, ...(reason && { reason }) });
  });
});

describe('a lifecycle action', () => {
  test('is the runner’s own business: nothing is completed by its event', async () => {
    for (const transition of ['launch', 'terminate'] as const) {
      expect(await fleet.event(action(transition))).toMatchObject({
        outcome: 'skipped',
        reason: 'runner-reports-itself',
        detail: { instanceId: INSTANCE },
      });
    }
    expect(fleet.asked).toEqual([]);
  });

  test.each([
    [{ Destination: 'WarmPool' }, 'goes-to-warm-pool'],
    [{ Action: 'ReplaceRootVolume' }, 'replaces-root-volume'],
    [{ AutoScalingGroupName: 'other-gha-default' }, 'foreign-group'],
    [{ AutoScalingGroupName: 'aw-web' }, 'foreign-group'],
    [{ AutoScalingGroupName: 'aw-gha-../x' }, 'foreign-group'],
  ])('%o: %s', async (change, reason) => {
    expect(await fleet.event(action('terminate', change))).toMatchObject({ outcome: 'skipped', reason });
  });

  test('of a launch out of a warm pool is a launch', async () => {
    const launch = action('launch', { Origin: 'WarmPool', Destination: 'AutoScalingGroup' });
    expect(await fleet.event(launch)).toMatchObject({ reason: 'runner-reports-itself' });
  });

  test.each([
    { EC2InstanceId: '../../etc/passwd' },
    { EC2InstanceId: [INSTANCE] },
    { EC2InstanceId: undefined },
    { AutoScalingGroupName: 'x'.repeat(300) },
    { AutoScalingGroupName: '' },
    { LifecycleHookName: 7 },
  ])('with %o is dead', async (change) => {
    expect(await fleet.event(action('launch', change))).toMatchObject({
      outcome: 'dead',
      reason: 'malformed-detail',
    });
  });
});

describe('a launch that failed', () => {
  test('is counted by its group, with or without an instance', async () => {
    for (const change of [{}, { EC2InstanceId: '', StatusMessage: 'no capacity' }]) {
      expect(await fleet.event(activity('Launch Unsuccessful', change))).toMatchObject({ outcome: 'done' });
    }
    expect(fleet.measured).toEqual([
      { name: 'LaunchFailures', value: 1, dimensions: { Group: 'gha/default' } },
      { name: 'LaunchFailures', value: 1, dimensions: { Group: 'gha/default' } },
    ]);
  });

  test('is counted when its hook timed out, and not again when its runner has said so', async () => {
    const abandoned = (why: string) =>
      activity('Launch Unsuccessful', {
        StatusMessage: `Instance failed to complete user's Lifecycle Action: Lifecycle Action with token 1 was abandoned: ${why}`,
      });
    expect(await fleet.event(abandoned('Heartbeat Timeout'))).toMatchObject({ outcome: 'done' });
    expect(await fleet.event(abandoned('Lifecycle Action Completed with ABANDON Result'))).toMatchObject({
      outcome: 'skipped',
      reason: 'counted-by-report',
    });
    expect(fleet.measured).toHaveLength(1);
  });

  test('says why, in moderation', async () => {
    const outcome = await fleet.event(
      activity('Launch Unsuccessful', { StatusMessage: 'x'.repeat(100_000) }),
    );
    expect(JSON.stringify(outcome).length).toBeLessThan(1000);
  });

  test.each(['Launch Unsuccessful', 'Launch Successful', 'Terminate Successful', 'Terminate Unsuccessful'])(
    'of somebody else is not ours: %s',
    async (kind) => {
      const foreign = activity(kind, { AutoScalingGroupName: 'web' });
      expect(await fleet.event(foreign)).toMatchObject({ outcome: 'skipped', reason: 'foreign-group' });
      expect(await fleet.event(event('aws.autoscaling', `EC2 Instance ${kind}`, {}))).toMatchObject({
        outcome: 'dead',
        reason: 'malformed-detail',
      });
      expect(fleet.measured).toEqual([]);
    },
  );
});

describe('a Spot notice', () => {
  test('starts the replacement and the drain at once', async () => {
    expect(await fleet.event(notice(SPOT))).toMatchObject({ outcome: 'done' });
    expect(fleet.asked).toEqual([`terminate ${INSTANCE}`]);
  });

  test.each([
    [undefined, GROUP, 'not-in-group'],
    ['InService', 'web', 'foreign-group'],
    ['InService', 'aw-web', 'foreign-group'],
    ['Terminating', GROUP, 'leaving-already'],
    ['Terminating:Wait', GROUP, 'leaving-already'],
    ['Standby', GROUP, 'held-by-operator'],
  ])('for one in state %s of %s: %s', async (state, group, reason) => {
    fleet.state = state;
    fleet.group = group;
    expect(await fleet.event(notice(SPOT))).toMatchObject({ outcome: 'skipped', reason });
    expect(fleet.asked).toEqual([]);
  });

  test('is tried again while the machine is there, and no longer', async () => {
    fleet.failing = Object.assign(new Error('Rate exceeded'), { name: 'Throttling' });
    expect(await fleet.event(notice(SPOT), { ageSeconds: 60 })).toMatchObject({ outcome: 'retry' });
    expect(await fleet.event(notice(SPOT), { ageSeconds: 301 })).toMatchObject({
      outcome: 'skipped',
      reason: 'outdated',
    });
  });

  test.each([{}, { 'instance-id': 'i-0; rm -rf /' }, { 'instance-id': null }])(
    'about %o is dead',
    async (detail) => {
      for (const kind of [SPOT, REBALANCE]) {
        expect(await fleet.event(notice(kind, detail))).toMatchObject({
          outcome: 'dead',
          reason: 'malformed-detail',
        });
      }
    },
  );

  test('is not the same as a recommendation, which only may come true', async () => {
    expect(await fleet.event(notice(REBALANCE))).toMatchObject({ reason: 'rebalance-is-advice' });
    expect(fleet.asked).toEqual([]);
  });
});

test('a test notification says that somebody has wired a queue', async () => {
  const body = { Event: 'autoscaling:TEST_NOTIFICATION', AutoScalingGroupName: GROUP };
  expect(await fleet.event(body)).toEqual({ outcome: 'skipped', reason: 'test-notification' });
});

test('an event from the right source of an unknown type, or the other way round, is dead', async () => {
  expect(await fleet.event(event('aws.autoscaling', SPOT, {}))).toMatchObject({ reason: 'unknown-event' });
  expect(await fleet.event(event('aws.ec2', 'EC2 Instance Terminate Successful', {}))).toMatchObject({
    reason: 'unknown-event',
  });
});
