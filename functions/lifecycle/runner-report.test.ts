import { beforeEach, describe, expect, test } from 'vitest';
import { FakeFleet, GROUP, INSTANCE, REPORTS } from './testing/fake-fleet.ts';

let fleet: FakeFleet;
beforeEach(() => {
  fleet = new FakeFleet();
});

const throttled = Object.assign(new Error('Rate exceeded'), { name: 'Throttling' });
const contended = Object.assign(new Error('pending update'), { name: 'ResourceContentionFault' });

test('what the build cache of an instance has counted becomes metrics of its group, without a call to Auto Scaling', async () => {
  const { group, instanceId, autoScalingGroup, at } = REPORTS.ready;
  const cache = { hits: 90, misses: 10, servedBytes: 5e6, storedBytes: 1e6, dropped: 2, failures: -3 };
  const report = { report: 'Runner Cache', group, instanceId, autoScalingGroup, at, cache };
  expect(await fleet.report(report)).toEqual({ outcome: 'done' });
  expect(fleet.calls).toEqual([]);
  expect(fleet.published).toEqual([]);
  const values = Object.fromEntries(fleet.measurements.map(({ name, value }) => [name, value]));
  expect(values).toEqual({
    CacheHits: 90,
    CacheMisses: 10,
    CacheServedBytes: 5e6,
    CacheStoredBytes: 1e6,
    CacheDroppedUploads: 2,
    CacheFailures: 0,
  });
});

describe('an active hook', () => {
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
    expect(fleet.published).toEqual(name === 'drained' ? [] : [REPORTS[name]]);
  });

  test('a Runner Ready without a broken snapshot is not published: no function acts on it', async () => {
    fleet.state = 'Pending:Wait';
    const snapshot = { set: 'default', outcome: 'restored', id: '20261123T030000Z-0a1b2c3d' };
    expect(await fleet.report({ ...REPORTS.ready, snapshot })).toMatchObject({ outcome: 'done' });
    expect(fleet.published).toEqual([]);
  });

  test('an abandoned launch has its reason in the log', async () => {
    fleet.state = 'Pending:Wait';
    const { detail } = await fleet.report(REPORTS.failed);
    expect(detail).toMatchObject({ result: 'ABANDON', stage: 'agent', why: 'no token' });
  });

  test.each([
    ['boot', 'Pending:Wait'],
    ['drain', 'Terminating:Wait'],
  ] as const)('a heartbeat extends the hook of its phase: %s', async (phase, state) => {
    fleet.state = state;
    expect(await fleet.report({ ...REPORTS.heartbeat, phase })).toEqual({ outcome: 'done' });
    expect(fleet.calls).toEqual([`heartbeat ${GROUP} aw-${phase} ${INSTANCE}`]);
    expect(fleet.published).toEqual([]);
  });

  test('a report of the other phase does not complete it', async () => {
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
    ['drained', 'Terminating:Retained', 'skipped', 'hook-completed'],
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
    // Nobody subscribes to Runner Drained. Only an instance that still launches reports its boot.
    expect(fleet.published).toHaveLength(name === 'ready' && outcome === 'retry' ? 1 : 0);
    expect(fleet.measurements).toEqual([]);
  });

  test('of an instance that no group contains any more is skipped and not published: its group cannot be confirmed', async () => {
    fleet.state = undefined;
    for (const report of [REPORTS.ready, REPORTS.failed, REPORTS.drained, REPORTS.unhealthy, REPORTS.idle]) {
      expect(await fleet.report(report)).toMatchObject({ outcome: 'skipped', reason: 'instance-gone' });
    }
    expect(fleet.published).toEqual([]);
  });

  test('a heartbeat without an active hook is skipped', async () => {
    for (const state of ['Pending', 'InService', 'Terminating:Proceed', undefined]) {
      fleet.state = state;
      expect(await fleet.report(REPORTS.heartbeat)).toMatchObject({
        outcome: 'skipped',
        reason: 'no-active-action',
      });
    }
  });
});

