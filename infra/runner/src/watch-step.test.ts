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
const ready: RunnerState = {
  ...newState('i-0123456789abcdef0', NOW - 5_000_000),
  phase: 'ready',
  idleSince: NOW - 1_000,
};
const draining = (seconds: number): RunnerState => ({
  ...ready,
  phase: 'draining',
  since: NOW - seconds * 1000,
});
const busy = { state: 'busy', job: '17' } as const;
const idle = { state: 'idle' } as const;
const gone = { state: 'gone' } as const;
const starting = { state: 'starting' } as const;
const none = { registers: false } as const;
const idleFor = (seconds: number): RunnerState => ({ ...ready, idleSince: NOW - seconds * 1000 });

const step = (
  state: RunnerState,
  observation: Partial<Observation>,
  last: Partial<Parameters<typeof watchStep>[2]> = {},
) =>
  watchStep(
    state,
    {
      now: NOW,
      target: 'InService',
      reclaimedAt: null,
      agent: idle,
      facts: none,
      unhealthy: undefined,
      ...observation,
    },
    { ready: 0, drained: 0, idle: 0, ...last },
    times,
  );

describe('an instance in service', () => {
  test('does nothing while a job runs or can begin, or has just ended', () => {
    for (const agent of [busy, starting]) expect(step(idleFor(9_999), { agent })).toEqual([]);
    expect(step(idleFor(1_799), {})).toEqual([]);
    const facts = { ...none, lastJobEnd: NOW - 1_799_000 };
    expect(step(idleFor(9_999), { facts })).toEqual([]);
  });

  test('reports that it is idle, and again only after a while', () => {
    const state = idleFor(1_800);
    expect(step(state, {})).toEqual([{ do: 'report-idle', seconds: 1_800 }]);
    const lately = { idle: NOW - REPEAT_IDLE_SECONDS * 1000 + 1 };
    expect(step(state, {}, lately)).toEqual([]);
    expect(step(state, {}, { idle: lately.idle - 1 })).toHaveLength(1);
  });

  test('is not idle in the first minute of an agent: the provider can be about to assign a job to it', () => {
    const listening = (seconds: number) => ({ ...none, listeningSince: NOW - seconds * 1000 });
    expect(step(idleFor(1_800), { facts: listening(59) })).toEqual([]);
    expect(step(idleFor(1_800), { facts: listening(60) })).toHaveLength(1);
    expect(step(idleFor(1_800), { agent: gone, facts: listening(1) })).toHaveLength(2);
  });

  test('is not idle while it waits for its turn, for ten minutes at most', () => {
    const waiting = (seconds: number) => ({ ...none, waitsUntil: NOW + seconds * 1000 });
    expect(step(idleFor(1_800), { agent: gone, facts: waiting(-1_799) })).toEqual([{ do: 'start-agent' }]);
    expect(step(idleFor(1_800), { agent: gone, facts: waiting(-1_800) })).toHaveLength(2);
    expect(step(idleFor(2_399), { agent: gone, facts: waiting(30) })).toEqual([{ do: 'start-agent' }]);
    expect(step(idleFor(2_400), { agent: gone, facts: waiting(30) })).toHaveLength(2);
  });

  test('counts as idle while no registration can be had, and goes on trying', () => {
    expect(step(idleFor(1_800), { agent: gone })).toEqual([
      { do: 'start-agent' },
      { do: 'report-idle', seconds: 1_800 },
    ]);
  });

  test.each([
    [{ target: 'Terminated' }, 'terminated'],
    [{ reclaimedAt: NOW }, 'reclaimed'],
    [{ target: 'Terminated', reclaimedAt: NOW, unhealthy: 'disk full' }, 'terminated'],
  ])('drains before anything else: %j', (observation, why) => {
    expect(step(idleFor(9_999), observation)).toEqual([{ do: 'begin-drain', why }]);
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
    expect(step(ready, { agent: gone })).toEqual([{ do: 'start-agent' }]);
    expect(step({ ...ready, unhealthyReported: true }, { agent: gone })).toEqual([]);
  });

  test('does nothing without answers', () => {
    expect(step(ready, { target: undefined, reclaimedAt: undefined, agent: undefined })).toEqual([]);
  });
});

test('an instance that enters a warm pool gets no agent', () => {
  expect(step(ready, { target: 'Warmed:Stopped', agent: gone })).toEqual([]);
});

