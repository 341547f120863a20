import { randomBytes, randomUUID } from 'node:crypto';
import type { EmulatedService, Home, OutgoingEvent, PublishEvent } from '../service.ts';
import { systemTimers, type Timers } from '../timers.ts';
import { advance, nextDeadline } from './core/advance.ts';
import { instanceNotFound } from './core/errors.ts';
import { endInstance, reclaim, recommendRebalance } from './core/instance.ts';
import {
  type Behaviour,
  type Effect,
  findInstance,
  type Group,
  type Instance,
  type LifecycleAction,
  type World,
} from './core/model.ts';
import { answer } from './query/protocol.ts';

/** A launched instance, for the supervisor of the runner processes. */
export type LaunchedInstance = {
  id: string;
  group: string;
  zone: string;
  instanceType: string;
  purchase: 'spot' | 'on-demand';
  launchedAt: Date;
};

/** What the metadata service of an instance returns. */
export type InstanceFacts = LaunchedInstance & {
  region: string;
  account: string;
  /** The target of Auto Scaling for the instance. */
  targetLifecycleState: 'InService' | 'Terminated';
  /** When EC2 stops it, after an interruption notice. */
  reclaimAt: Date | undefined;
  rebalanceNoticedAt: Date | undefined;
};

export type AutoScalingOptions = {
  home: Home;
  publish: PublishEvent;
  /** Starts the instance. If it fails, the instance counts as stopped. */
  onLaunch(instance: LaunchedInstance): void | Promise<void>;
  /** Stops the instance at once. */
  onTerminate(instance: LaunchedInstance): void | Promise<void>;
  /** Called with errors of callbacks and of the event bus. */
  onError(error: unknown): void;
  /** Called at the end of each lifecycle action. */
  onActionEnded?(instanceId: string, action: Readonly<LifecycleAction>): void;
  /** How often an event is delivered; once if absent. 0 loses it, as best effort may. */
  deliveries?(event: OutgoingEvent): number;
  timers?: Timers;
  behaviour?: Partial<Behaviour>;
};

export type AutoScaling = EmulatedService & {
  /** The present groups, read-only. */
  groups(): readonly Readonly<Group>[];
  /** Undefined once the instance has left its group. */
  facts(instanceId: string): InstanceFacts | undefined;
  /** The process of the instance ended by itself. Without effect on an instance that is stopped. */
  instanceStopped(instanceId: string): void;
  /** EC2 sends the interruption notice. @throws unless it is a Spot instance of a group */
  reclaim(instanceId: string): void;
  /** EC2 expects to reclaim it. @throws if it is no instance of a group */
  recommendRebalance(instanceId: string): void;
  /** Changes how the emulation behaves from now on. */
  behave(change: Partial<Behaviour>): void;
  /** Resolves when every event so far has been handed to the bus and every callback has returned. */
  settled(): Promise<void>;
  /** No timer fires any more. Calls are still answered. */
  stop(): void;
};

const USUAL: Behaviour = {
  timeScale: 1,
  launchSeconds: 0,
  terminateSeconds: 0,
  actionDelaySeconds: 0,
  hasCapacity: () => true,
};

