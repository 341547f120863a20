import type {
  ChangeResult,
  GroupState,
  HookAction,
  InstanceState,
} from '../../../shared/aws/auto-scaling.ts';
import { ROLE_ID_TAG, WARMING_SET_TAG } from '../../../shared/fleet/names.ts';
import { completeAction, recordHeartbeat } from '../../local/autoscaling/core/actions.ts';
import { advance, nextDeadline } from '../../local/autoscaling/core/advance.ts';
import { AutoScalingError } from '../../local/autoscaling/core/errors.ts';
import { createGroup, setDesiredCapacity, terminateInstance } from '../../local/autoscaling/core/groups.ts';
import { endInstance, reclaim } from '../../local/autoscaling/core/instance.ts';
import type { EndCause, Group, Hook, Instance, World } from '../../local/autoscaling/core/model.ts';
import type { OutgoingEvent } from '../../local/service.ts';
import { type Kernel, type Random, SECOND } from '../kernel.ts';
import type { Calls } from './calls.ts';

/** A group of the simulated world. */
export type GroupSpec = {
  /** Name of the Auto Scaling group. */
  name: string;
  min: number;
  max: number;
  purchase: 'spot' | 'on-demand';
  warmingSet: string | undefined;
  roleId: string;
};

export const ZONES = ['us-east-1a', 'us-east-1b', 'us-east-1c'];

/** Activities that a group keeps. The product reads the newest ten. */
const KEPT_ACTIVITIES = 12;

/** What happens to instances, for whoever plays them. */
export type FleetListener = {
  launched(instance: Readonly<Instance>): void;
  /** The instance stops with everything on it. */
  stopped(instance: Readonly<Instance>): void;
  hookEnded(instance: Readonly<Instance>, hook: string, cause: EndCause, result: string): void;
  event(event: OutgoingEvent): void;
  /** Auto Scaling has begun to terminate it, or EC2 has announced to take it: its metadata shows it. */
  changed(instanceId: string): void;
};

type Entry = {
  world: World;
  group: Group;
  roleTags: ReadonlyMap<string, string>;
  dueAt: number;
  /** The answer about the group since its last change. */
  state: GroupState | undefined;
};

/**
 * Auto Scaling for thousands of groups: one world of the shared model per group, so that a change of one costs nothing for the others.
 * Calls are counted, throttled and fail as the faults of the simulation say.
 */
export class AutoScaling {
  /** Whether EC2 launches instances in a zone at present. */
  hasCapacity: (zone: string, group: string) => boolean = () => true;
  /** Probability that a call is throttled at present. */
  throttled: () => number = () => 0;
  readonly entries = new Map<string, Entry>();
  private readonly byInstance = new Map<string, { entry: Entry; instance: Instance }>();
  private readonly kernel: Kernel;
  private readonly random: Random;
  private readonly calls: Calls;
  private readonly listener: FleetListener;
  private ids = 0;

  constructor(options: { kernel: Kernel; random: Random; calls: Calls; listener: FleetListener }) {
    this.kernel = options.kernel;
    this.random = options.random;
    this.calls = options.calls;
    this.listener = options.listener;
  }

  add(spec: GroupSpec, hooks: readonly Hook[]): void {
    const { name, min, max } = spec;
    const world: World = {
      home: { region: 'us-east-1', account: '123456789012' },
      behaviour: {
        timeScale: 1,
        launchSeconds: 8,
        terminateSeconds: 45,
        actionDelaySeconds: 0.5,
        hasCapacity: ({ zone }) => this.hasCapacity(zone, name),
      },
      groups: new Map(),
      effects: [],
      now: this.kernel.now,
      newId: () => `${++this.ids}`.padStart(36, '0'),
      newInstanceId: () => `i-${(++this.ids).toString(16).padStart(17, '0')}`,
    };
    const group = createGroup(world, {
      ...{ name, min, max, desired: min, zones: [...ZONES], subnets: [], tags: [], hooks: [...hooks] },
      ...{ instanceType: 'm7a.xlarge', purchase: spec.purchase, launchTemplate: undefined },
      ...{ defaultCooldown: undefined, healthCheckType: undefined, healthCheckGracePeriod: undefined },
      ...{ newInstancesProtected: undefined, capacityRebalance: undefined },
    });
    group.launchTemplate = { id: 'lt-1', name: undefined, version: '1' };
    const tags = [
      [ROLE_ID_TAG, spec.roleId],
      ...(spec.warmingSet === undefined ? [] : [[WARMING_SET_TAG, spec.warmingSet]]),
    ] as [string, string][];
    const entry = {
      ...{ world, group, roleTags: new Map(tags), dueAt: Number.POSITIVE_INFINITY, state: undefined },
    };
    this.entries.set(name, entry);
    this.apply(entry);
  }

