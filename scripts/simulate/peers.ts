import type { Instance } from '../local/autoscaling/core/model.ts';
import { AutoScaling } from './cloud/auto-scaling.ts';
import type { Calls } from './cloud/calls.ts';
import type { Ci, Job, JobEnd, Listener, Pool } from './cloud/ci.ts';
import type { Faults } from './faults.ts';
import { HOUR, type Kernel, MINUTE, Random, SECOND } from './kernel.ts';
import type { Measures } from './measures.ts';
import type { Options } from './options.ts';
import type { World, WorldGroup } from './world.ts';

/**
 * Two policies of other products in the same world, written anew from their public descriptions, with their documented defaults:
 *
 * - `webhook`, as terraform-aws-github-runner: each event about a queued job launches one instance after a delay, if the job is still queued and
 *   the group is below its maximum; every five minutes a scan removes the runners that are older than five minutes and not busy by the
 *   provider's API.
 * - `scheduled`, as buildkite-agent-scaler with scale-in by the group: every minute the capacity becomes queued plus running jobs; a lower one
 *   is set after a cooldown, and the group chooses the instances that go. They have no terminate hook.
 *
 * Runners of both register themselves, stay, and start cold.
 */

/** Delay of the queue of `webhook`, its scan, and the least age of a runner that the scan removes. */
const EVENT_DELAY_MS = 30 * SECOND;
const SCAN_MS = 5 * MINUTE;
const LEAST_AGE_MS = 5 * MINUTE;

/** Wait after a call that failed. */
const AGAIN_MS = 30 * SECOND;

/** Tries of an event, after which it is dropped. */
const MOST_TRIES = 10;

/** Cooldown of `scheduled` before a scale-in. */
const COOLDOWN_MS = 5 * MINUTE;

/** Time from the decision to terminate an instance until its processes end. */
const SHUTDOWN_MS = 5 * SECOND;

type Parts = {
  options: Options;
  kernel: Kernel;
  calls: Calls;
  ci: Ci;
  faults: Faults;
  measures: Measures;
  world: World;
};

/** A runner of another product. */
type Runner = {
  id: string;
  group: WorldGroup;
  pool: Pool;
  purchase: 'spot' | 'on-demand';
  launchedAt: number;
  listener: Listener | undefined;
  job: Job | undefined;
  isGone: boolean;
  jobs: number;
  listens: number;
};

export type Peer = {
  live: ReadonlyMap<string, Runner>;
  autoScaling: AutoScaling | undefined;
  /** An event that a job is queued, with the faults of delivery. */
  queued(job: Job): void;
};

