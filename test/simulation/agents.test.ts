import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { HEARTBEAT_TIMEOUT } from '../support/auto-scaling-model.ts';
import { type AgentsScenario, runAgents } from './agents-model.ts';

const quiet: AgentsScenario = { seconds: 400, min: 1, bootSeconds: 20, jobs: [] };

/** A burst: the jobs wait before the instance has booted. */
const burst = [0, 0, 0].map((at) => ({ at, seconds: 120 }));

describe('lifecycle is down for five minutes in a burst', () => {
  const down: AgentsScenario = { ...quiet, jobs: burst, lifecycleDown: [0, 300], seconds: 600 };

  test('Auto Scaling gives up instances without a job', async () => {
    const { group, units, registration } = await runAgents(down);
    expect(HEARTBEAT_TIMEOUT).toBeLessThan(300);
    expect(group.ends[0]).toEqual({ hook: 'aw-boot', by: 'timeout', killedJob: false });
    expect(group.ends.filter(({ killedJob }) => killedJob)).toEqual([]);
    expect(units.started).toEqual([]);
    expect(registration.issued()).toBe(0);
  });

  test('with the agent first, it kills a job', async () => {
    const { group } = await runAgents({ ...down, order: 'agent-first' });
    expect(group.ends[0]).toEqual({ hook: 'aw-boot', by: 'timeout', killedJob: true });
  });

  test('a busy instance that is in service is not affected', async () => {
    const { group, jobs, sent } = await runAgents({ ...down, lifecycleDown: [60, 360], seconds: 700 });
    expect(group.state).toBe('InService');
    expect(jobs.every(({ isDone }) => isDone)).toBe(true);
    expect(sent('Runner Unhealthy')).toEqual([]);
  });
});

describe('a wrong secret', () => {
  const wrong: AgentsScenario = {
    ...quiet,
    jobs: burst,
    registration: (second) => (second < 900 ? 'credential' : undefined),
    seconds: 1_500,
  };

  test('fails no boot, so it is no launch loop, and a new value is enough', async () => {
    const { group, jobs, sent } = await runAgents(wrong);
    expect(group.ends).toEqual([{ hook: 'aw-boot', by: 'CONTINUE', killedJob: false }]);
    expect(sent('Runner Failed')).toEqual([]);
    expect(sent('Runner Unhealthy')).toEqual([]);
    // In service is learned from any answer but one: Ready is not repeated for a quarter of an hour.
    expect(sent('Runner Ready').length).toBeLessThanOrEqual(3);
    expect(jobs[0]?.startedAt).toBeGreaterThanOrEqual(900);
    expect(jobs[0]?.startedAt).toBeLessThan(990);
    expect(jobs.every(({ isDone }) => isDone)).toBe(true);
  });

  test('with the agent first, each launch is given up', async () => {
    const { group, sent } = await runAgents({ ...wrong, order: 'agent-first' });
    expect(sent('Runner Failed')).toHaveLength(1);
    expect(group.ends[0]).toEqual({ hook: 'aw-boot', by: 'ABANDON', killedJob: false });
  });
});

