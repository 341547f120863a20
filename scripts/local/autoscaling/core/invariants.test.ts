import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { completeAction, recordHeartbeat } from './actions.ts';
import { advance, nextDeadline } from './advance.ts';
import { AutoScalingError } from './errors.ts';
import {
  createGroup,
  setDesiredCapacity,
  setHealth,
  setProtection,
  terminateInstance,
  updateGroup,
} from './groups.ts';
import { deleteHook, putHook } from './hooks.ts';
import { endInstance, reclaim } from './instance.ts';
import { counts, type Effect, type Group, type Hook, type World } from './model.ts';

const NAME = 'aw-gha-default';
const START = Date.parse('2026-05-14T16:20:00Z');
/** Longer than any wait of these hooks can last: 100 times the longest heartbeat timeout. */
const LONGEST_WAIT_MS = 100 * 300_000;

/** One thing that happens to the group; numbers choose among the instances and actions that there are. */
type Happening =
  | { kind: 'pass'; seconds: number }
  | { kind: 'desire'; desired: number }
  | { kind: 'bounds'; min: number; max: number }
  | { kind: 'complete'; nth: number; result: 'CONTINUE' | 'ABANDON' }
  | { kind: 'heartbeat'; nth: number }
  | { kind: 'terminate'; nth: number; decrement: boolean }
  | { kind: 'protect'; nth: number; on: boolean }
  | { kind: 'sicken'; nth: number }
  | { kind: 'crash'; nth: number }
  | { kind: 'reclaim'; nth: number }
  | { kind: 'dry'; hasCapacity: boolean }
  | { kind: 'unhook' }
  | { kind: 'hook' };

const nth = fc.nat(9);
const happening: fc.Arbitrary<Happening> = fc.oneof(
  fc.record({ kind: fc.constant('pass'), seconds: fc.integer({ min: 0, max: 400 }) }),
  fc.record({ kind: fc.constant('desire'), desired: fc.nat(7) }),
  fc.record({ kind: fc.constant('bounds'), min: fc.nat(3), max: fc.nat(7) }),
  fc.record({ kind: fc.constant('complete'), nth, result: fc.constantFrom('CONTINUE', 'ABANDON') }),
  fc.record({ kind: fc.constant('heartbeat'), nth }),
  fc.record({ kind: fc.constant('terminate'), nth, decrement: fc.boolean() }),
  fc.record({ kind: fc.constant('protect'), nth, on: fc.boolean() }),
  fc.record({ kind: fc.constant('sicken'), nth }),
  fc.record({ kind: fc.constant('crash'), nth }),
  fc.record({ kind: fc.constant('reclaim'), nth }),
  fc.record({ kind: fc.constant('dry'), hasCapacity: fc.boolean() }),
  fc.record({ kind: fc.constant('unhook') }),
  fc.record({ kind: fc.constant('hook') }),
) as fc.Arbitrary<Happening>;

const HOOKS: Hook[] = [
  hook('boot', 'autoscaling:EC2_INSTANCE_LAUNCHING', 120, 'ABANDON'),
  hook('check', 'autoscaling:EC2_INSTANCE_LAUNCHING', 300, 'CONTINUE'),
  hook('drain', 'autoscaling:EC2_INSTANCE_TERMINATING', 180, 'CONTINUE'),
  hook('save', 'autoscaling:EC2_INSTANCE_TERMINATING', 60, 'ABANDON'),
];

function hook(
  name: string,
  transition: Hook['transition'],
  heartbeatTimeout: number,
  defaultResult: Hook['defaultResult'],
): Hook {
  return {
    name,
    transition,
    heartbeatTimeout,
    defaultResult,
    notificationMetadata: undefined,
    notificationTargetArn: undefined,
    roleArn: undefined,
  };
}

