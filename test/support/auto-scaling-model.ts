import type { AutoScalingPort, ChangeResult, HookAction } from '../../functions/lifecycle/ports.ts';
import { completeAction, recordHeartbeat } from '../../scripts/local/autoscaling/core/actions.ts';
import { advance } from '../../scripts/local/autoscaling/core/advance.ts';
import { AutoScalingError } from '../../scripts/local/autoscaling/core/errors.ts';
import { createGroup, terminateInstance } from '../../scripts/local/autoscaling/core/groups.ts';
import {
  findInstance,
  type Group,
  type Hook,
  type World,
} from '../../scripts/local/autoscaling/core/model.ts';
import type { GroupState } from '../../shared/aws/auto-scaling.ts';
import { ROLE_ID_TAG } from '../../shared/fleet/names.ts';
import { RetryableError } from '../../shared/runtime/errors.ts';

/** How the wait of a lifecycle hook ended. */
export type WaitEnd = {
  hook: 'aw-boot' | 'aw-drain';
  by: 'CONTINUE' | 'ABANDON' | 'timeout';
  /** Whether the instance was terminated while a job ran. */
  killedJob: boolean;
};

export const GROUP = 'aw-gha-default';
export const INSTANCE = 'i-00000000000000001';

/** The unique id of the role of the group's instances. */
export const ROLE_ID = 'AROARUNNER';

/** Heartbeat timeout of both hooks, in seconds. */
export const HEARTBEAT_TIMEOUT = 60;

/** Seconds between a transition and the moment at which its action can be completed: a report can be premature. */
const ACTION_DELAY = 3;

/**
 * One group with one instance and two hooks, in seconds of simulated time. The behaviour is that of the local cloud's Auto
 * Scaling (`scripts/local/autoscaling/core`); this class only offers it as the port of `lifecycle`. EC2 has capacity for one
 * launch, so no replacement takes part.
 */
export class AutoScalingModel implements AutoScalingPort {
  readonly ends: WaitEnd[] = [];
  /** Evaluated when a wait ends. */
  jobRunning: () => boolean = () => false;
  private readonly world: World;
  private readonly throttled: readonly boolean[];
  private calls = 0;

  /** @param throttled whether the first, second, … call is throttled; later calls are not */
  constructor(min: number, throttled: readonly boolean[] = []) {
    this.throttled = throttled;
    let ids = 0;
    let launches = 0;
    this.world = {
      home: { region: 'us-east-1', account: '123456789012' },
      behaviour: {
        timeScale: 1,
        launchSeconds: ACTION_DELAY,
        terminateSeconds: 0,
        actionDelaySeconds: ACTION_DELAY,
        hasCapacity: () => ++launches === 1,
      },
      groups: new Map(),
      effects: [],
      now: 0,
      newId: () => `${++ids}`.padStart(36, '0'),
      newInstanceId: () => INSTANCE,
    };
    createGroup(this.world, {
      name: GROUP,
      min,
      max: 3,
      desired: 1,
      zones: ['us-east-1a'],
      subnets: ['subnet-1'],
      tags: [],
      hooks: [hook('aw-boot', 'LAUNCHING', 'ABANDON'), hook('aw-drain', 'TERMINATING', 'ABANDON')],
      instanceType: undefined,
      purchase: undefined,
      launchTemplate: undefined,
      defaultCooldown: undefined,
      healthCheckType: undefined,
      healthCheckGracePeriod: undefined,
      newInstancesProtected: undefined,
      capacityRebalance: undefined,
    });
    this.applyEffects();
  }

  /** The state of the instance. */
  get state(): string {
    return findInstance(this.world, INSTANCE)?.instance.state ?? 'Terminated';
  }

  /** Advances the time. Waits without heartbeats time out. */
  advance(seconds: number): void {
    this.world.now += seconds * 1000;
    this.applyEffects();
  }

  /** A scale-in or an operator: through the hook, as every termination, also of an instance that boots. */
  beginTermination(): void {
    if (/^(Pending|InService)/.test(this.state)) {
      this.change(() => terminateInstance(this.world, INSTANCE, false));
    }
  }

  async complete(action: HookAction, result: 'CONTINUE' | 'ABANDON'): Promise<ChangeResult> {
    this.throttleCall();
    return this.change(() => completeAction(this.world, referenceOf(action), result));
  }

  async heartbeat(action: HookAction): Promise<ChangeResult> {
    this.throttleCall();
    return this.change(() => recordHeartbeat(this.world, referenceOf(action)));
  }

  async describeInstance(instanceId: string) {
    this.throttleCall();
    const found = findInstance(this.world, instanceId);
    return found && { autoScalingGroup: found.group.name, lifecycleState: found.instance.state };
  }

  async describeGroup(name: string) {
    this.throttleCall();
    const group = this.world.groups.get(name);
    return group && { min: group.min, desired: group.desired, tags: new Map([[ROLE_ID_TAG, ROLE_ID]]) };
  }

  async listGroups() {
    this.throttleCall();
    return new Map([...this.world.groups].map(([name, group]) => [name, stateOf(group)]));
  }

  async terminate(instanceId: string, decrement: boolean): Promise<ChangeResult> {
    this.throttleCall();
    return this.change(() => terminateInstance(this.world, instanceId, decrement));
  }

  /** Applies a change and maps its errors as the adapter of Auto Scaling maps those of AWS. */
  private change(apply: () => unknown): ChangeResult {
    try {
      apply();
    } catch (error) {
      if (!(error instanceof AutoScalingError)) throw error;
      if (error.code === 'ValidationError') return { applied: false, refusal: error.message };
      throw new RetryableError('scaling-in-progress', error.message, { cause: error });
    }
    this.applyEffects();
    return { applied: true };
  }

  private applyEffects(): void {
    for (const effect of advance(this.world, this.world.now)) {
      if (effect.kind !== 'action-ended' || !effect.action.ended) continue;
      const { result, cause } = effect.action.ended;
      const by = { completed: result, 'heartbeat-timeout': 'timeout' as const }[cause as 'completed'];
      // A termination during the launch supersedes the launch hook; no report and no timeout ends it.
      if (by === undefined) continue;
      const entersService = effect.action.hook.name === 'aw-boot' && result === 'CONTINUE';
      this.ends.push({
        hook: effect.action.hook.name as WaitEnd['hook'],
        by,
        killedJob: !entersService && this.jobRunning(),
      });
    }
  }

  private throttleCall(): void {
    this.calls += 1;
    if (!this.throttled[this.calls - 1]) return;
    throw Object.assign(new Error('Rate exceeded'), { name: 'ThrottlingException' });
  }
}

function hook(name: string, transition: 'LAUNCHING' | 'TERMINATING', defaultResult: 'ABANDON'): Hook {
  return {
    name,
    transition: `autoscaling:EC2_INSTANCE_${transition}`,
    heartbeatTimeout: HEARTBEAT_TIMEOUT,
    defaultResult,
    notificationMetadata: undefined,
    notificationTargetArn: undefined,
    roleArn: undefined,
  };
}

function stateOf({ name, min, max, desired, instances }: Group): GroupState {
  return {
    name,
    min,
    max,
    desired,
    instances: instances.map(({ id, state }) => ({ instanceId: id, lifecycleState: state })),
    tags: new Map([[ROLE_ID_TAG, ROLE_ID]]),
  };
}

function referenceOf({ autoScalingGroup, hook: name, instanceId }: HookAction) {
  return { group: autoScalingGroup, hook: name, token: undefined, instanceId };
}
