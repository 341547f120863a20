import { beforeEach, describe, expect, test } from 'vitest';
import { FakeFleet, GROUP, INSTANCE, NOW, REPORTS } from './testing/fake-fleet.ts';

let fleet: FakeFleet;
beforeEach(() => {
  fleet = new FakeFleet();
});

const throttled = Object.assign(new Error('Rate exceeded'), { name: 'Throttling' });
const contended = Object.assign(new Error('pending update'), { name: 'ResourceContentionFault' });

describe('a hook that waits', () => {
  test.each([
    ['ready', 'Pending:Wait', 'complete CONTINUE', 'aw-boot'],
    ['ready', 'Warmed:Pending:Wait', 'complete CONTINUE', 'aw-boot'],
    ['failed', 'Pending:Wait', 'complete ABANDON', 'aw-boot'],
    ['drained', 'Terminating:Wait', 'complete CONTINUE', 'aw-drain'],
    ['drained', 'Warmed:Terminating:Wait', 'complete CONTINUE', 'aw-drain'],
  ] as const)('%s in %s: %s', async (name, state, call, hook) => {
    fleet.state = state;
    expect(await fleet.report(REPORTS[name])).toMatchObject({ outcome: 'done' });
    expect(fleet.calls).toEqual([`${call} ${GROUP} ${hook} ${INSTANCE}`]);
    expect(fleet.published).toEqual([REPORTS[name]]);
  });

  test('that is given up says in the log why', async () => {
    fleet.state = 'Pending:Wait';
    const { detail } = await fleet.report(REPORTS.failed);
    expect(detail).toMatchObject({ result: 'ABANDON', stage: 'agent', why: 'no token' });
  });

  test.each([
    ['boot', 'Pending:Wait'],
    ['drain', 'Terminating:Wait'],
  ] as const)('is prolonged by a heartbeat of its own phase: %s', async (phase, state) => {
    fleet.state = state;
    expect(await fleet.report({ ...REPORTS.heartbeat, phase })).toEqual({ outcome: 'done' });
    expect(fleet.calls).toEqual([`heartbeat ${GROUP} aw-${phase} ${INSTANCE}`]);
    expect(fleet.published).toEqual([]);
  });

  test('is not completed by what belongs to the other hook', async () => {
    fleet.state = 'Pending:Wait';
    expect(await fleet.report(REPORTS.drained)).toMatchObject({
      outcome: 'skipped',
      reason: 'not-terminating',
    });
    fleet.state = 'Terminating:Wait';
    expect(await fleet.report(REPORTS.ready)).toMatchObject({ outcome: 'skipped', reason: 'hook-completed' });
    expect(fleet.state).toBe('Terminating:Wait');
  });
});

describe('no active action', () => {
  test.each([
    ['ready', 'Pending', 'retry', 'hook-not-active-yet'],
    ['ready', 'Pending:Wait', 'retry', 'hook-not-active-yet'],
    ['ready', 'Pending:Proceed', 'skipped', 'hook-completed'],
    ['ready', 'InService', 'skipped', 'hook-completed'],
    ['failed', 'Terminating:Wait', 'skipped', 'hook-completed'],
    ['ready', 'Standby', 'skipped', 'hook-completed'],
    ['ready', 'Warmed:Stopped', 'skipped', 'hook-completed'],
    ['drained', 'InService', 'skipped', 'not-terminating'],
    ['drained', 'Terminating', 'retry', 'hook-not-active-yet'],
    ['drained', 'Terminating:Wait', 'retry', 'hook-not-active-yet'],
    ['drained', 'Terminating:Proceed', 'skipped', 'hook-completed'],
    ['drained', 'Terminated', 'skipped', 'hook-completed'],
  ] as const)('%s in %s: %s, %s', async (name, state, outcome, reason) => {
    fleet.state = state;
    fleet.actionsBegun = false;
    expect(await fleet.report(REPORTS[name])).toMatchObject({
      outcome,
      reason,
      detail: { lifecycleState: state, refusal: expect.stringContaining('No active Lifecycle Action') },
    });
    expect(fleet.calls).toHaveLength(1);
    expect(fleet.published).toHaveLength(outcome === 'retry' ? 0 : 1);
    expect(fleet.measurements).toEqual([]);
  });

  test('of an instance that no group has any more: skipped, and not published, since nobody can say whose it was', async () => {
    fleet.state = undefined;
    for (const report of [REPORTS.ready, REPORTS.failed, REPORTS.drained, REPORTS.unhealthy, REPORTS.idle]) {
      expect(await fleet.report(report)).toMatchObject({ outcome: 'skipped', reason: 'instance-gone' });
    }
    expect(fleet.published).toEqual([]);
  });

  test('a heartbeat for a hook that is over, or not begun, is skipped', async () => {
    for (const state of ['Pending', 'InService', 'Terminating:Proceed', undefined]) {
      fleet.state = state;
      expect(await fleet.report(REPORTS.heartbeat)).toMatchObject({
        outcome: 'skipped',
        reason: 'no-active-action',
      });
    }
  });
});