describe('an idle runner', () => {
  test('is terminated with decrement if the group is above its minimum', async () => {
    expect(await fleet.report(REPORTS.idle)).toMatchObject({ outcome: 'done' });
    expect(fleet.calls).toEqual([`terminate ${INSTANCE} and shrink`]);
    expect(fleet.published).toEqual([]);
  });

  test.each(['Terminating', 'Terminating:Wait', 'Pending:Wait', 'Standby', 'Warmed:Running'])(
    'is not terminated in %s',
    async (state) => {
      fleet.state = state;
      expect(await fleet.report(REPORTS.idle)).toMatchObject({
        outcome: 'skipped',
        reason: 'not-in-service',
      });
      expect(fleet.calls).toEqual([]);
    },
  );

  test('is not terminated at the minimum, also when another runner is first', async () => {
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

  test('a stale report terminates nothing', async () => {
    expect(await fleet.report(REPORTS.idle, { ageSeconds: 301 })).toEqual({
      outcome: 'skipped',
      reason: 'stale',
    });
    expect(fleet.calls).toEqual([]);
  });

  test('of a deleted group is skipped', async () => {
    fleet.sizes = undefined;
    expect(await fleet.report(REPORTS.idle)).toMatchObject({ outcome: 'skipped', reason: 'group-gone' });
  });
});

describe('an unhealthy runner', () => {
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
    ['Terminating:Retained', 'already-terminating'],
    ['Terminated', 'already-terminating'],
    ['Standby', 'held-by-operator'],
    ['EnteringStandby', 'held-by-operator'],
    ['Detached', 'held-by-operator'],
    ['Warmed:Stopped', 'held-by-operator'],
  ])('is not terminated in %s, and the report is published', async (state, reason) => {
    fleet.state = state;
    expect(await fleet.report(REPORTS.unhealthy)).toMatchObject({ outcome: 'skipped', reason });
    expect(fleet.calls).toEqual([]);
    expect(fleet.published).toEqual([REPORTS.unhealthy]);
  });

  test('is retried when Auto Scaling refuses the termination', async () => {
    fleet.refusal = 'no';
    expect(await fleet.report(REPORTS.unhealthy)).toMatchObject({
      outcome: 'retry',
      reason: 'terminate-refused',
      detail: { refusal: 'no' },
    });
    expect(fleet.published).toEqual([]);
  });

  test('is replaced once per record, however often its report is received', async () => {
    fleet.refusal = 'no';
    await fleet.report(REPORTS.unhealthy);
    fleet.refusal = undefined;
    expect(await fleet.report(REPORTS.unhealthy)).toMatchObject({ outcome: 'done' });
    const { replaced } = JSON.parse((await fleet.store.read('lifecycle/gha/default.json'))?.text ?? '');
    expect(replaced).toHaveLength(1);
  });
});

describe('errors of AWS', () => {
  test.each([
    ['ready', throttled],
    ['drained', contended],
    ['unhealthy', contended],
    ['idle', throttled],
    ['heartbeat', throttled],
  ] as const)('%s: retried', async (name, error) => {
    fleet.error = error;
    expect(await fleet.report(REPORTS[name])).toMatchObject({
      outcome: 'retry',
      reason: 'service-unavailable',
    });
    expect(fleet.published).toEqual([]);
  });

  test('a stale heartbeat that fails is skipped: a later one replaces it', async () => {
    fleet.error = throttled;
    expect(await fleet.report(REPORTS.heartbeat, { ageSeconds: 301 })).toMatchObject({
      outcome: 'skipped',
      reason: 'stale',
      detail: { failure: 'service-unavailable' },
    });
  });

  test('a late heartbeat that succeeds counts: the queue may be behind', async () => {
    fleet.state = 'Terminating:Wait';
    expect(await fleet.report(REPORTS.heartbeat, { ageSeconds: 1000 })).toEqual({ outcome: 'done' });
  });

  test('an event bus that refuses: the report is published before the hook is completed, once', async () => {
    fleet.state = 'Pending:Wait';
    fleet.publishError = throttled;
    expect(await fleet.report(REPORTS.ready)).toMatchObject({ outcome: 'retry' });
    expect(fleet.calls).toEqual([]);
    fleet.publishError = undefined;
    expect(await fleet.report(REPORTS.ready)).toMatchObject({ outcome: 'done' });
    expect(fleet.published).toEqual([REPORTS.ready]);
    expect(fleet.measurements.filter(({ name }) => name === 'RunnerBootSeconds')).toHaveLength(1);
  });

  test('an event bus that refuses for a minute holds no launch', async () => {
    fleet.state = 'Pending:Wait';
    fleet.publishError = throttled;
    expect(await fleet.report(REPORTS.ready, { ageSeconds: 60 })).toMatchObject({ outcome: 'done' });
    expect(fleet.calls).toEqual([`complete CONTINUE ${GROUP} aw-boot ${INSTANCE}`]);
  });

  test('a failed boot is published although the event bus refuses it first and the instance is soon gone', async () => {
    fleet.state = 'Pending:Wait';
    fleet.publishError = throttled;
    expect(await fleet.report(REPORTS.failed)).toMatchObject({ outcome: 'retry' });
    expect(fleet.calls).toEqual([]);
    fleet.publishError = undefined;
    expect(await fleet.report(REPORTS.failed)).toMatchObject({ outcome: 'done' });
    expect(fleet.published).toEqual([REPORTS.failed]);
  });
});

