import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import type { GroupCapacity } from '../../functions/parameters/ports.ts';
import { watchStep } from '../../infra/runner/src/watch-step.ts';
import type { AutoScaling } from '../../scripts/simulate/cloud/auto-scaling.ts';
import type { Bucket } from '../../scripts/simulate/cloud/bucket.ts';
import { INVARIANTS, type InvariantName } from '../../scripts/simulate/invariants.ts';
import { HOUR, MINUTE } from '../../scripts/simulate/kernel.ts';
import { type Options, WEEK } from '../../scripts/simulate/options.ts';
import type { SimulatedInstance } from '../../scripts/simulate/product/instance.ts';
import { START, simulate, type Tampering } from '../../scripts/simulate/simulate.ts';

/** A few hours of a working day, in which everything fails that fails in a week. The longest job takes nine hours. */
const SMALL: Options = {
  ...WEEK,
  ...{ length: 3 * HOUR, startHour: 8, closing: 10 * HOUR, jobMinutes: 6, load: 0.4 },
  ...{ groups: 9, runners: 50, installations: 2, outage: HOUR / 2 },
};

describe('a small fleet', () => {
  test('loses and kills no job, whatever fails, and one seed gives one history', async () => {
    const one = await simulate(SMALL);
    expect(one.violations).toEqual([]);
    expect(one.summary.jobs).toMatchObject({ killed: 0, lost: 0, expired: 0 });
    expect(one.summary.jobs.queued).toBeGreaterThan(100);
    const { byState = {}, hours } = one.summary.instances;
    // Seven rounded numbers.
    expect(Math.abs(Object.values(byState).reduce((sum, each) => sum + each, 0) - hours)).toBeLessThan(0.5);
    // An outage of a provider, of two functions and of a zone are known to people.
    expect(one.summary.incidents?.paged).toBeGreaterThan(0);
    expect(JSON.stringify((await simulate(SMALL)).summary)).toBe(JSON.stringify(one.summary));
    const other = await simulate({ ...SMALL, seed: 2 });
    expect(other.violations).toEqual([]);
    expect(JSON.stringify(other.summary)).not.toBe(JSON.stringify(one.summary));
  });
});

describe('an installation that needs more registrations than GitHub allows', () => {
  test('only waits: its jobs run once, no limit is passed, and its groups grow all the same', async () => {
    const saturated: Options = {
      ...WEEK,
      ...{ length: HOUR / 3, startHour: 9, closing: 10 * HOUR, jobMinutes: 0.7, load: 0.7 },
      ...{ providers: ['gha'], groups: 6, runners: 200, installations: 1, faults: [], outage: 0, spot: 0 },
    };
    /** Capacities that were raised after the first two minutes, when the budget was spent. */
    let raised = 0;
    let now = () => START;
    const { summary, violations, calls } = await simulate(saturated, {
      world: ({ kernel }) => {
        now = () => kernel.now;
      },
      desired: (group, asked) => {
        const minutes = (now() - START) / MINUTE;
        if (minutes > 2 && minutes < 20) raised += asked - group.desired;
        return asked;
      },
    });
    expect(violations).toEqual([]);
    expect(summary.jobs).toMatchObject({ done: summary.jobs.queued, killed: 0, lost: 0, expired: 0 });
    expect(summary.jobs.queued).toBeGreaterThan(3_000);
    expect(calls.above).toEqual(new Map());
    // 150 registrations per minute are the budget, and those of GitHub count five points each.
    expect(calls.peakInWindow.get('github write points')).toBeGreaterThan(750);
    expect(summary.incidents?.byKind).toMatchObject({ 'throttled-registrations': 1 });
    expect(summary.waitSeconds.p50).toBeGreaterThan(180);
    expect(raised).toBeGreaterThan(20);
  });
});

test('an hour without the function registration: idle agents of GitHub that drain stay until it is back, and no hook times out', async () => {
  const { summary, violations } = await simulate({
    ...SMALL,
    ...{ seed: 3, length: 8 * HOUR, providers: ['gha'], groups: 6, runners: 60 },
    ...{ faults: ['registration'], outage: 0, spot: 0 },
  });
  expect(violations).toEqual([]);
  expect(summary.jobs).toMatchObject({ done: summary.jobs.queued, killed: 0 });
  expect(summary.hooksTimedOut).toBe(0);
});

