import { describe, expect, test } from 'vitest';
import { newState, type RunnerState } from './state.ts';
import {
  heartbeat,
  LAUNCH_HOOK_SECONDS,
  type Observation,
  REPEAT_IDLE_SECONDS,
  REPEAT_SECONDS,
  watchStep,
} from './watch-step.ts';

const NOW = 10_000_000;
const times = { idleTimeoutMinutes: 30, drainTimeoutSeconds: 3_600 };
const ready: RunnerState = { ...newState('i-0123456789abcdef0', NOW - 5_000_000), phase: 'ready' };
const draining = (seconds: number): RunnerState => ({
  ...ready,
  phase: 'draining',
  since: NOW - seconds * 1000,
});
const busy = { state: 'busy', job: '17' } as const;
const idle = (seconds: number) => ({ state: 'idle', since: new Date(NOW - seconds * 1000) }) as const;

const step = (
  state: RunnerState,
  observation: Partial<Observation>,
  last: Partial<Parameters<typeof watchStep>[2]> = {},
) =>
  watchStep(
    state,
    { now: NOW, target: 'InService', reclaimed: false, agent: idle(1), unhealthy: undefined, ...observation },
    { ready: 0, drained: 0, idle: 0, ...last },
    times,
  );

describe('an instance in service', () => {
  test('does nothing while a job runs, or has just ended', () => {
    expect(step(ready, { agent: busy })).toEqual([]);
    expect(step(ready, { agent: idle(1_799) })).toEqual([]);
  });

  test('reports that it is idle, and again only after a while', () => {
    expect(step(ready, { agent: idle(1_800) })).toEqual([{ do: 'report-idle', seconds: 1_800 }]);
    const lately = { idle: NOW - REPEAT_IDLE_SECONDS * 1000 + 1 };
    expect(step(ready, { agent: idle(1_900) }, lately)).toEqual([]);
    expect(step(ready, { agent: idle(1_900) }, { idle: lately.idle - 1 })).toHaveLength(1);
  });

  test.each([
    [{ target: 'Terminated' }, 'terminated'],
    [{ reclaimed: true }, 'reclaimed'],
    [{ target: 'Terminated', reclaimed: true, unhealthy: 'disk full' }, 'terminated'],
  ])('drains before anything else: %j', (observation, why) => {
    expect(step(ready, { ...observation, agent: idle(9_999) })).toEqual([{ do: 'begin-drain', why }]);
  });

  test('that is unhealthy takes no further job, and reports it once', () => {
    expect(step(ready, { unhealthy: 'Bazel exit 37', agent: busy })).toEqual([
      { do: 'stop-intake' },
      { do: 'report-unhealthy', reason: 'Bazel exit 37' },
    ]);
    expect(step({ ...ready, unhealthyReported: true }, { unhealthy: 'Bazel exit 37', agent: busy })).toEqual(
      [],
    );
  });

  test('starts an agent that is gone, unless the instance is unhealthy', () => {
    expect(step(ready, { agent: { state: 'gone' } })).toEqual([{ do: 'start-agent' }]);
    expect(step({ ...ready, unhealthyReported: true }, { agent: { state: 'gone' } })).toEqual([]);
  });

  test('does nothing without answers', () => {
    expect(step(ready, { target: undefined, reclaimed: undefined, agent: undefined })).toEqual([]);
  });
});

test('an instance that enters a warm pool gets no agent', () => {
  expect(step(ready, { target: 'Warmed:Stopped', agent: { state: 'gone' } })).toEqual([]);
});

test('an instance whose boot failed only waits for its termination, and drains then', () => {
  const failed: RunnerState = { ...ready, phase: 'failed' };
  expect(step(failed, { agent: idle(9_999), unhealthy: 'disk full', reclaimed: true })).toEqual([]);
  expect(step(failed, { target: 'Terminated' })).toEqual([{ do: 'begin-drain', why: 'terminated' }]);
});

describe('an instance that drains', () => {
  const leaving = { target: 'Terminated' };

  const due = (seconds: number, agent: Observation['agent']) =>
    heartbeat(draining(seconds), { now: NOW, agent }, times);

  test('sends heartbeats for as long as the job runs', () => {
    expect(due(600, busy)).toEqual({ phase: 'drain', job: '17', seconds: { drain: 600 } });
    expect(due(600, idle(1))).toBeUndefined();
    expect(step(draining(600), { ...leaving, agent: busy })).toEqual([]);
  });

  test('counts an agent without an answer as busy', () => {
    expect(due(600, undefined)).toEqual({ phase: 'drain', seconds: { drain: 600 } });
    expect(step(draining(600), { ...leaving, agent: undefined })).toEqual([]);
  });

  test('stops its heartbeats at the drain timeout, so that no hung job holds an instance for ever', () => {
    expect(due(3_600, busy)).toBeDefined();
    expect(due(3_601, busy)).toBeUndefined();
  });

  test.each([idle(1), { state: 'gone' } as const])('reports when it is done: %j', (agent) => {
    expect(step(draining(77), { ...leaving, agent })).toEqual([{ do: 'report-drained', seconds: 77 }]);
  });

  test('reports it again until it is gone: the first report can precede the hook', () => {
    const last = { drained: NOW - REPEAT_SECONDS * 1000 };
    expect(step(draining(77), leaving, last)).toHaveLength(1);
    expect(step(draining(77), leaving, { drained: last.drained + 1 })).toEqual([]);
  });

  test('of a reclaimed instance is reported only when Auto Scaling waits for it', () => {
    expect(step(draining(5), { reclaimed: true, target: 'InService' })).toEqual([]);
    expect(step(draining(5), { reclaimed: true, ...leaving })).toEqual([
      { do: 'report-drained', seconds: 5 },
    ]);
  });
});

describe('a launch', () => {
  const launched = (seconds: number): RunnerState => ({
    ...ready,
    launch: { report: { report: 'Runner Ready' }, at: NOW - seconds * 1000 },
  });

  test('reports Ready again, also beside other actions, until the launch hook has timed out', () => {
    const again = { do: 'report-ready' };
    expect(step(launched(31), { agent: busy })).toEqual([again]);
    expect(step(launched(31), { agent: busy }, { ready: NOW - 29_000 })).toEqual([]);
    expect(step(launched(31), { agent: { state: 'gone' } })).toEqual([again, { do: 'start-agent' }]);
    expect(step(launched(31), { target: 'Warmed:Stopped' })).toEqual([again]);
    expect(step(launched(LAUNCH_HOOK_SECONDS), { agent: busy })).toEqual([]);
  });

  test('sends the heartbeats of a boot for as long', () => {
    const due = (state: RunnerState) => heartbeat(state, { now: NOW, agent: busy }, times);
    expect(due(launched(299))).toEqual({ phase: 'boot' });
    expect(due(launched(300))).toBeUndefined();
    expect(due({ ...launched(1), phase: 'failed' })).toBeUndefined();
    expect(due(ready)).toBeUndefined();
  });
});
