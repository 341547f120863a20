import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { envelope as event } from '../../test/support/sqs.ts';
import { FakeFleet, GROUP, INSTANCE, REPORTS, ROLE_ID } from './testing/fake-fleet.ts';

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
      fleet.roleIds.set('aw-gha-warming', ROLE_ID);
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

describe('the role of the sender is the role of its group', () => {
  const other = `AROASOMEBODYELSE:${INSTANCE}`;
  const later = (seconds: number) => {
    fleet.now = new Date(fleet.now.getTime() + seconds * 1_000);
  };

  test('a session that is called like the instance is dead, if it is of another role', async () => {
    for (const report of Object.values(REPORTS)) {
      fleet = new FakeFleet();
      fleet.state = 'Terminating:Wait';
      expect(await fleet.report(report, { senderId: other })).toMatchObject({
        outcome: 'dead',
        reason: 'forged-role',
        detail: { error: expect.stringMatching(/AROASOMEBODYELSE.*aw-gha-default.*AROARUNNER/) },
      });
      nothingHappened();
    }
  });

  test('a runner of one group does not report for another one, with the names of that one', async () => {
    fleet.roleIds.set('aw-gha-warming', 'AROAWARMING');
    const report = { ...REPORTS.drained, group: 'gha/warming', autoScalingGroup: 'aw-gha-warming' };
    expect(await fleet.report(report)).toMatchObject({ outcome: 'dead', reason: 'forged-role' });
    nothingHappened();
  });

  test('a group is read once in five minutes, however many reports it sends', async () => {
    for (let minute = 0; minute < 5; minute += 1) {
      expect(await fleet.report(REPORTS.heartbeat)).toMatchObject({ outcome: 'done' });
      later(59);
    }
    expect(fleet.reads).toHaveLength(1);
    later(10);
    await fleet.report(REPORTS.heartbeat);
    expect(fleet.reads).toHaveLength(2);
  });

  test('the reports of one batch share a read', async () => {
    await Promise.all(Array.from({ length: 10 }, () => fleet.report(REPORTS.heartbeat)));
    expect(fleet.reads).toHaveLength(1);
  });

  test('a role that was created again is accepted at once, although the old one is cached', async () => {
    await fleet.report(REPORTS.heartbeat);
    later(60);
    fleet.roleIds.set(GROUP, 'AROANEWROLE');
    expect(await fleet.report(REPORTS.heartbeat, { senderId: `AROANEWROLE:${INSTANCE}` })).toMatchObject({
      outcome: 'done',
    });
    later(10);
    expect(await fleet.report(REPORTS.heartbeat)).toMatchObject({ outcome: 'dead', reason: 'forged-role' });
  });

  test('no report is refused on a tag that was read before it was sent', async () => {
    await fleet.report(REPORTS.heartbeat);
    later(1);
    fleet.roleIds.set(GROUP, 'AROANEWROLE');
    const drained = () => fleet.report(REPORTS.drained, { senderId: `AROANEWROLE:${INSTANCE}` });
    expect(await drained()).toMatchObject({ outcome: 'retry', reason: 'role-unknown', afterSeconds: 10 });
    later(10);
    expect(await drained()).toMatchObject({ outcome: 'done' });
  });

  test('a flood of forged reports causes one read in ten seconds', async () => {
    await fleet.report(REPORTS.heartbeat);
    for (let second = 0; second < 30; second += 1) {
      later(1);
      const { outcome } = await fleet.report(REPORTS.drained, { senderId: other });
      expect(['retry', 'dead']).toContain(outcome);
    }
    expect(fleet.reads.length).toBeLessThanOrEqual(4);
    expect(fleet.calls).toHaveLength(1);
  });

  test('a group that cannot be read refuses nobody', async () => {
    fleet.error = Object.assign(new Error('Rate exceeded'), { name: 'Throttling' });
    expect(await fleet.report(REPORTS.drained)).toMatchObject({
      outcome: 'retry',
      reason: 'service-unavailable',
    });
    expect(await fleet.report(REPORTS.drained, { senderId: other })).toMatchObject({ outcome: 'retry' });
    expect(fleet.calls).toEqual([]);
    fleet.error = undefined;
    expect(await fleet.report(REPORTS.drained)).toMatchObject({ outcome: 'done' });
  });

  test('a group without the tag accepts and refuses nothing, and names the correction', async () => {
    fleet.roleIds.set(GROUP, undefined);
    expect(await fleet.report(REPORTS.drained)).toMatchObject({
      outcome: 'retry',
      reason: 'role-unknown',
      detail: { error: expect.stringContaining('hearth:role-id') },
    });
    // A later heartbeat replaces this one.
    expect(await fleet.report(REPORTS.heartbeat, { ageSeconds: 301 })).toMatchObject({
      outcome: 'skipped',
      reason: 'stale',
    });
    nothingHappened();
    later(10);
    fleet.roleIds.set(GROUP, ROLE_ID);
    expect(await fleet.report(REPORTS.drained)).toMatchObject({ outcome: 'done' });
  });

  test('a group that does not exist any more has no runners', async () => {
    fleet.roleIds.clear();
    expect(await fleet.report(REPORTS.drained)).toMatchObject({ outcome: 'skipped', reason: 'group-gone' });
    nothingHappened();
  });
});