/** Auto Scaling as one object: the state machine, driven by the clock and by calls of its real protocol. */
export function createAutoScaling(options: AutoScalingOptions): AutoScaling {
  const timers = options.timers ?? systemTimers;
  const behaviour = { ...USUAL, ...options.behaviour };
  const world: World = {
    home: options.home,
    behaviour,
    groups: new Map(),
    effects: [],
    now: timers.now(),
    newId: randomUUID,
    newInstanceId: () => `i-0${randomBytes(8).toString('hex')}`,
  };
  const work = backgroundWork(options.onError);
  let cancelTimer = () => {};
  let stopped = false;

  /** Runs a command on the world as it is now, then everything that follows from it. */
  function run<T>(command: () => T): T {
    world.now = Math.max(world.now, timers.now());
    try {
      return command();
    } finally {
      pump();
    }
  }

  function pump(): void {
    for (const effect of advance(world, timers.now())) perform(effect);
    cancelTimer();
    const next = stopped ? undefined : nextDeadline(world);
    cancelTimer = next === undefined ? () => {} : timers.at(next, pump);
  }

  function perform(effect: Effect): void {
    if (effect.kind === 'event') work.inOrder(() => deliver(options, effect.event));
    else if (effect.kind === 'action-ended') options.onActionEnded?.(effect.instance.id, effect.action);
    else if (effect.kind === 'terminate')
      work.aside(async () => options.onTerminate(toLaunchedInstance(effect.instance)));
    else work.aside(() => launch(effect.instance));
  }

  async function launch(instance: Readonly<Instance>): Promise<void> {
    try {
      await options.onLaunch(toLaunchedInstance(instance));
    } catch (error) {
      instanceStopped(instance.id);
      throw error;
    }
  }

  function instanceStopped(instanceId: string): void {
    const found = findInstance(world, instanceId);
    if (found === undefined || found.instance.stopped) return;
    run(() => endInstance(world, found.group, found.instance));
  }

  function onInstance(instanceId: string, command: (instance: Instance) => void): void {
    const found = findInstance(world, instanceId);
    if (found === undefined) throw instanceNotFound(instanceId);
    run(() => command(found.instance));
  }

  return {
    name: 'autoscaling',
    // Every operation: the emulator behind the gateway accepts any call of Auto Scaling without an effect.
    serves: () => true,
    async handle(request) {
      return answer(request, (operation, form) => run(() => operation(world, form)));
    },
    groups: () => [...world.groups.values()],
    facts: (instanceId) => instanceFacts(world, instanceId),
    instanceStopped,
    reclaim: (instanceId) => onInstance(instanceId, (instance) => reclaim(world, instance)),
    recommendRebalance: (instanceId) =>
      onInstance(instanceId, (instance) => recommendRebalance(world, instance)),
    behave: (change) => run(() => Object.assign(behaviour, change)),
    settled: work.settled,
    stop() {
      stopped = true;
      cancelTimer();
    },
  };
}

async function deliver(options: AutoScalingOptions, event: OutgoingEvent): Promise<void> {
  const times = options.deliveries?.(event) ?? 1;
  for (let count = 0; count < times; count += 1) await options.publish(event);
}

/** Background work: events one after the other, callbacks side by side, failures to `onError`. */
function backgroundWork(onError: (error: unknown) => void) {
  let events = Promise.resolve();
  const asides = new Set<Promise<void>>();
  return {
    inOrder(task: () => Promise<void>): void {
      events = events.then(task).catch(onError);
    },
    aside(task: () => Promise<void>): void {
      const running = task()
        .catch(onError)
        .finally(() => asides.delete(running));
      asides.add(running);
    },
    async settled(): Promise<void> {
      while (asides.size > 0) await Promise.all(asides);
      await events;
    },
  };
}

function toLaunchedInstance(instance: Readonly<Instance>): LaunchedInstance {
  return {
    id: instance.id,
    group: instance.group,
    zone: instance.zone,
    instanceType: instance.type,
    purchase: instance.purchase,
    launchedAt: new Date(instance.launchedAt),
  };
}

function instanceFacts(world: World, instanceId: string): InstanceFacts | undefined {
  const instance = findInstance(world, instanceId)?.instance;
  if (instance === undefined) return undefined;
  return {
    ...toLaunchedInstance(instance),
    ...world.home,
    targetLifecycleState: instance.state.startsWith('Terminat') ? 'Terminated' : 'InService',
    reclaimAt: instance.reclaim && new Date(instance.reclaim.goneAt),
    rebalanceNoticedAt:
      instance.rebalanceNoticedAt === undefined ? undefined : new Date(instance.rebalanceNoticedAt),
  };
}