describe('a runner that is idle', () => {
  test('goes, and its group shrinks, if that is above its minimum', async () => {
    expect(await fleet.report(REPORTS.idle)).toMatchObject({ outcome: 'done' });
    expect(fleet.calls).toEqual([`terminate ${INSTANCE} and shrink`]);
    expect(fleet.published).toEqual([REPORTS.idle]);
  });

  test.each(['Terminating', 'Terminating:Wait', 'Pending:Wait', 'Standby', 'Warmed:Running'])(
    'stays as it is in %s',
    async (state) => {
      fleet.state = state;
      expect(await fleet.report(REPORTS.idle)).toMatchObject({
        outcome: 'skipped',
        reason: 'not-in-service',
      });
      expect(fleet.calls).toEqual([]);
    },
  );

  test('stays at the minimum, also when another was faster', async () => {
    fleet.sizes = { min: 3, desired: 3 };
    expect(await fleet.report(REPORTS.idle)).toMatchObject({ outcome: 'skipped', reason: 'at-minimum' });
    expect(fleet.calls).toEqual([]);
    fleet.sizes = { min: 1, desired: 3 };
    fleet.refusal = "terminating without replacement will violate group's min size constraint";
    expect(await fleet.report(REPORTS.idle)).toMatchObject({
      outcome: 'skipped',
      reason: 'terminate-refused',
      detail: { refusal: fleet.refusal },
    });
  });

  test('is asked again when it said so long ago', async () => {
    expect(await fleet.report(REPORTS.idle, { ageSeconds: 301 })).toEqual({
      outcome: 'skipped',
      reason: 'stale',
    });
    expect(fleet.calls).toEqual([]);
  });

  test('has no group', async () => {
    fleet.sizes = undefined;
    expect(await fleet.report(REPORTS.idle)).toMatchObject({ outcome: 'skipped', reason: 'group-gone' });
  });
});

describe('a runner that is broken', () => {
  test.each(['InService', 'Pending', 'Pending:Wait', 'Pending:Proceed'])(
    'is replaced in %s',
    async (state) => {
      fleet.state = state;
      expect(await fleet.report(REPORTS.unhealthy)).toMatchObject({ outcome: 'done' });
      expect(fleet.calls).toEqual([`terminate ${INSTANCE}`]);
      expect(fleet.published).toEqual([REPORTS.unhealthy]);
    },
  );

  test.each([
    ['Terminating', 'already-terminating'],
    ['Terminating:Wait', 'already-terminating'],
    ['Terminated', 'already-terminating'],
    ['Standby', 'held-by-operator'],
    ['EnteringStandby', 'held-by-operator'],
    ['Detached', 'held-by-operator'],
    ['Warmed:Stopped', 'held-by-operator'],
  ])('is left alone in %s, and others hear of it', async (state, reason) => {
    fleet.state = state;
    expect(await fleet.report(REPORTS.unhealthy)).toMatchObject({ outcome: 'skipped', reason });
    expect(fleet.calls).toEqual([]);
    expect(fleet.published).toEqual([REPORTS.unhealthy]);
  });

  test('is tried again when Auto Scaling refuses to let it go', async () => {
    fleet.refusal = 'no';
    expect(await fleet.report(REPORTS.unhealthy)).toMatchObject({
      outcome: 'retry',
      reason: 'terminate-refused',
      detail: { refusal: 'no' },
    });
    expect(fleet.published).toEqual([]);
  });
});

describe('errors of AWS', () => {
  test.each([
    ['ready', throttled],
    ['drained', contended],
    ['unhealthy', contended],
    ['idle', throttled],
    ['heartbeat', throttled],
  ] as const)('%s: tried again', async (name, error) => {
    fleet.error = error;
    expect(await fleet.report(REPORTS[name])).toMatchObject({
      outcome: 'retry',
      reason: 'service-unavailable',
      deadline: new Date(NOW.getTime() + 3_600_000),
    });
    expect(fleet.published).toEqual([]);
  });

  test('a heartbeat that could not be sent for minutes is let go: the next has taken its place', async () => {
    fleet.error = throttled;
    expect(await fleet.report(REPORTS.heartbeat, { ageSeconds: 301 })).toMatchObject({
      outcome: 'skipped',
      reason: 'stale',
      detail: { failure: 'service-unavailable' },
    });
  });

  test('a heartbeat that is late counts, as long as it can be sent: a queue may be behind', async () => {
    fleet.state = 'Terminating:Wait';
    expect(await fleet.report(REPORTS.heartbeat, { ageSeconds: 1000 })).toEqual({ outcome: 'done' });
  });

  test('a bus that refuses: the hook is completed once, counted once, and the report published later', async () => {
    fleet.state = 'Pending:Wait';
    fleet.publishError = throttled;
    expect(await fleet.report(REPORTS.ready)).toMatchObject({ outcome: 'retry' });
    fleet.publishError = undefined;
    expect(await fleet.report(REPORTS.ready)).toMatchObject({ outcome: 'skipped', reason: 'hook-completed' });
    expect(fleet.published).toEqual([REPORTS.ready]);
    expect(fleet.measurements.filter(({ name }) => name === 'RunnerBootSeconds')).toHaveLength(1);
  });
});

describe('what is measured', () => {
  const Group = 'gha/default';
  test.each([
    [
      'ready',
      'Pending:Wait',
      [
        { name: 'RunnerBootSeconds', value: 20, dimensions: { Group } },
        { name: 'RestoreSeconds', value: 3, dimensions: { Group, Outcome: 'restored' } },
      ],
    ],
    ['failed', 'Pending:Wait', [{ name: 'LaunchFailures', value: 1, dimensions: { Group } }]],
    ['drained', 'Terminating:Wait', [{ name: 'DrainSeconds', value: 7, dimensions: { Group } }]],
    ['heartbeat', 'Terminating:Wait', []],
    ['idle', 'InService', []],
    ['unhealthy', 'InService', []],
  ] as const)('%s, once, however often it comes', async (name, state, measured) => {
    fleet.state = state;
    await fleet.report(REPORTS[name]);
    await fleet.report(REPORTS[name]);
    expect(fleet.measurements).toEqual(measured);
  });

  test('a drain of unknown length is not', async () => {
    fleet.state = 'Terminating:Wait';
    const { seconds: _, ...drained } = REPORTS.drained;
    expect(await fleet.report(drained)).toMatchObject({ outcome: 'done' });
    expect(fleet.measurements).toEqual([]);
  });
});