export function playPeer(parts: Parts): Peer {
  const { options, kernel, calls, ci, faults, measures, world } = parts;
  const random = new Random(options.seed, 'peer');
  const live = new Map<string, Runner>();
  const groups = new Map(world.groups.map((group) => [group.settings.autoScalingGroup, group]));
  const byKey = new Map<string, WorldGroup[]>();
  for (const group of world.groups) {
    for (const key of group.takes) {
      const known = byKey.get(`${group.pool} ${key}`);
      if (known) known.push(group);
      else byKey.set(`${group.pool} ${key}`, [group]);
    }
  }
  const perGroup = new Map<string, number>();
  let ids = 0;
  let onReclaimed = (_id: string) => {};

  /** A call of the provider. Without an answer nothing is decided. */
  function call(group: WorldGroup, count = 1): boolean {
    if (faults.isDown(group.provider)) return false;
    const { now } = kernel;
    const scope = group.installation ?? group.pool;
    if (group.provider === 'gha') {
      calls.count('github write points', scope, now, count);
      return calls.count('github core', scope, now, count) === 0;
    }
    return calls.count(group.provider === 'bk' ? 'buildkite metrics' : 'circleci', scope, now) === 0;
  }

  function launch(id: string, group: WorldGroup, purchase: 'spot' | 'on-demand'): void {
    const pool = ci.pool(group.pool, group.provider, group.installation);
    const runner: Runner = {
      ...{ id, group, pool, purchase, launchedAt: kernel.now, listener: undefined, job: undefined },
      ...{ isGone: false, jobs: 0, listens: 0 },
    };
    live.set(id, runner);
    perGroup.set(group.id, (perGroup.get(group.id) ?? 0) + 1);
    measures.launched += 1;
    measures.peakInstances = Math.max(measures.peakInstances, live.size);
    // The same times as those of Hearth's instances, without a restore.
    kernel.after(random.between(26 * SECOND, 48 * SECOND) + random.lognormal(6, 0.4) * SECOND, () =>
      register(runner),
    );
    if (purchase === 'spot')
      kernel.after(-Math.log(1 - random.next()) * 130 * HOUR + 2 * MINUTE, () => {
        stop(runner, 'reclaimed');
        onReclaimed(id);
      });
  }

  function register(runner: Runner): void {
    if (runner.isGone) return;
    if (!call(runner.group, 2)) {
      kernel.after(AGAIN_MS, () => register(runner));
      return;
    }
    measures.bootSeconds.push((kernel.now - runner.launchedAt) / SECOND);
    measures.boots.cold += 1;
    listen(runner);
  }

  function listen(runner: Runner): void {
    if (runner.isGone) return;
    runner.listens += 1;
    const name = `${runner.id}-${runner.listens}`;
    ci.enroll(runner.pool, runner.group.id, name);
    const listener: Listener = {
      ...{ name, group: runner.group.id, instanceId: runner.id, state: 'idle', isAssignable: true },
      ...{ idleSince: kernel.now, seenBusyFrom: 0, registration: undefined },
      onJob: (job) => work(runner, listener, job),
      // A runner that stays registers again.
      onForgotten: () => kernel.after(5 * SECOND, () => register(runner)),
    };
    runner.listener = listener;
    ci.listen(listener, runner.pool);
  }

  function work(runner: Runner, listener: Listener, job: Job): void {
    runner.job = job;
    runner.jobs += 1;
    kernel.after(job.seconds * SECOND, () => {
      if (runner.isGone || runner.job !== job) return;
      runner.job = undefined;
      ci.ended(job, listener, 'done');
      kernel.after(2 * SECOND, () => listen(runner));
    });
  }

  function stop(runner: Runner, end: JobEnd): void {
    if (runner.isGone) return;
    runner.isGone = true;
    live.delete(runner.id);
    perGroup.set(runner.group.id, (perGroup.get(runner.group.id) ?? 1) - 1);
    measures.instanceMs[runner.purchase] += kernel.now - runner.launchedAt;
    measures.turnovers += Math.max(0, runner.jobs - 1);
    const { job, listener } = runner;
    if (job && listener) ci.ended(job, listener, end);
    else if (listener) ci.left(listener);
  }

  const end = kernel.now + options.length + options.closing;
  if (options.policy === 'scheduled') return scheduled();
  if (faults.has('zone'))
    kernel.at(faults.zone.from, () => {
      for (const runner of [...live.values()]) if (random.chance(1 / 3)) stop(runner, 'crashed');
    });
  scan();
  return { live, autoScaling: undefined, queued: (job) => event(job) };

  function event(job: Job): void {
    const { lost, doubled } = faults.delivery();
    if (random.chance(lost)) return;
    const copies = random.chance(doubled) ? 2 : 1;
    for (let copy = 0; copy < copies; copy += 1) kernel.after(EVENT_DELAY_MS, () => scaleUp(job, 1));
  }

  function scaleUp(job: Job, tries: number): void {
    if (!faults.isScalingUp()) {
      kernel.after(AGAIN_MS, () => scaleUp(job, tries));
      return;
    }
    const fitting = byKey.get(`${job.pool.name} ${job.key}`) ?? [];
    const group = fitting.find(({ id, settings }) => (perGroup.get(id) ?? 0) < settings.maxRunners);
    if (!fitting[0] || job.startedAt !== undefined || job.end !== undefined) return;
    const again = () => {
      if (tries < MOST_TRIES) kernel.after(AGAIN_MS, () => scaleUp(job, tries + 1));
    };
    // The check that the job is still queued. Above the maximum the event is dropped.
    if (!call(fitting[0])) {
      again();
      return;
    }
    if (!group) return;
    if (faults.isZoneLost('a') && random.chance(1 / 3)) again();
    else launch(`i-${(++ids).toString(16).padStart(17, '0')}`, group, group.purchase);
  }

  function scan(): void {
    if (kernel.now < end) kernel.after(SCAN_MS, scan);
    if (!faults.isScalingUp()) return;
    for (const runner of [...live.values()]) {
      if (kernel.now - runner.launchedAt < LEAST_AGE_MS || !runner.listener) continue;
      // One call per runner, and one to remove it.
      if (!call(runner.group) || ci.isSeenBusy(runner.listener)) continue;
      if (!call(runner.group)) continue;
      kernel.after(SHUTDOWN_MS, () => stop(runner, 'killed'));
    }
  }

  function scheduled(): Peer {
    const runners = live;
    const lastScaleOut = new Map<string, number>();
    const autoScaling = new AutoScaling({
      ...{ kernel, random: new Random(options.seed, 'peer-auto-scaling'), calls },
      listener: {
        launched(instance: Readonly<Instance>) {
          const group = groups.get(instance.group);
          if (group) launch(instance.id, group, instance.purchase);
        },
        stopped(instance) {
          const runner = runners.get(instance.id);
          if (runner)
            stop(
              runner,
              instance.reclaim ? 'reclaimed' : faults.isZoneLost(instance.zone) ? 'crashed' : 'killed',
            );
        },
        hookEnded() {},
        event() {},
        changed() {},
      },
    });
    autoScaling.hasCapacity = (zone) => !faults.isZoneLost(zone);
    onReclaimed = (id) => {
      const instance = autoScaling.instance(id);
      if (instance) autoScaling.crash(instance);
    };
    if (faults.has('zone'))
      kernel.at(faults.zone.from, () => {
        for (const { instance } of [...autoScaling.instances()])
          if (faults.isZoneLost(instance.zone)) autoScaling.crash(instance);
      });
    for (const { settings, purchase, set } of world.groups)
      autoScaling.add(
        {
          ...{
            name: settings.autoScalingGroup,
            min: settings.minRunners,
            max: settings.maxRunners,
            purchase,
          },
          ...{ warmingSet: set, roleId: 'none' },
        },
        [],
      );
    const tick = () => {
      if (kernel.now < end) kernel.after(MINUTE, tick);
      if (!faults.isScalingUp()) return;
      const asked = new Set<string>();
      for (const group of world.groups) {
        // One call per cluster or class; GitHub's lists are as long as Hearth's.
        const isFirst = !asked.has(group.pool);
        asked.add(group.pool);
        if (faults.isDown(group.provider)) continue;
        const pool = ci.pools.get(group.pool);
        if (!pool) continue;
        if (isFirst) call(group, group.provider === 'gha' ? 2 + Math.min(30, pool.runs.size) : 1);
        const { queued = 0, running = 0 } = pool.counts.get(group.key) ?? {};
        const { name, max, desired } = autoScaling.describeGroup(group.settings.autoScalingGroup) ?? {};
        if (name === undefined || max === undefined || desired === undefined) continue;
        const wanted = Math.min(max, queued + running);
        if (wanted > desired) {
          lastScaleOut.set(name, kernel.now);
          autoScaling.setDesired(name, wanted);
        } else if (wanted < desired && kernel.now - (lastScaleOut.get(name) ?? 0) >= COOLDOWN_MS) {
          autoScaling.setDesired(name, wanted);
        }
      }
    };
    kernel.after(MINUTE, tick);
    return { live: runners, autoScaling, queued() {} };
  }
}