  instance(id: string): Instance | undefined {
    return this.byInstance.get(id)?.instance;
  }

  /** Applies what follows from the last change, at once and when it is due. */
  private apply(entry: Entry): void {
    const { world, group } = entry;
    world.now = this.kernel.now;
    entry.state = undefined;
    for (const effect of advance(world, this.kernel.now)) {
      switch (effect.kind) {
        case 'launch':
          this.byInstance.set(effect.instance.id, { entry, instance: effect.instance as Instance });
          this.listener.launched(effect.instance);
          break;
        case 'terminate':
          this.listener.stopped(effect.instance);
          break;
        case 'event':
          if (effect.event.detailType.endsWith('Terminate Successful'))
            this.byInstance.delete(String(effect.event.detail.EC2InstanceId));
          if (effect.event.detailType === 'EC2 Instance-terminate Lifecycle Action')
            this.listener.changed(String(effect.event.detail.EC2InstanceId));
          this.listener.event(effect.event);
          break;
        case 'action-ended':
          this.listener.hookEnded(
            effect.instance,
            effect.action.hook.name,
            effect.action.ended?.cause ?? 'skipped',
            effect.action.ended?.result ?? '',
          );
          break;
      }
    }
    if (group.activities.length > KEPT_ACTIVITIES) group.activities.length = KEPT_ACTIVITIES;
    const due = nextDeadline(world);
    if (due === undefined || due >= entry.dueAt) return;
    entry.dueAt = due;
    this.kernel.at(due, () => {
      if (entry.dueAt !== due) return;
      entry.dueAt = Number.POSITIVE_INFINITY;
      this.apply(entry);
    });
  }

  /** A call to the API. @throws as AWS throttles */
  private call(api: 'autoscaling describe' | 'autoscaling change', calls = 1): void {
    this.calls.count(api, '', this.kernel.now, calls);
    if (!this.random.chance(this.throttled())) return;
    throw Object.assign(new Error('Rate exceeded'), {
      name: 'Throttling',
      $metadata: { httpStatusCode: 400 },
    });
  }

  private change(name: string, change: (entry: Entry) => void): ChangeResult {
    this.call('autoscaling change');
    const entry = this.entries.get(name);
    if (!entry) return { applied: false, refusal: `no group ${name}` };
    // A hook whose timeout ends at this moment ends first.
    this.apply(entry);
    try {
      change(entry);
    } catch (error) {
      if (!(error instanceof AutoScalingError)) throw error;
      if (error.code !== 'ValidationError')
        throw Object.assign(new Error(error.message), {
          name: error.code,
          $metadata: { httpStatusCode: 400 },
        });
      return { applied: false, refusal: error.message };
    }
    this.apply(entry);
    return { applied: true };
  }

  complete({ autoScalingGroup, hook, instanceId }: HookAction, result: 'CONTINUE' | 'ABANDON'): ChangeResult {
    const reference = { group: autoScalingGroup, hook, token: undefined, instanceId };
    return this.change(autoScalingGroup, ({ world }) => completeAction(world, reference, result));
  }

  heartbeat({ autoScalingGroup, hook, instanceId }: HookAction): ChangeResult {
    const reference = { group: autoScalingGroup, hook, token: undefined, instanceId };
    return this.change(autoScalingGroup, ({ world }) => recordHeartbeat(world, reference));
  }

  terminate(instanceId: string, decrement: boolean): ChangeResult {
    const known = this.byInstance.get(instanceId);
    if (!known) return { applied: false, refusal: `no instance ${instanceId}` };
    return this.change(known.entry.group.name, ({ world }) => {
      terminateInstance(world, instanceId, decrement);
    });
  }

  /** @throws for a capacity out of bounds, as AWS does */
  setDesired(name: string, desired: number): void {
    const result = this.change(name, ({ world }) => setDesiredCapacity(world, name, desired));
    if (!result.applied) throw Object.assign(new Error(result.refusal), { name: 'ValidationError' });
  }

