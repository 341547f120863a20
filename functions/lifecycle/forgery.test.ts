import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { envelope as event } from '../../test/support/sqs.ts';
import { FakeFleet, INSTANCE, REPORTS } from './testing/fake-fleet.ts';

const OTHER = 'i-0fedcba9876543210';

let fleet: FakeFleet;
beforeEach(() => {
  fleet = new FakeFleet();
  fleet.state = 'Terminating:Wait';
});

function nothingHappened() {
  expect(fleet.calls).toEqual([]);
  expect(fleet.published).toEqual([]);
  expect(fleet.measurements).toEqual([]);
}

describe('a runner speaks for itself alone', () => {
  test.each([
    ['another instance', `AROARUNNER:${OTHER}`],
    ['a role without a session', 'AROARUNNER'],
    ['a user who is called like the instance', INSTANCE],
    ['an empty session', 'AROARUNNER:'],
    ['a session that only ends so', `AROARUNNER:x:${INSTANCE}`],
    ['a session that only begins so', `AROARUNNER:${INSTANCE}x`],
    ['nobody', ''],
  ])('%s', async (_, senderId) => {
    for (const report of Object.values(REPORTS)) {
      expect(await fleet.report(report, { senderId })).toMatchObject({
        outcome: 'dead',
        reason: 'forged-instance',
      });
    }
    nothingHappened();
  });

  test('for every pair of ids', async () => {
    const id = fc.stringMatching(/^i-[0-9a-f]{17}$/);
    await fc.assert(
      fc.asyncProperty(id, id, async (named, sender) => {
        fc.pre(named !== sender);
        const report = { ...REPORTS.drained, instanceId: named };
        expect(await fleet.report(report, { senderId: `AROARUNNER:${sender}` })).toMatchObject({
          reason: 'forged-instance',
        });
        nothingHappened();
      }),
    );
  });
});

describe('and for its own group alone', () => {
  test.each([
    { group: 'gha/other' },
    { autoScalingGroup: 'aw-gha-other' },
    { autoScalingGroup: 'xx-gha-default' },
    { group: 'bk/default' },
  ])('%o', async (change) => {
    expect(await fleet.report({ ...REPORTS.drained, ...change })).toMatchObject({
      outcome: 'dead',
      reason: 'forged-group',
    });
    nothingHappened();
  });

  test('also when both names of the group agree: Auto Scaling describes another group', async () => {
    const other = { group: 'gha/warming', autoScalingGroup: 'aw-gha-warming' };
    for (const report of [REPORTS.ready, REPORTS.failed, REPORTS.drained, REPORTS.idle, REPORTS.unhealthy]) {
      fleet = new FakeFleet();
      expect(await fleet.report({ ...report, ...other })).toMatchObject({
        outcome: 'dead',
        reason: 'forged-group',
        detail: { error: expect.stringContaining('aw-gha-default') },
      });
      expect(fleet.calls.filter((call) => call.startsWith('terminate'))).toEqual([]);
      expect(fleet.published).toEqual([]);
    }
  });
});

describe('what is no report', () => {
  test.each([
    null,
    'text',
    42,
    [],
    {},
    { ...REPORTS.ready, report: 'Runner Escaped' },
    { ...REPORTS.ready, snapshot: { set: '../other', outcome: 'cold' } },
    { ...REPORTS.ready, snapshot: { set: 'default', outcome: 'restored', id: '../../x' } },
    { ...REPORTS.drained, instanceId: '../../etc/passwd' },
    { ...REPORTS.drained, instanceId: [INSTANCE] },
    { ...REPORTS.drained, group: 'gha/../default' },
    { ...REPORTS.drained, group: 'ghadefault' },
    { ...REPORTS.drained, at: 'yesterday' },
    { ...REPORTS.heartbeat, phase: 'sleep' },
    { Event: 'autoscaling:TEST_NOTIFICATION' },
    event('aws.autoscaling', 'EC2 Instance-terminate Lifecycle Action', { EC2InstanceId: INSTANCE }),
  ])('%j', async (body) => {
    expect(await fleet.report(body)).toMatchObject({ outcome: 'dead', reason: 'malformed-report' });
    nothingHappened();
  });

  test('a report in the inbox of events is none', async () => {
    for (const report of Object.values(REPORTS)) {
      expect(await fleet.event(report)).toMatchObject({ outcome: 'dead', reason: 'malformed-envelope' });
    }
    nothingHappened();
  });

  test('a report on the bus, where this function has put it, is no order', async () => {
    expect(await fleet.event(event('aw.lifecycle', 'Runner Drained', REPORTS.drained))).toMatchObject({
      outcome: 'dead',
      reason: 'unknown-event',
    });
    nothingHappened();
  });

  test('any JSON at all has an outcome, in either queue, and asks for nothing', async () => {
    await fc.assert(
      fc.asyncProperty(fc.jsonValue({ maxDepth: 4 }), async (body) => {
        expect((await fleet.report(body)).outcome).toBe('dead');
        expect((await fleet.event(body)).outcome).toBe('dead');
        nothingHappened();
      }),
    );
  });
});