/** A world, its effects so far, and the checks that hold whenever nothing is due. */
function simulation() {
  let ids = 0;
  let hasCapacity = true;
  const world: World = {
    home: { account: '210987654321', region: 'us-west-2' },
    behaviour: {
      timeScale: 1,
      launchSeconds: 20,
      terminateSeconds: 10,
      actionDelaySeconds: 0,
      hasCapacity: () => hasCapacity,
    },
    groups: new Map(),
    effects: [],
    now: START,
    newId: () => `id-${++ids}`,
    newInstanceId: () => `i-${++ids}`,
  };
  const group = createGroup(world, {
    name: NAME,
    min: 0,
    max: 5,
    desired: 2,
    zones: [],
    subnets: [],
    tags: [],
    hooks: HOOKS,
    instanceType: undefined,
    purchase: 'spot',
    launchTemplate: undefined,
    defaultCooldown: undefined,
    healthCheckType: undefined,
    healthCheckGracePeriod: undefined,
    newInstancesProtected: undefined,
    capacityRebalance: undefined,
  });
  const started = new Map<string, number>();
  const ended = new Map<string, number>();
  const running = new Set<string>();
  const seen = { launches: 0, waits: new Map<string, number>() };

  function record(effect: Effect): void {
    if (effect.kind === 'launch') {
      seen.launches += 1;
      running.add(effect.instance.id);
    } else if (effect.kind === 'terminate') {
      assert(running.delete(effect.instance.id), 'an instance is stopped twice');
    } else if (effect.kind === 'action-ended') {
      bump(ended, effect.action.token);
    } else if (effect.event.detailType.endsWith('Lifecycle Action')) {
      bump(started, String(effect.event.detail.LifecycleActionToken));
    }
  }

  function advanceTo(now: number): void {
    for (const effect of advance(world, now)) record(effect);
    checkSettled(world, group, started, ended);
  }

  /** Lets time pass as the real clock does: from one deadline to the next. */
  function pass(milliseconds: number): void {
    const end = world.now + milliseconds;
    for (let next = nextDeadline(world); next !== undefined && next <= end; next = nextDeadline(world)) {
      advanceTo(next);
    }
    advanceTo(end);
  }

  return {
    world,
    group,
    seen,
    running,
    started,
    ended,
    pass,
    setCapacity: (value: boolean) => {
      hasCapacity = value;
    },
    advanceTo: () => advanceTo(world.now),
  };
}