describe('what a job can report of its own instance', () => {
  test.each(['InService', 'Terminating:Wait', 'Standby'])(
    'in %s: no snapshot is verified because of it, and no run fails',
    async (state) => {
      fleet.state = state;
      await fleet.report(REPORTS.ready);
      await fleet.report(REPORTS.failed);
      expect(fleet.published).toEqual([]);
    },
  );

  test('a snapshot of another set is not verified, also while the instance launches', async () => {
    fleet.state = 'Pending:Wait';
    const snapshot = { ...REPORTS.ready.snapshot, set: 'another-set' };
    expect(await fleet.report({ ...REPORTS.ready, snapshot })).toMatchObject({ outcome: 'done' });
    expect(fleet.published).toEqual([]);
  });

  describe('faults', () => {
    const instance = (index: number) => `i-${index.toString(16).padStart(17, '0')}`;
    const unhealthy = (index: number) => {
      fleet.state = 'InService';
      const instanceId = instance(index);
      const senderId = `${ROLE_ID}:${instanceId}`;
      return fleet.report({ ...REPORTS.unhealthy, instanceId }, { senderId, id: `m-${index}` });
    };
    const record = async () => JSON.parse((await fleet.store.read('lifecycle/gha/default.json'))?.text ?? '');

    test('above the limit of the group for an hour do nothing, count for the alarm, and are noted', async () => {
      for (let index = 0; index < 4; index += 1) expect((await unhealthy(index)).outcome).toBe('done');
      for (let index = 4; index < 50; index += 1) {
        expect(await unhealthy(index)).toMatchObject({ outcome: 'skipped', reason: 'too-many-replacements' });
      }
      expect(fleet.calls).toHaveLength(4);
      expect(fleet.measurements.filter(({ name }) => name === 'HeldRunners')).toHaveLength(46);
      expect(Object.keys((await record()).due)).toHaveLength(46);
    });

    test('are admitted again after the hour', async () => {
      for (let index = 0; index < 5; index += 1) await unhealthy(index);
      fleet.now = new Date(fleet.now.getTime() + 3_600_000);
      expect((await unhealthy(5)).outcome).toBe('done');
      expect(fleet.calls).toHaveLength(5);
    });

    test('of a large group have a limit in proportion', async () => {
      fleet.sizes = { min: 0, desired: 50 };
      for (let index = 0; index < 30; index += 1) await unhealthy(index);
      expect(fleet.calls).toHaveLength(10);
    });

    test('are retried while the record of the group cannot be read', async () => {
      fleet.store.read = () => Promise.reject(Object.assign(new Error('Slow Down'), { name: 'SlowDown' }));
      expect(await unhealthy(0)).toMatchObject({ outcome: 'retry' });
      expect(fleet.calls).toEqual([]);
    });
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
