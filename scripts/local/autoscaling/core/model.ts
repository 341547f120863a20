import type { Home, OutgoingEvent } from '../../service.ts';

/**
 * The model of Auto Scaling for the local cloud and for simulations: a `World` of groups and instances. It consists of plain
 * values that only the functions in this folder change. They start no timer and make no call: they read the time from
 * `World.now` and add what the caller must do to `World.effects`.
 *
 * Operations: `groups.ts`, `hooks.ts`, `actions.ts`. What EC2 does to an instance: `instance.ts`. Time: `advance` and
 * `nextDeadline` in `advance.ts`.
 *
 * All times are milliseconds since 1970.
 */

/** States of an instance in a group (Auto Scaling User Guide, "Instance lifecycle"); no warm pool, no standby. */
export type LifecycleState =
  | 'Pending'
  | 'Pending:Wait'
  | 'Pending:Proceed'
  | 'InService'
  | 'Terminating'
  | 'Terminating:Wait'
  | 'Terminating:Proceed'
  | 'Terminated';

export type Transition = 'autoscaling:EC2_INSTANCE_LAUNCHING' | 'autoscaling:EC2_INSTANCE_TERMINATING';
export type ActionResult = 'CONTINUE' | 'ABANDON';

export type Hook = {
  name: string;
  transition: Transition;
  /** Seconds. */
  heartbeatTimeout: number;
  defaultResult: ActionResult;
  notificationMetadata: string | undefined;
  notificationTargetArn: string | undefined;
  roleArn: string | undefined;
};

/** Why an action is over. */
export type EndCause =
  | 'completed'
  | 'heartbeat-timeout'
  | 'global-timeout'
  /** Another hook had the result ABANDON. */
  | 'skipped'
  /** The instance was terminated while it was launching. */
  | 'superseded'
  | 'hook-deleted'
  /** The instance is stopped. */
  | 'instance-gone';

export type LifecycleAction = {
  readonly token: string;
  /** As it was when the action began: later changes of the hook do not touch it. */
  readonly hook: Hook;
  readonly startedAt: number;
  /** Moved by heartbeats, never past `hardDeadline`. */
  deadline: number;
  readonly hardDeadline: number;
  ended: { result: ActionResult; cause: EndCause; at: number } | undefined;
};

export type ActivityStatus =
  | 'PreInService'
  | 'InProgress'
  | 'MidLifecycleAction'
  | 'Successful'
  | 'Failed'
  | 'Cancelled';

export type Activity = {
  readonly id: string;
  readonly group: string;
  description: string;
  cause: string;
  readonly startTime: number;
  endTime: number | undefined;
  status: ActivityStatus;
  statusMessage: string;
  readonly zone: string;
  readonly subnet: string;
};

export type Instance = {
  readonly id: string;
  readonly group: string;
  readonly zone: string;
  readonly subnet: string;
  readonly type: string;
  readonly purchase: 'spot' | 'on-demand';
  readonly launchedAt: number;
  /** That of the group at the launch. */
  readonly launchTemplate: Group['launchTemplate'];
  state: LifecycleState;
  healthy: boolean;
  protectedFromScaleIn: boolean;
  /** When a state that is left by itself is left; undefined in `InService` and in the wait states. */
  stepAt: number | undefined;
  /** Actions of the wait that it is in, or was in last. */
  actions: LifecycleAction[];
  readonly launch: Activity;
  termination: Activity | undefined;
  /** Hooks are not run: force-deleted, or reclaimed. */
  skipsHooks: boolean;
  stopped: boolean;
  reclaim: { noticedAt: number; goneAt: number } | undefined;
  rebalanceNoticedAt: number | undefined;
};

export type Tag = { key: string; value: string; propagate: boolean };

export type Group = {
  readonly name: string;
  readonly arn: string;
  readonly createdAt: number;
  min: number;
  max: number;
  desired: number;
  readonly zones: string[];
  readonly subnets: string[];
  instanceType: string;
  purchase: 'spot' | 'on-demand';
  launchTemplate:
    | { id: string | undefined; name: string | undefined; version: string | undefined }
    | undefined;
  defaultCooldown: number;
  healthCheckType: string;
  healthCheckGracePeriod: number;
  newInstancesProtected: boolean;
  capacityRebalance: boolean;
  tags: Tag[];
  hooks: Hook[];
  instances: Instance[];
  /** Newest first. */
  activities: Activity[];
  /** The cause of the desired capacity in the wording of AWS; empty once the group has it. */
  cause: string;
  /** Launches in a row that did not reach `InService`. */
  launchFailures: number;
  nextLaunchAt: number;
  deleting: boolean;
  /** Whether the failed activity for scale-in protection is published. */
  scaleInBlocked: boolean;
};

/** An effect that the caller must apply. */
export type Effect =
  | { kind: 'event'; event: OutgoingEvent }
  /** The instance starts now. */
  | { kind: 'launch'; instance: Readonly<Instance> }
  /** The instance stops now, with everything that runs on it. */
  | { kind: 'terminate'; instance: Readonly<Instance> }
  | { kind: 'action-ended'; instance: Readonly<Instance>; action: Readonly<LifecycleAction> };

/** How the emulation behaves. */
export type Behaviour = {
  /** Durations are divided by this; 1 is real time. Points in time stay real. */
  timeScale: number;
  /** From the request of an instance until it runs, in seconds. */
  launchSeconds: number;
  /** From the request to stop an instance until it is terminated, in seconds. */
  terminateSeconds: number;
  /** Whether EC2 has capacity for the request. */
  hasCapacity(request: { group: string; zone: string; instanceType: string }): boolean;
  /**
   * How long after its event an action cannot be completed yet, in seconds: on AWS the event is sometimes the faster of
   * the two, and "No active Lifecycle Action found" is premature.
   */
  actionDelaySeconds: number;
};

export type World = {
  readonly home: Home;
  readonly behaviour: Behaviour;
  readonly groups: Map<string, Group>;
  effects: Effect[];
  now: number;
  /** A new UUID, for tokens and activities. */
  newId(): string;
  /** A new `i-…`. */
  newInstanceId(): string;
};

/** Scaled length of `seconds`, in milliseconds. */
export function span(world: World, seconds: number): number {
  return (seconds * 1000) / world.behaviour.timeScale;
}

/** Whether the instance counts towards the group's capacity: all instances that do not terminate. */
export function counts(instance: Instance): boolean {
  return instance.state === 'InService' || instance.state.startsWith('Pending');
}

export function findInstance(world: World, id: string): { group: Group; instance: Instance } | undefined {
  for (const group of world.groups.values()) {
    const instance = group.instances.find((candidate) => candidate.id === id);
    if (instance !== undefined) return { group, instance };
  }
  return undefined;
}