function bump(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

/** What must hold after every command and at every deadline. */
function checkSettled(
  world: World,
  group: Group,
  started: ReadonlyMap<string, number>,
  ended: ReadonlyMap<string, number>,
): void {
  // Plain assertions: these run a million times, and a matcher is slow.
  const active = group.instances.filter(counts).length;
  assert(active <= group.max + protectedCount(group), `${active} instances, at most ${group.max} allowed`);
  assert(group.min <= group.desired && group.desired <= group.max, 'desired leaves its bounds');
  for (const [token, times] of ended) assert(times === 1, `${token} ended ${times} times`);
  for (const instance of group.instances) {
    const open = instance.actions.filter((action) => action.ended === undefined);
    assert.equal(open.length > 0, instance.state.endsWith(':Wait'), `${instance.state}, ${open.length} open`);
    for (const action of open) {
      assert.equal(started.get(action.token), 1, 'an action is announced once');
      assert(action.deadline > world.now, 'an action outlives its deadline');
      assert(action.deadline <= action.hardDeadline, 'a heartbeat passes the longest wait');
    }
  }
}

/** Protected instances may keep a group above what a lowered maximum allows. */
function protectedCount(group: Group): number {
  return group.instances.filter((instance) => instance.protectedFromScaleIn).length;
}

function apply(sim: ReturnType<typeof simulation>, event: Happening): void {
  const { world, group } = sim;
  const instance =
    'nth' in event ? group.instances[event.nth % Math.max(1, group.instances.length)] : undefined;
  const action = instance?.actions[('nth' in event ? event.nth : 0) % Math.max(1, instance.actions.length)];
  const reference = action && {
    group: NAME,
    hook: action.hook.name,
    token: action.token,
    instanceId: undefined,
  };
  try {
    if (event.kind === 'pass') sim.pass(event.seconds * 1000);
    if (event.kind === 'dry') sim.setCapacity(event.hasCapacity);
    if (event.kind === 'desire') setDesiredCapacity(world, NAME, event.desired);
    if (event.kind === 'bounds') updateGroup(world, NAME, { ...NO_SETTINGS, min: event.min, max: event.max });
    if (event.kind === 'unhook') deleteHook(world, NAME, 'check');
    if (event.kind === 'hook') putHook(world, NAME, HOOKS[1] ?? fail());
    if (event.kind === 'complete' && reference) completeAction(world, reference, event.result);
    if (event.kind === 'heartbeat' && reference) recordHeartbeat(world, reference);
    if (event.kind === 'terminate' && instance) terminateInstance(world, instance.id, event.decrement);
    if (event.kind === 'protect' && instance) setProtection(world, NAME, [instance.id], event.on);
    if (event.kind === 'sicken' && instance) setHealth(world, instance.id, false);
    if (event.kind === 'reclaim' && instance) reclaim(world, instance);
    if (event.kind === 'crash' && instance && !instance.stopped) {
      sim.running.delete(instance.id);
      endInstance(world, group, instance);
    }
  } catch (error) {
    // A refused call changes nothing; which calls are refused is tested elsewhere.
    if (!(error instanceof AutoScalingError)) throw error;
  }
  sim.advanceTo();
}

function fail(): never {
  throw new Error('the test has no such hook');
}

const NO_SETTINGS = {
  desired: undefined,
  instanceType: undefined,
  purchase: undefined,
  launchTemplate: undefined,
  defaultCooldown: undefined,
  healthCheckType: undefined,
  healthCheckGracePeriod: undefined,
  newInstancesProtected: undefined,
  capacityRebalance: undefined,
};

describe('any history of a group', () => {
  it('keeps every invariant, empties every wait, and ends at the desired capacity', {
    timeout: 60_000,
  }, () => {
    fc.assert(
      fc.property(fc.array(happening, { maxLength: 60 }), (history) => {
        const sim = simulation();
        sim.advanceTo();
        for (const event of history) apply(sim, event);

        // Without further events and answers every wait ends.
        const waiting = sim.group.instances.filter((instance) => instance.state.endsWith(':Wait'));
        const tokens = waiting.flatMap((instance) => instance.actions.map((action) => action.token));
        sim.pass(LONGEST_WAIT_MS);
        for (const token of tokens) expect(sim.ended.get(token), `${token} ended`).toBe(1);

        // Without hooks the capacity converges.
        sim.setCapacity(true);
        sim.group.hooks = [];
        for (const instance of sim.group.instances) instance.protectedFromScaleIn = false;
        sim.pass(LONGEST_WAIT_MS);
        expect(sim.group.instances.map((instance) => instance.state)).toEqual(
          Array.from({ length: sim.group.desired }, () => 'InService'),
        );
        expect(sim.running.size).toBe(sim.group.desired);
        expect([...sim.ended.keys()].sort()).toEqual([...sim.started.keys()].sort());
      }),
      { numRuns: 60 },
    );
  });

  it('launches ever more slowly while launches fail', () => {
    const sim = simulation();
    sim.setCapacity(false);
    sim.pass(3_600_000);
    const failures = sim.group.launchFailures;
    // 5, 10, 20, … 300 s between tries: an hour has room for no more than this.
    expect(failures).toBeGreaterThan(10);
    expect(failures).toBeLessThan(25);
    sim.setCapacity(true);
    sim.group.hooks = [];
    sim.pass(600_000);
    expect(sim.group.instances).toHaveLength(2);
    expect(sim.group.launchFailures).toBe(0);
  });

  it('cannot be held longer than a hundred timeouts, however many heartbeats come', () => {
    const sim = simulation();
    sim.group.hooks = HOOKS.slice(0, 1);
    setDesiredCapacity(sim.world, NAME, 1);
    sim.advanceTo();
    sim.pass(20_000);
    const [instance] = sim.group.instances;
    const token = instance?.actions[0]?.token ?? fail();
    const reference = { group: NAME, hook: 'boot', token, instanceId: undefined };
    for (let beats = 0; beats < 119; beats += 1) {
      recordHeartbeat(sim.world, reference);
      sim.pass(100_000);
    }
    expect(instance?.state).toBe('Pending:Wait');
    recordHeartbeat(sim.world, reference);
    sim.pass(100_000);
    expect(instance?.state).toBe('Terminating:Proceed');
    expect(sim.ended.get(token)).toBe(1);
  });

  it('skips the other terminate hooks once one abandons', () => {
    const sim = simulation();
    sim.group.hooks = HOOKS.slice(2);
    sim.pass(20_000);
    const [instance] = sim.group.instances;
    terminateInstance(sim.world, instance?.id ?? fail(), false);
    sim.advanceTo();
    const [drain, save] = instance?.actions ?? [];
    const reference = { group: NAME, hook: 'drain', token: drain?.token, instanceId: undefined };
    completeAction(sim.world, reference, 'ABANDON');
    sim.advanceTo();
    expect(save?.ended).toMatchObject({ cause: 'skipped' });
    expect(instance?.state).toBe('Terminating:Proceed');
  });
});