test('more instances than the budget serves in a short idle timeout: they stay until their turn, and take jobs', async () => {
  const { summary, violations } = await simulate({
    ...WEEK,
    ...{
      length: 1.5 * HOUR,
      startHour: 9,
      closing: 10 * HOUR,
      jobMinutes: 15,
      load: 0.5,
      idleTimeoutMinutes: 1,
    },
    ...{ providers: ['gha'], groups: 4, runners: 500, installations: 1, outage: 0, spot: 0 },
    faults: ['registration', 'agents'],
  });
  expect(violations).toEqual([]);
  const { queued } = summary.jobs;
  expect(summary.jobs).toMatchObject({ done: queued, killed: 0, lost: 0, expired: 0 });
  // Where they end before their turn it is half as many again as there are jobs.
  expect(summary.instances.launched).toBeLessThan(queued);
});

describe('a decision that is wrong is noticed:', () => {
  const QUIET: Options = {
    ...SMALL,
    groups: 3,
    runners: 24,
    installations: 1,
    faults: [],
    outage: 0,
    length: 2 * HOUR,
    closing: 2 * HOUR,
  };

  async function broken(tampering: Tampering, change: Partial<Options> = {}): Promise<Set<InvariantName>> {
    const { violations } = await simulate({ ...QUIET, ...change }, tampering);
    return new Set(violations.map(({ invariant }) => invariant));
  }

  /** Changes what is written to some objects, or read of them. */
  const store = (change: (bucket: Bucket) => void): Tampering => ({ world: ({ bucket }) => change(bucket) });
  const cloud = (change: (autoScaling: AutoScaling) => void): Tampering => ({
    world: ({ autoScaling }) => change(autoScaling),
  });

  test('nothing is, while nothing is changed', async () => {
    expect(await broken({})).toEqual(new Set());
  });

  test('a drain that does not wait for its job', async () => {
    const decide: typeof watchStep = (state, observation, last, times) =>
      watchStep(
        state,
        { ...observation, ...(state.phase === 'draining' && { agent: { state: 'gone' } }) },
        last,
        times,
      );
    expect(await broken({ decide }, { faults: ['operator'], load: 1, jobMinutes: 20 })).toContain(
      'no-job-killed',
    );
  });

  test('a hook that is completed twice', async () => {
    const twice = cloud((autoScaling) => {
      const complete = autoScaling.complete.bind(autoScaling);
      autoScaling.complete = (action, result) => {
        const answer = complete(action, result);
        const [open] = autoScaling.instance(action.instanceId)?.actions ?? [];
        if (open && answer.applied) {
          open.ended = undefined;
          complete(action, result);
        }
        return answer;
      };
    });
    expect(await broken(twice)).toContain('one-completion');
  });

  test('a capacity above the maximum, one that falls, and one that never grows', async () => {
    expect(await broken({ desired: ({ max }) => max + 1 })).toContain('desired-within-bounds');
    const lower: Tampering = { desired: ({ desired }, asked) => (desired > 1 ? desired - 1 : asked) };
    expect(await broken(lower)).toContain('scaling-only-raises');
    const never = await broken({ desired: ({ desired }) => Math.min(desired, 1) });
    expect(never).toContain('grows-with-backlog');
    expect(never).toContain('jobs-end');
  });

  test('a registration for an instance that still launches', async () => {
    const early = cloud((autoScaling) => {
      const describeInstance = autoScaling.describeInstance.bind(autoScaling);
      autoScaling.describeInstance = (id) => {
        const found = describeInstance(id);
        return found && { ...found, lifecycleState: found.lifecycleState.replace(/^Pending.*/, 'InService') };
      };
    });
    expect(await broken(early, { faults: ['stops'] })).toContain('registered-in-service');
  });

  test('two agents at once', async () => {
    const second = (instance: SimulatedInstance) => {
      const own = instance as unknown as { startUnit(...all: string[]): void };
      const start = own.startUnit.bind(instance);
      own.startUnit = (name = '', ...rest) => {
        start(name, ...rest);
        start(`${name}-second`, ...rest);
      };
    };
    expect(await broken({ instance: second })).toContain('one-agent');
  });

  test('a record of registrations that is lost', async () => {
    const forgetful = store((bucket) => {
      const read = bucket.read.bind(bucket);
      bucket.read = async (key, most) => (/^registrations\/i-/.test(key) ? undefined : read(key, most));
      const write = bucket.write.bind(bucket);
      bucket.write = async (key, value, precondition) =>
        /^registrations\/i-/.test(key) ? '"1"' : write(key, value, precondition);
    });
    expect(await broken(forgetful)).toContain('name-used-once');
  });

  test('a budget that counts nothing', async () => {
    const spendthrift = store((bucket) => {
      const read = bucket.read.bind(bucket);
      bucket.read = async (key, most) => (key.includes('/budgets/') ? undefined : read(key, most));
      const write = bucket.write.bind(bucket);
      bucket.write = async (key, value, precondition) =>
        key.includes('/budgets/') ? '"1"' : write(key, value, precondition);
    });
    const busy = {
      providers: ['gha'] as const,
      groups: 2,
      runners: 120,
      jobMinutes: 0.3,
      load: 1,
      startHour: 10,
    };
    const short = { length: HOUR / 4, closing: HOUR / 4 };
    expect(await broken(spendthrift, { ...busy, ...short })).toContain('limits-kept');
  });

  test('a run that never ends, and a pointer that nobody can read', async () => {
    const endless = store((bucket) => {
      const write = bucket.write.bind(bucket);
      bucket.write = async (key, value, precondition) =>
        key.endsWith('/run.json') && (value as { state: string }).state !== 'running'
          ? undefined
          : write(key, value, precondition);
    });
    expect(await broken(endless, { length: 4 * HOUR })).toContain('no-run-without-end');
    const garbled = store((bucket) => {
      const write = bucket.write.bind(bucket);
      bucket.write = async (key, value, precondition) =>
        write(key, key.endsWith('/pointer.json') ? { version: 2 } : value, precondition);
    });
    expect(await broken(garbled, { length: 4 * HOUR })).toContain('pointer-readable');
  });

  test('a credential in a record, and a record that grows', async () => {
    const leaky = store((bucket) => {
      const write = bucket.write.bind(bucket);
      bucket.write = async (key, value, precondition) =>
        write(
          key,
          key.startsWith('registrations/i-') ? { ...(value as object), token: 'SECRET-gha' } : value,
          precondition,
        );
    });
    expect(await broken(leaky)).toContain('no-credential');
    const growing = store((bucket) => {
      const write = bucket.write.bind(bucket);
      bucket.write = async (key, value, precondition) =>
        write(
          key,
          key.startsWith('lifecycle/') ? { ...(value as object), more: 'x'.repeat(950_000) } : value,
          precondition,
        );
    });
    expect(await broken(growing)).toContain('records-fit');
  });

  test('a capacity of the tree that is read once', async () => {
    let first: GroupCapacity[] | undefined;
    const capacities: Tampering['capacities'] = (groups) => {
      first ??= groups;
      return first;
    };
    expect(await broken({ capacities })).toEqual(new Set(['tree-follows']));
  });

  test('a message that fails for ever', async () => {
    const failing = cloud((autoScaling) => {
      autoScaling.listInstances = () => {
        throw new Error('a defect');
      };
    });
    expect(await broken(failing, { length: HOUR / 2, closing: HOUR / 4 })).toContain('no-dead-letter');
  });

  test('an instance that never starts an agent', async () => {
    const decide: typeof watchStep = (...all) =>
      watchStep(...all).filter((action) => action.do !== 'start-agent' && action.do !== 'report-idle');
    expect(await broken({ decide }, { runners: 6, closing: HOUR / 2 })).toContain('runner-has-agent');
  });

  test('each invariant is broken by one of these tests', async () => {
    const tests = await readFile(import.meta.filename, 'utf8');
    for (const name of Object.keys(INVARIANTS)) expect(tests).toContain(`'${name}'`);
  });
});