test('an instance whose boot failed only waits for its termination, and drains then', () => {
  const failed: RunnerState = { ...ready, phase: 'failed' };
  expect(step(failed, { agent: idle, unhealthy: 'disk full', reclaimedAt: NOW })).toEqual([]);
  expect(step(failed, { target: 'Terminated' })).toEqual([{ do: 'begin-drain', why: 'terminated' }]);
});

describe('an instance that drains', () => {
  const leaving = { target: 'Terminated' };

  const due = (seconds: number, agent: Observation['agent']) =>
    heartbeat(draining(seconds), { now: NOW, agent, facts: none }, times);

  test('sends heartbeats for as long as a job runs or can begin', () => {
    expect(due(600, busy)).toEqual({ phase: 'drain', job: '17', seconds: { drain: 600 } });
    expect(due(600, starting)).toEqual({ phase: 'drain', seconds: { drain: 600 } });
    for (const agent of [idle, gone]) expect(due(600, agent)).toBeUndefined();
    for (const agent of [busy, starting, idle])
      expect(step(draining(600), { ...leaving, agent })).toEqual([]);
  });

  test('sends heartbeats for an idle agent whose registration is not removed yet: it can still get a job', () => {
    const facts = { ...none, isReleasing: true };
    const releasing = (seconds: number, agent: Observation['agent']) =>
      heartbeat(draining(seconds), { now: NOW, agent, facts }, times);
    expect(releasing(600, idle)).toEqual({ phase: 'drain', seconds: { drain: 600 } });
    expect(releasing(3_601, idle)).toBeUndefined();
    expect(releasing(600, gone)).toBeUndefined();
  });

  test('counts an agent without an answer as busy', () => {
    expect(due(600, undefined)).toEqual({ phase: 'drain', seconds: { drain: 600 } });
    expect(step(draining(600), { ...leaving, agent: undefined })).toEqual([]);
  });

  test('sends heartbeats without an end, unless a drain timeout is set', () => {
    expect(due(3_600, busy)).toBeDefined();
    expect(due(3_601, busy)).toBeUndefined();
    const unlimited = { ...times, drainTimeoutSeconds: undefined };
    expect(heartbeat(draining(172_000), { now: NOW, agent: busy, facts: none }, unlimited)).toBeDefined();
  });

  test('reports when its agent has ended', () => {
    expect(step(draining(77), { ...leaving, agent: gone })).toEqual([{ do: 'report-drained', seconds: 77 }]);
  });

  test('reports it again until it is gone: the first report can precede the hook', () => {
    const last = { drained: NOW - REPEAT_SECONDS * 1000 };
    const ended = { ...leaving, agent: gone };
    expect(step(draining(77), ended, last)).toHaveLength(1);
    expect(step(draining(77), ended, { drained: last.drained + 1 })).toEqual([]);
  });

  test('of a reclaimed instance is reported only when Auto Scaling waits for it', () => {
    const reclaimed = { reclaimedAt: NOW, agent: gone };
    expect(step(draining(5), { ...reclaimed, target: 'InService' })).toEqual([]);
    expect(step(draining(5), { ...reclaimed, ...leaving })).toEqual([{ do: 'report-drained', seconds: 5 }]);
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
    expect(step(launched(31), { agent: gone })).toEqual([again, { do: 'start-agent' }]);
    expect(step(launched(31), { target: 'Warmed:Stopped' })).toEqual([again]);
    expect(step(launched(LAUNCH_HOOK_SECONDS), { agent: busy })).toEqual([]);
  });

  test('reports Ready and sends heartbeats until a registration shows that the instance is in service', () => {
    const launch = { report: { report: 'Runner Ready' }, at: NOW - 3_600_000 };
    const state = { ...ready, launch };
    const repeated = (inServiceAt?: number) => {
      const facts = { registers: true, inServiceAt };
      const due = heartbeat(state, { now: NOW, agent: gone, facts }, times);
      return [step(state, { agent: busy, facts }).length, due !== undefined];
    };
    expect(repeated()).toEqual([1, true]);
    expect(repeated(launch.at + 1)).toEqual([0, false]);
    // Of a boot before: an instance that was stopped in a warm pool waits in a new launch hook.
    expect(repeated(launch.at - 1)).toEqual([1, true]);
  });

  test('sends the heartbeats of a boot for as long', () => {
    const due = (state: RunnerState) => heartbeat(state, { now: NOW, agent: busy, facts: none }, times);
    expect(due(launched(299))).toEqual({ phase: 'boot' });
    expect(due(launched(300))).toBeUndefined();
    expect(due({ ...launched(1), phase: 'failed' })).toBeUndefined();
    expect(due(ready)).toBeUndefined();
  });
});