  /** An operator sets a capacity, as often as it takes. */
  setByHand(name: string, desired: number): void {
    const entry = this.entries.get(name);
    if (!entry) return;
    setDesiredCapacity(entry.world, name, desired);
    this.apply(entry);
  }

  describeInstance(instanceId: string): InstanceState | undefined {
    this.call('autoscaling describe');
    const known = this.byInstance.get(instanceId);
    return known && { autoScalingGroup: known.entry.group.name, lifecycleState: known.instance.state };
  }

  describeGroup(name: string): GroupState | undefined {
    this.call('autoscaling describe');
    const entry = this.entries.get(name);
    return entry && stateOf(entry);
  }

  /** Every group, 100 per page. */
  listGroups(): Map<string, GroupState> {
    this.call('autoscaling describe', Math.ceil(this.entries.size / 100));
    return new Map([...this.entries].map(([name, entry]) => [name, stateOf(entry)]));
  }

  listInstances(): Map<string, InstanceState> {
    this.call('autoscaling describe', Math.ceil(this.entries.size / 100));
    const found = new Map<string, InstanceState>();
    for (const [id, { entry, instance }] of this.byInstance)
      found.set(id, { autoScalingGroup: entry.group.name, lifecycleState: instance.state });
    return found;
  }

  failedLaunch(name: string, since: Date): string | undefined {
    this.call('autoscaling describe');
    const launch = this.entries
      .get(name)
      ?.group.activities.find(({ description }) => /^Launching /.test(description));
    if (launch?.status !== 'Failed' || (launch.endTime ?? launch.startTime) < since.getTime())
      return undefined;
    return launch.statusMessage;
  }

  /** EC2 takes a Spot instance: it has two minutes. */
  reclaim(instance: Readonly<Instance>): void {
    const known = this.byInstance.get(instance.id);
    if (!known) return;
    known.entry.world.now = this.kernel.now;
    reclaim(known.entry.world, known.instance);
    this.apply(known.entry);
    this.listener.changed(instance.id);
  }

  /** The instance stops by itself: its zone is gone, or it has crashed. Auto Scaling finds out by a health check. */
  crash(instance: Readonly<Instance>): void {
    const known = this.byInstance.get(instance.id);
    if (!known || known.instance.stopped) return;
    this.listener.stopped(known.instance);
    known.instance.stopped = true;
    this.kernel.after(60 * SECOND, () => {
      if (!this.byInstance.has(instance.id)) return;
      known.entry.world.now = this.kernel.now;
      endInstance(known.entry.world, known.entry.group, known.instance);
      this.apply(known.entry);
    });
  }

  /** A new version of the launch template, as a deployment makes it. */
  deploy(version: string): void {
    for (const entry of this.entries.values()) {
      entry.group.launchTemplate = { id: 'lt-1', name: undefined, version };
      entry.state = undefined;
    }
  }

  instances(): IterableIterator<{ entry: Entry; instance: Instance }> {
    return this.byInstance.values();
  }
}

function stateOf(entry: Entry): GroupState {
  const { group, roleTags } = entry;
  entry.state ??= {
    name: group.name,
    min: group.min,
    max: group.max,
    desired: group.desired,
    instances: group.instances.map(({ id, state, launchTemplate }) => ({
      instanceId: id,
      lifecycleState: state,
      launchTemplate: { id: 'lt-1', version: launchTemplate?.version ?? '1' },
    })),
    launchTemplate: { id: 'lt-1', version: group.launchTemplate?.version ?? '1' },
    tags: roleTags,
  };
  return entry.state;
}

/** The hooks of a runner group, as the Terraform module makes them. */
export function runnerHooks(prefix: string): Hook[] {
  const hook = (name: string, transition: Hook['transition'], heartbeatTimeout: number): Hook => ({
    ...{ name: `${prefix}-${name}`, transition, heartbeatTimeout, defaultResult: 'ABANDON' },
    ...{ notificationMetadata: undefined, notificationTargetArn: undefined, roleArn: undefined },
  });
  return [
    hook('boot', 'autoscaling:EC2_INSTANCE_LAUNCHING', 300),
    hook('drain', 'autoscaling:EC2_INSTANCE_TERMINATING', 1_800),
  ];
}
