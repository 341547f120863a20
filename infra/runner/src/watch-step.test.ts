import { describe, expect, test } from 'vitest';
import { newState, type RunnerState } from './state.ts';
import { IDLE_AGAIN_SECONDS, type Observation, SAY_AGAIN_SECONDS, watchStep } from './watch-step.ts';

const NOW = 10_000_000;
const times = { heartbeatSeconds: 60, idleTimeoutMinutes: 30, drainTimeoutSeconds: 3_600 };
const ready: RunnerState = { ...newState('i-0123456789abcdef0', NOW - 5_000_000), phase: 'ready' };
const draining = (seconds: number): RunnerState => ({
  ...ready,
  phase: 'draining',
  since: NOW - seconds * 1000,
});
const busy = { state: 'busy', job: '17' } as const;
const idle = (seconds: number) => ({ state: 'idle', since: new Date(NOW - seconds * 1000) }) as const;

const look = (
  state: RunnerState,
  seen: Partial<Observation>,
  said: Partial<Parameters<typeof watchStep>[2]> = {},
) =>
  watchStep(
    state,
    { now: NOW, target: 'InService', reclaimed: false, agent: idle(1), unhealthy: undefined, ...seen },
    { heartbeat: 0, drained: 0, idle: 0, ...said },
    times,
  );

describe('a machine that serves', () => {
  test('does nothing while it works, or has just stopped to', () => {
    expect(look(ready, { agent: busy })).toEqual([]);
    expect(look(ready, { agent: idle(1_799) })).toEqual([]);
  });

  test('says that it is idle, and again only after a while', () => {
    expect(look(ready, { agent: idle(1_800) })).toEqual([{ do: 'say-idle', seconds: 1_800 }]);
    const lately = { idle: NOW - IDLE_AGAIN_SECONDS * 1000 + 1 };
    expect(look(ready, { agent: idle(1_900) }, lately)).toEqual([]);
    expect(look(ready, { agent: idle(1_900) }, { idle: lately.idle - 1 })).toHaveLength(1);
  });

  test.each([
    [{ target: 'Terminated' }, 'terminated'],
    [{ reclaimed: true }, 'reclaimed'],
    [{ target: 'Terminated', reclaimed: true, unhealthy: 'disk full' }, 'terminated'],
  ])('drains before anything else: %j', (seen, why) => {
    expect(look(ready, { ...seen, agent: idle(9_999) })).toEqual([{ do: 'begin-drain', why }]);
  });

  test('that is broken takes no further job, and says so once', () => {
    expect(look(ready, { unhealthy: 'Bazel exit 37', agent: busy })).toEqual([
      { do: 'stop-intake' },
      { do: 'say-unhealthy', reason: 'Bazel exit 37' },
    ]);
    expect(look({ ...ready, unhealthyReported: true }, { unhealthy: 'Bazel exit 37', agent: busy })).toEqual(
      [],
    );
  });

  test('starts an agent that is gone, unless it was told to go', () => {
    expect(look(ready, { agent: { state: 'gone' } })).toEqual([{ do: 'start-agent' }]);
    expect(look({ ...ready, unhealthyReported: true }, { agent: { state: 'gone' } })).toEqual([]);
  });

  test('does nothing on what it does not know', () => {
    expect(look(ready, { target: undefined, reclaimed: undefined, agent: undefined })).toEqual([]);
  });
});

test('a machine on its way into a warm pool is left alone: nobody starts an agent there', () => {
  expect(look(ready, { target: 'Warmed:Stopped', agent: { state: 'gone' } })).toEqual([]);
});

test('a machine whose boot failed does nothing but wait for its termination, and drain then', () => {
  const failed: RunnerState = { ...ready, phase: 'failed' };
  expect(look(failed, { agent: idle(9_999), unhealthy: 'disk full', reclaimed: true })).toEqual([]);
  expect(look(failed, { target: 'Terminated' })).toEqual([{ do: 'begin-drain', why: 'terminated' }]);
});

describe('a machine that drains', () => {
  const leaving = { target: 'Terminated' };

  test('keeps its hook alive for as long as the job runs', () => {
    expect(look(draining(600), { ...leaving, agent: busy })).toEqual([{ do: 'heartbeat', job: '17' }]);
    expect(look(draining(600), { ...leaving, agent: busy }, { heartbeat: NOW - 59_999 })).toEqual([]);
  });

  test('takes an agent that cannot be asked for a busy one', () => {
    expect(look(draining(600), { ...leaving, agent: undefined })).toEqual([
      { do: 'heartbeat', job: undefined },
    ]);
  });

  test('stops its heartbeats at the longest drain, so that no hung job holds a machine for ever', () => {
    expect(look(draining(3_600), { ...leaving, agent: busy })).toHaveLength(1);
    expect(look(draining(3_601), { ...leaving, agent: busy })).toEqual([]);
  });

  test.each([idle(1), { state: 'gone' } as const])('says when it is done: %j', (agent) => {
    expect(look(draining(77), { ...leaving, agent })).toEqual([{ do: 'say-drained', seconds: 77 }]);
  });

  test('says it again for as long as it is still there: the first may have come before its hook', () => {
    const said = { drained: NOW - SAY_AGAIN_SECONDS * 1000 };
    expect(look(draining(77), leaving, said)).toHaveLength(1);
    expect(look(draining(77), leaving, { drained: said.drained + 1 })).toEqual([]);
  });

  test('of a reclaimed machine is told only once Auto Scaling waits for it', () => {
    expect(look(draining(5), { reclaimed: true, target: 'InService' })).toEqual([]);
    expect(look(draining(5), { reclaimed: true, ...leaving })).toEqual([{ do: 'say-drained', seconds: 5 }]);
  });
});