describe('registration is down for an hour', () => {
  const outage = (second: number) => (second >= 100 && second < 3_700 ? 'unreachable' : undefined);
  const hour: AgentsScenario = {
    ...quiet,
    jobs: [...burst, { at: 3_500, seconds: 10 }],
    registration: outage,
    seconds: 4_500,
  };

  test('a running job ends well, the instance waits idle, and goes on afterwards', async () => {
    const { group, jobs, units, sent, reports } = await runAgents(hour);
    expect(jobs[0]).toMatchObject({ isDone: true });
    expect(sent('Runner Unhealthy')).toEqual([]);
    expect(sent('Runner Failed')).toEqual([]);
    expect(group.ends).toHaveLength(1);
    // Idle after 30 minutes without a job, and at the minimum of the group it stays.
    const [idle] = sent('Runner Idle');
    expect(idle?.at).toBeGreaterThan((jobs[0]?.startedAt ?? 0) + 120 + 1_790);
    expect(idle?.at).toBeLessThan((jobs[0]?.startedAt ?? 0) + 120 + 1_830);
    expect(jobs[1]?.startedAt).toBeLessThan(3_790);
    expect(jobs.every(({ isDone }) => isDone)).toBe(true);
    expect(units.most()).toBe(1);
    expect(reports.length).toBeLessThan(60);
  });

  test('above the minimum it is scaled in', async () => {
    const { group } = await runAgents({ ...hour, min: 0 });
    expect(group.state).toBe('Terminated');
    expect(group.ends.every(({ killedJob }) => !killedJob)).toBe(true);
  });

  test('a scale-in of the idle instance is completed at once: there is no agent to wait for', async () => {
    const { group, endedAt } = await runAgents({ ...hour, scaleInAt: 2_000 });
    expect(group.ends.at(-1)).toEqual({ hook: 'aw-drain', by: 'CONTINUE', killedJob: false });
    expect(endedAt).toBeLessThan(2_040);
  });
});

test('answers that are lost after the registration was issued lock no instance out', async () => {
  let count = 0;
  const { jobs, registration, sent, units } = await runAgents({
    ...quiet,
    jobs: burst,
    // Two of three.
    registration: () => (++count % 3 === 0 ? undefined : 'lost'),
    seconds: 1_200,
  });
  expect(registration.issued()).toBeGreaterThan(units.started.length + 3);
  expect(registration.most()).toBe(1);
  expect(jobs.every(({ isDone }) => isDone)).toBe(true);
  expect(sent('Runner Unhealthy')).toEqual([]);
});

const fault = fc.constantFrom(
  ...(['lost', 'unreachable', 'credential', 'budget', 'previous-busy', 'unavailable', 'too-soon'] as const),
);

test('any history: no running job is killed, no two agents run, and at the end every job that could run has', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        bootSeconds: fc.integer({ min: 1, max: 50 }),
        jobs: fc.array(
          fc.record({ at: fc.integer({ min: 0, max: 900 }), seconds: fc.integer({ min: 1, max: 200 }) }),
          {
            maxLength: 4,
          },
        ),
        faults: fc.array(fc.option(fault, { nil: undefined, freq: 2 }), { minLength: 1, maxLength: 12 }),
        restarts: fc.array(fc.integer({ min: 0, max: 1_500 }), { maxLength: 4 }),
        scaleInAt: fc.option(fc.integer({ min: 0, max: 1_500 }), { nil: undefined }),
      }),
      async ({ faults, scaleInAt, ...scenario }) => {
        const { group, jobs, units, registration, sent } = await runAgents({
          ...quiet,
          ...scenario,
          ...(scaleInAt !== undefined && { scaleInAt }),
          registration: (second) =>
            second < 1_200 ? faults[Math.floor(second / 30) % faults.length] : undefined,
          seconds: 3_200,
        });
        expect(group.ends.filter(({ killedJob }) => killedJob)).toEqual([]);
        // The release of an idle agent takes longer than the short timeout of this model, and sends no heartbeats.
        expect(group.ends.filter(({ hook, by }) => hook === 'aw-boot' && by === 'timeout')).toEqual([]);
        expect(units.most()).toBeLessThanOrEqual(1);
        expect(registration.most()).toBeLessThanOrEqual(2);
        expect(sent('Runner Unhealthy')).toEqual([]);
        if (scaleInAt === undefined) expect(jobs.every(({ isDone }) => isDone)).toBe(true);
        else expect(group.state).toBe('Terminated');
        // A job that was begun was ended.
        expect(jobs.filter(({ startedAt, isDone }) => startedAt !== undefined && !isDone)).toEqual([]);
      },
    ),
    { numRuns: 200 },
  );
});