describe('measurements', () => {
  const Group = 'gha/default';
  test.each([
    [
      'ready',
      'Pending:Wait',
      [
        { name: 'RunnerBootSeconds', value: 20, dimensions: { Group } },
        { name: 'RestoreSeconds', value: 3, dimensions: { Group, Outcome: 'previous' } },
      ],
    ],
    ['failed', 'Pending:Wait', [{ name: 'LaunchFailures', value: 1, dimensions: { Group } }]],
    ['drained', 'Terminating:Wait', [{ name: 'DrainSeconds', value: 7, dimensions: { Group } }]],
    ['idle', 'InService', []],
  ] as const)('%s: recorded once, however often it is received', async (name, state, measured) => {
    fleet.state = state;
    await fleet.report(REPORTS[name]);
    await fleet.report(REPORTS[name]);
    expect(fleet.measurements).toEqual(measured);
  });

  test('unhealthy: recorded once, with the termination', async () => {
    fleet.state = 'InService';
    await fleet.report(REPORTS.unhealthy);
    fleet.state = 'Terminating:Wait';
    await fleet.report(REPORTS.unhealthy);
    expect(fleet.measurements).toEqual([{ name: 'UnhealthyRunners', value: 1, dimensions: { Group } }]);
  });

  test('each heartbeat of a drain records its length so far; one that extends no hook records nothing', async () => {
    fleet.state = 'Terminating:Wait';
    await fleet.report(REPORTS.heartbeat);
    await fleet.report({ ...REPORTS.heartbeat, seconds: { drain: 3_500 } });
    await fleet.report({ ...REPORTS.heartbeat, seconds: { drain: 'long' } });
    fleet.state = 'InService';
    await fleet.report({ ...REPORTS.heartbeat, seconds: { drain: 5 } });
    expect(fleet.measurements).toEqual([
      { name: 'DrainingSeconds', value: 3_500, dimensions: { Group } },
      { name: 'DrainingSeconds', value: 0, dimensions: { Group } },
    ]);
  });

  test('the length of a drain is not what its heartbeats invent, and what it is after 47 hours', async () => {
    fleet.state = 'Terminating:Wait';
    const values = () => fleet.measurements.map(({ value }) => value);
    await fleet.report({ ...REPORTS.heartbeat, seconds: { drain: 172_000 } });
    expect(values()).toEqual([3_600]);
    const began = fleet.now.getTime() - 3_600_000;
    for (let hour = 2; hour <= 47; hour += 1) {
      fleet.now = new Date(began + hour * 3_600_000);
      await fleet.report({ ...REPORTS.heartbeat, seconds: { drain: hour * 3_600 } });
    }
    expect(values().slice(1)).toEqual(Array.from({ length: 46 }, (_, index) => (index + 2) * 3_600));
    fleet.isBucketGone = true;
    fleet.now = new Date(fleet.now.getTime() + 60_000);
    await fleet.report({ ...REPORTS.heartbeat, seconds: { drain: 47 * 3_600 + 60 } });
    expect(values().at(-1)).toBe(47 * 3_600 + 60);
  });

  test('a runner that is replaced for the age of its agent is recorded as such, and another unhealthy one is not', async () => {
    await fleet.report({ ...REPORTS.unhealthy, reason: 'agent too old: exit code 7 of 2.329.0' });
    await fleet.report({ ...REPORTS.unhealthy, reason: 'the agent is too old: ' });
    const unhealthy = { name: 'UnhealthyRunners', value: 1, dimensions: { Group } };
    expect(fleet.measurements).toEqual([
      unhealthy,
      { name: 'OldAgents', value: 1, dimensions: { Group } },
      unhealthy,
    ]);
  });

  test('a drain of unknown length is not recorded', async () => {
    fleet.state = 'Terminating:Wait';
    const { seconds: _, ...drained } = REPORTS.drained;
    expect(await fleet.report(drained)).toMatchObject({ outcome: 'done' });
    expect(fleet.measurements).toEqual([]);
  });
});

test('work that is left at the time limit terminates nothing when its environment resumes', async () => {
  fleet.isLate = true;
  await fleet.report(REPORTS.idle);
  expect(fleet.calls).toEqual([]);
});
