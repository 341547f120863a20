import type { GroupCapacity } from '../../functions/parameters/ports.ts';
import { watchStep } from '../../infra/runner/src/watch-step.ts';
import { type Report, reportSource } from '../../shared/fleet/report.ts';
import { scheduleSource } from '../../shared/runtime/envelope.ts';
import type { TimelineEvent } from '../timeline/events.ts';
import { AutoScaling, runnerHooks } from './cloud/auto-scaling.ts';
import { Bucket } from './cloud/bucket.ts';
import { Calls } from './cloud/calls.ts';
import { Ci, type JobEnd } from './cloud/ci.ts';
import { envelopeOf, Queue } from './cloud/queue.ts';
import { Faults } from './faults.ts';
import { Invariants, type Violation } from './invariants.ts';
import { HOUR, Kernel, MINUTE, Random, SECOND, withSeededRandom } from './kernel.ts';
import { scheduleLoad } from './load.ts';
import { clairvoyantHours, Measures } from './measures.ts';
import type { Options } from './options.ts';
import { playPeer } from './peers.ts';
import { Alarms, retryForMs as alarmsRetryForMs } from './product/alarms.ts';
import { type Deployment, groupsInMemory } from './product/functions.ts';
import { SimulatedInstance } from './product/instance.ts';
import { RETRY_FOR_MS as LIFECYCLE_RETRY_MS, lifecycleFunction, REPORTS_QUEUE } from './product/lifecycle.ts';
import { RETRY_FOR_MS as PARAMETERS_RETRY_MS, parametersFunction } from './product/parameters.ts';
import { registrationFunction, retryForMs } from './product/registration.ts';
import { RETRY_FOR_MS as SCALING_RETRY_MS, scalingFunction } from './product/scaling.ts';
import { warmingFunction } from './product/warming.ts';
import { TimelineRecorder } from './timeline.ts';
import { PREFIX, type WarmingGroup, type WorldGroup, worldOf } from './world.ts';

/** Monday. */
export const START = Date.parse('2026-11-23T00:00:00Z');

/** Changes of decisions and of the world, to see that an invariant notices them. */
export type Tampering = {
  decide?: typeof watchStep;
  /** What `scaling` asks for. */
  desired?: (group: { min: number; max: number; desired: number }, asked: number) => number;
  /** What `parameters` reads of the groups. */
  capacities?: (groups: GroupCapacity[]) => GroupCapacity[];
  world?: (parts: { kernel: Kernel; bucket: Bucket; autoScaling: AutoScaling }) => void;
  instance?: (instance: SimulatedInstance) => void;
};

export type Result = {
  options: Options;
  measures: Measures;
  calls: Calls;
  /** For the page of the timeline. */
  events: readonly TimelineEvent[];
  violations: readonly Violation[];
  violationCounts: ReadonlyMap<string, number>;
  summary: Summary;
};

/** The last line. */
export type Summary = ReturnType<typeof summaryOf>;

type Live = {
  instance: SimulatedInstance;
  group: WorldGroup | WarmingGroup;
  silentSince: number | undefined;
};

/** Time that a job may wait beside a group that can grow. */
const PATIENCE_MS = 15 * MINUTE;

/** Groups above which the events about capacities are left out: the schedule of `parameters` alone makes it write all the time. */
const LARGE_FLEET = 200;

/** Plays one world to its end. */
export function simulate(options: Options, tampering: Tampering = {}): Promise<Result> {
  return withSeededRandom(new Random(options.seed, 'Math.random'), () => play(options, tampering));
}

async function play(options: Options, tampering: Tampering): Promise<Result> {
  const kernel = new Kernel(START);
  const random = new Random(options.seed, 'product');
  const chance = new Random(options.seed, 'chance');
  const now = () => kernel.now;
  const clock = { now: () => new Date(kernel.now) };
  const faults = new Faults(options, START, now);
  const measures = new Measures();
  const invariants = new Invariants(now);
  const calls = new Calls();
  const world = worldOf(options);
  const groups = new Map(
    [...world.groups, ...world.warming].map((group) => [group.settings.autoScalingGroup, group] as const),
  );
  const timeline = new TimelineRecorder(world.groups.map(({ id }) => id));
  const nameById = new Map(world.groups.map(({ id, settings }) => [id, settings.autoScalingGroup]));
  const live = new Map<string, Live>();
  const pools = new Map<string, ReturnType<Ci['pool']>>();

  const bucket = new Bucket(now);
  bucket.isFailing = () => faults.isBucketFailing();
  bucket.onCall = () => void calls.count('s3', '', kernel.now);
  bucket.onWrite = (key, text) => {
    if (text.includes('SECRET-')) invariants.broken('no-credential', `${key} has a credential`);
  };
  const declared = [...world.groups, ...world.warming].map(({ id, settings }) => ({ id, settings }));

  const ci = new Ci({
    kernel,
    random: new Random(options.seed, 'ci'),
    calls,
    faults: {
      isDown: (provider) => faults.isDown(provider),
      downUntil: (provider) => faults.downUntil(provider),
      lies: faults.lies,
      forgets: faults.forgets,
    },
  });
  ci.onQueued = (job) => {
    if (job.kind === 'normal') measures.queued += 1;
    else measures.unmatched += 1;
  };
  ci.onStarted = (job) => {
    measures.started(job, kernel.now);
    if (job.starts > 1) invariants.broken('jobs-end', `job ${job.id} began ${job.starts} times`);
  };
  ci.onEnded = (job) => {
    measures.end(job);
    if (job.group !== undefined && job.endedAt !== undefined && job.instanceId !== undefined)
      timeline.add(job.group, {
        ...{
          event: 'job',
          id: String(job.id),
          name: `job ${job.id}`,
          group: job.group,
          runner: job.instanceId,
        },
        ...{ queuedAt: job.queuedAt, startedAt: job.startedAt, finishedAt: job.endedAt },
        result: job.end === 'done' ? 'succeeded' : 'killed',
      });
    if (job.end === 'killed')
      invariants.broken('no-job-killed', `job ${job.id} of ${job.group} on ${job.instanceId}`);
  };
  ci.onNameReused = (name) => invariants.broken('name-used-once', name);
  ci.onRemovedBusy = (listener) => live.get(listener.instanceId)?.instance.cancel(listener.name, 'killed');
  for (const group of world.groups) {
    const pool = ci.pool(group.pool, group.provider, group.installation);
    pools.set(group.pool, pool);
    for (const key of group.takes) pool.takers.set(key, [...(pool.takers.get(key) ?? []), group.id]);
    if (group.provider !== 'gha') pool.counts.set(group.key, { queued: 0, running: 0 });
  }

  const end = START + options.length + options.closing;
  if (options.policy !== 'hearth') {
    const peer = playPeer({ options, kernel, calls, ci, faults, measures, world });
    const { onQueued } = ci;
    ci.onQueued = (job) => {
      onQueued(job);
      peer.queued(job);
    };
    scheduleLoad(world.groups, pools, options, kernel, ci);
    if (options.outage > 0) kernel.at(faults.outage.to, () => ci.recovered(options.providers[0] ?? 'gha'));
    await kernel.run(end);
    for (const { purchase, launchedAt } of peer.live.values())
      measures.instanceMs[purchase] += kernel.now - launchedAt;
    return {
      ...{ options, measures, calls, events: timeline.events },
      ...{ violations: invariants.violations, violationCounts: invariants.counts },
      summary: summaryOf({ options, measures, calls, invariants, ci, live: peer.live, world, kernel }),
    };
  }

  const alarms = new Alarms(kernel, calls);
  const metrics = alarms.sink;
  alarms.onText = (text) => {
    if (text.includes('SECRET-')) invariants.broken('no-credential', 'an incident has a credential');
  };
  const autoScaling = new AutoScaling({
    kernel,
    random: new Random(options.seed, 'auto-scaling'),
    calls,
    listener: {
      launched: (instance) => launched(instance),
      stopped: (instance) => stopped(instance.id, endOf(instance)),
      hookEnded(instance, hook, cause) {
        if (cause === 'heartbeat-timeout' || cause === 'global-timeout') {
          measures.hooksTimedOut += 1;
          if (hook === `${PREFIX}-boot`) measures.launchesAbandoned += 1;
        }
        if (cause !== 'completed') return;
        const key = `${instance.id} ${hook}`;
        if (completed.has(key)) invariants.broken('one-completion', key);
        completed.add(key);
      },
      event: (event) => awsEvent(event.detailType, event.detail),
      changed: (id) => {
        const found = live.get(id)?.instance;
        if (!found) return;
        found.reclaimedAt ??= autoScaling.instance(id)?.reclaim?.goneAt;
        found.poll();
      },
    },
  });
  const completed = new Set<string>();
  autoScaling.hasCapacity = (zone) => !faults.isZoneLost(zone);
  autoScaling.throttled = () => faults.throttled();

  const deployment: Deployment = {
    ...{
      kernel,
      random,
      world,
      ci,
      autoScaling,
      bucket,
      calls,
      metrics,
      clock,
      groups: groupsInMemory(declared),
    },
    log(line) {
      if (line.includes('SECRET-')) invariants.broken('no-credential', line.slice(0, 100));
    },
  };
  const lifecycle = lifecycleFunction(deployment, (report) => published(report));
  const registration = registrationFunction(deployment, {
    isUp: () => faults.isRegistrationUp(),
    answersLost: faults.has('answers') ? 0.002 : 0,
    onIssue(id) {
      const state = autoScaling.instance(id)?.state ?? 'none';
      if (state.startsWith('Pending')) invariants.broken('registered-in-service', `${id} is ${state}`);
    },
  });
  const scaling = scalingFunction(deployment, (group, asked) => {
    const desired = tampering.desired?.(group, asked) ?? asked;
    if (desired < group.desired)
      invariants.broken('scaling-only-raises', `${group.name}: from ${group.desired} to ${desired}`);
    if (desired > group.max || desired < group.min)
      invariants.broken('desired-within-bounds', `${group.name}: ${desired} of at most ${group.max}`);
    const id = groups.get(group.name)?.id;
    if (id !== undefined) timeline.add(id, { event: 'capacity', at: kernel.now, group: id, desired });
    return desired;
  });

  const onDead = (queue: string, reason: string) =>
    invariants.broken('no-dead-letter', `${queue}: ${reason}`);
  const queueOf = (
    name: string,
    handle: ConstructorParameters<typeof Queue>[1]['handle'],
    retryFor: ConstructorParameters<typeof Queue>[1]['retryFor'],
    isUp: () => boolean = () => true,
  ) =>
    new Queue(name, {
      ...{ kernel, random: new Random(options.seed, name), handle, retryFor, isUp, onDead },
      delivery: () => faults.delivery(),
    });
  const reports = queueOf(REPORTS_QUEUE, lifecycle.handle, LIFECYCLE_RETRY_MS, () => faults.isLifecycleUp());
  const lifecycleInbox = queueOf('aw-lifecycle', lifecycle.handle, LIFECYCLE_RETRY_MS, () =>
    faults.isLifecycleUp(),
  );
  const registrationInbox = queueOf('aw-registration', registration.handle, retryForMs, () =>
    faults.isRegistrationUp(),
  );
  const scalingInbox = queueOf('aw-scaling', scaling.handle, SCALING_RETRY_MS, () => faults.isScalingUp());
  const warming = warmingFunction(deployment, (name, key) => {
    const detail = { bucket: { name }, object: { key } };
    warmingInbox.send(envelopeOf('aws.s3', 'Object Created', detail, kernel.now), undefined, true);
  });
  const warmingInbox = queueOf('aw-warming', warming.handle, warming.retryFor);
  const alarmsInbox = queueOf('aw-alarms', alarms.handle, alarmsRetryForMs);
  alarms.onChange = (detail) =>
    alarmsInbox.send(envelopeOf('aws.cloudwatch', 'CloudWatch Alarm State Change', detail, kernel.now));
  const parameters = parametersFunction(deployment, tampering.capacities);
  const parametersInbox = queueOf('aw-parameters', parameters.handle, PARAMETERS_RETRY_MS, parameters.isUp);
  const queues = [
    ...[reports, lifecycleInbox, registrationInbox, scalingInbox, warmingInbox, alarmsInbox, parametersInbox],
  ];

  function awsEvent(detailType: string, detail: Record<string, unknown>): void {
    const event = envelopeOf('aws.autoscaling', detailType, detail, kernel.now);
    noteOnTimeline(detailType, String(detail.EC2InstanceId ?? ''));
    if (detailType === 'EC2 Instance Terminate Successful') registrationInbox.send(event, undefined, true);
    if (detailType === 'EC2 Instance Launch Unsuccessful') lifecycleInbox.send(event, undefined, true);
    // Messages that wait share a pass, so that more of them change nothing. In a large fleet one pass follows the other in any case.
    const isLarge = world.groups.length > LARGE_FLEET;
    if (detailType.endsWith('Successful') && !isLarge && parametersInbox.open < 3)
      parametersInbox.send(event, undefined, true);
  }

  function noteOnTimeline(detailType: string, runner: string): void {
    const found = live.get(runner);
    if (!found) return;
    const common = { at: kernel.now, runner, group: found.group.id };
    if (detailType === 'EC2 Instance Launch Successful') {
      timeline.add(found.group.id, { event: 'in-service', ...common });
      const { restored } = found.instance;
      if (restored)
        timeline.add(found.group.id, {
          event: 'restore',
          ...common,
          outcome: restored.outcome,
          set: restored.set,
        });
    }
    if (detailType === 'EC2 Instance-terminate Lifecycle Action')
      timeline.add(found.group.id, { event: 'drain', ...common });
  }

  function published(report: Report): void {
    const event = envelopeOf(reportSource(PREFIX), report.report, report, kernel.now);
    if (JSON.stringify(report).includes('SECRET-')) invariants.broken('no-credential', report.report);
    warmingInbox.send(event, undefined, true);
  }

  function launched(launchedInstance: {
    id: string;
    purchase: 'spot' | 'on-demand';
    zone: string;
    group: string;
  }): void {
    const group = groups.get(launchedInstance.group);
    if (!group) return;
    const { id } = launchedInstance;
    const pool = pools.get(group.pool);
    if (!pool) return;
    measures.launched += 1;
    const { purchase, zone } = launchedInstance;
    timeline.add(group.id, { event: 'launch', at: kernel.now, runner: id, group: group.id, purchase, zone });
    const instance = new SimulatedInstance(
      launchedInstance,
      {
        ...{ kernel, random, ci, decide: tampering.decide ?? watchStep },
        group: {
          ...{ id: group.id, provider: group.settings.provider, pool },
          isWarming: !group.settings.takesJobs,
          idleTimeoutMinutes: options.idleTimeoutMinutes,
        },
        lifecycleState: () => autoScaling.instance(id)?.state,
        register: (request) => registration.call(request, id, group.settings.role),
        report: (body, at) => sendReport(id, group, body, at),
        restore: () => bucket.patiently(() => warming.restore(group.set)),
        warm: () =>
          kernel.after(chance.between(10 * MINUTE, 25 * MINUTE), () => {
            if (live.has(id)) kernel.background(bucket.patiently(() => warming.save(group.set)));
          }),
        mustUpdate: (version) =>
          faults.has('agents') && kernel.now >= faults.releaseAt && version === 'image',
        newestVersion: () => '2.999.0',
        faults: {
          bootFails: faults.has('boots') ? 0.002 : 0,
          placeFails: faults.has('boots') ? 0.0005 : 0,
        },
        onWork() {},
      },
      faults.has('clocks') ? chance.between(-2 * MINUTE, 2 * MINUTE) : 0,
    );
    tampering.instance?.(instance);
    live.set(id, { instance, group, silentSince: undefined });
    measures.peakInstances = Math.max(measures.peakInstances, live.size);
    if (launchedInstance.purchase === 'spot')
      // One in six is reclaimed within a day.
      kernel.after(-Math.log(1 - chance.next()) * 130 * HOUR, () => {
        const found = autoScaling.instance(id);
        if (found?.state === 'InService') spotNotice(id);
      });
    if (faults.has('restarts')) scheduleRestart(instance);
  }

  function scheduleRestart(instance: SimulatedInstance): void {
    kernel.after(-Math.log(1 - chance.next()) * 6 * HOUR, () => {
      if (instance.isGone) return;
      instance.restart();
      scheduleRestart(instance);
    });
  }

  function spotNotice(id: string): void {
    const found = autoScaling.instance(id);
    if (!found) return;
    const detail = { 'instance-id': id, 'instance-action': 'terminate' };
    lifecycleInbox.send(
      envelopeOf('aws.ec2', 'EC2 Spot Instance Interruption Warning', detail, kernel.now),
      undefined,
      true,
    );
    autoScaling.reclaim(found);
  }

  function sendReport(id: string, group: Live['group'], body: object, at: Date): void {
    reports.send(
      {
        ...{ ...body, group: group.id, autoScalingGroup: group.settings.autoScalingGroup, instanceId: id },
        at: at.toISOString(),
      },
      `AROA-${group.id}:${id}`,
    );
  }

  function endOf(instance: { stopped: boolean; reclaim: unknown; zone: string }): JobEnd {
    if (instance.reclaim !== undefined) return 'reclaimed';
    return faults.isZoneLost(instance.zone) ? 'crashed' : 'killed';
  }

  function stopped(id: string, end: JobEnd): void {
    const found = live.get(id);
    if (!found) return;
    live.delete(id);
    completed.delete(`${id} ${PREFIX}-boot`);
    const { instance } = found;
    timeline.add(found.group.id, { event: 'end', at: kernel.now, runner: id, group: found.group.id });
    if (instance.mostAgents > 1)
      invariants.broken('one-agent', `${id} ran ${instance.mostAgents} agents at once`);
    measures.turnovers += Math.max(0, instance.jobs - 1);
    if (instance.restored) measures.boots[instance.restored.outcome] += 1;
    if (instance.firstListenAt !== undefined) {
      measures.bootSeconds.push((instance.firstListenAt - instance.launchedAt) / SECOND);
    }
    instance.stop(end);
    measures.instanceEnded(instance, kernel.now);
  }

  tampering.world?.({ kernel, bucket, autoScaling });
  for (const group of world.groups) {
    autoScaling.add(
      {
        ...{
          name: group.settings.autoScalingGroup,
          min: group.settings.minRunners,
          max: group.settings.maxRunners,
        },
        ...{ purchase: group.purchase, warmingSet: group.set, roleId: `AROA-${group.id}` },
      },
      runnerHooks(PREFIX),
    );
  }
  for (const { settings, set, id } of world.warming) {
    autoScaling.add(
      {
        ...{ name: settings.autoScalingGroup, min: 0, max: settings.maxRunners, purchase: 'on-demand' },
        ...{ warmingSet: set, roleId: `AROA-${id}` },
      },
      runnerHooks(PREFIX),
    );
  }
  scheduleLoad(world.groups, pools, options, kernel, ci);
  every(MINUTE, 0, () => scalingInbox.send(schedule('Backlog Poll Due')));
  every(5 * MINUTE, 70 * SECOND, () => registrationInbox.send(schedule('Registration Sweep')));
  every(5 * MINUTE, 130 * SECOND, () => lifecycleInbox.send(schedule('Fleet Reconcile')));
  every(5 * MINUTE, 190 * SECOND, () => parametersInbox.send(schedule('Parameters Due')));
  for (const set of warming.sets) {
    // The first run is at once: nothing is warm yet.
    every(24 * HOUR, 3 * HOUR, () => warmingInbox.send(schedule('Warming Run Due', { set })));
    every(5 * MINUTE, 10 * SECOND, () => warmingInbox.send(schedule('Warming Check', { set })));
  }
  every(MINUTE, MINUTE, () => alarms.evaluate());
  every(10 * MINUTE, 10 * MINUTE, () => kernel.background(bucket.patiently(check)));
  every(HOUR, HOUR, sample);
  if (faults.has('snapshot'))
    kernel.at(faults.corruptAt, () => bucket.patiently(() => warming.corruptCurrent(warming.sets[0] ?? '')));
  if (options.outage > 0) kernel.at(faults.outage.to, () => ci.recovered(options.providers[0] ?? 'gha'));
  if (faults.has('zone'))
    kernel.at(faults.zone.from, () => {
      for (const { instance } of [...autoScaling.instances()])
        if (faults.isZoneLost(instance.zone)) autoScaling.crash(instance);
    });
  if (faults.has('deployment'))
    kernel.at(faults.deployAt, () => {
      for (const each of [lifecycle, registration, scaling]) each.restart();
      autoScaling.deploy('2');
    });

  if (faults.has('operator'))
    kernel.at(faults.scaleInAt, () => {
      for (const { group } of [...autoScaling.entries.values()]) {
        const lower = Math.floor(group.desired * 0.8);
        if (lower >= 1) autoScaling.setByHand(group.name, lower);
      }
    });

  function schedule(detailType: string, detail: object = {}) {
    return envelopeOf(scheduleSource(PREFIX), detailType, detail, kernel.now);
  }

  const canGrow = (id: string) => {
    const group = autoScaling.entries.get(nameById.get(id) ?? '')?.group;
    return group !== undefined && group.desired < group.max;
  };
  /** Groups below their maximum at the last check. */
  let growable: ReadonlySet<string> = new Set();

  /** Rules about what lasts. */
  async function check(): Promise<void> {
    for (const set of warming.sets) {
      const problem = await warming.pointerProblem(set);
      if (problem !== undefined) invariants.broken('pointer-readable', `${set}: ${problem}`);
      const run = await warming.run(set);
      const late = run?.state === 'running' ? kernel.now - Date.parse(run.deadline) : 0;
      if (late > 10 * MINUTE)
        invariants.broken('no-run-without-end', `${set} runs ${late / MINUTE} min past its deadline`);
    }
    const { id: stale, milliseconds } = parameters.stalest();
    if (milliseconds > HOUR)
      invariants.broken(
        'tree-follows',
        `${stale}: its capacity has been wrong for ${Math.round(milliseconds / MINUTE)} min`,
      );
    // A group that an operator has lowered in this moment grows with the next poll.
    const growableBefore = growable;
    growable = new Set(world.groups.flatMap(({ id }) => (canGrow(id) ? [id] : [])));
    for (const { job, takers } of ci.oldest()) {
      const waited = kernel.now - job.queuedAt;
      if (waited < PATIENCE_MS || !faults.isCalm(job.pool.provider, 2 * PATIENCE_MS)) continue;
      const growing = takers.find((id) => growableBefore.has(id) && canGrow(id));
      if (growing !== undefined)
        invariants.broken(
          'grows-with-backlog',
          `job ${job.id} waits for ${Math.round(waited / MINUTE)} min beside ${growing}`,
        );
    }
    for (const [id, each] of live) {
      const { settings } = each.group;
      const isIn = autoScaling.instance(id)?.state === 'InService' && settings.takesJobs;
      const canAsk = faults.isRegistrationUp() && !faults.isDown(settings.provider);
      if (!isIn || !canAsk || each.instance.hasAgent) each.silentSince = undefined;
      else each.silentSince ??= kernel.now;
      if (each.silentSince === undefined || kernel.now - each.silentSince < HOUR) continue;
      invariants.broken('runner-has-agent', `${id} of ${each.group.id}`);
      each.silentSince = undefined;
    }
  }

  function every(interval: number, first: number, run: () => void): void {
    const tick = () => {
      run();
      if (kernel.now + interval <= end) kernel.after(interval, tick);
    };
    kernel.after(first, tick);
  }

  function sample(): void {
    let desired = 0;
    for (const { group } of autoScaling.entries.values()) desired += group.desired;
    let running = 0;
    for (const { instance } of live.values()) if (instance.isBusy) running += 1;
    measures.peakDesired = Math.max(measures.peakDesired, desired);
    measures.peakRunning = Math.max(measures.peakRunning, running);
    measures.perHour.push({ queued: ci.backlog().queued, running, instances: live.size, desired });
  }

  timeline.note({
    ...{
      event: 'timeline',
      version: 1,
      title: `A simulated fleet, seed ${options.seed}`,
      source: 'npm run simulate',
    },
    ...{ from: START, to: START + options.length },
  });
  for (const { at, text } of faults.list()) timeline.note({ event: 'note', at, level: 'warning', text });
  await kernel.run(end);
  for (const { name, kind, severity, openedAt, resolvedAt } of alarms.incidents)
    timeline.note({
      ...{ event: 'incident', id: `${name} ${openedAt}`, summary: kind, openedAt },
      severity: severity as 'error',
      ...(resolvedAt !== undefined && { resolvedAt }),
    });

  for (const { instance } of live.values()) {
    instance.account();
    measures.instanceEnded(instance, kernel.now);
  }
  const left = ci.backlog().queued;
  const lost = measures.queued - measures.ended + measures.expired;
  if (left + lost > 0)
    invariants.broken('jobs-end', `${left} jobs wait at the end, ${lost} have not run to their end`);
  for (const [api, count] of calls.above) invariants.broken('limits-kept', `${api}: ${count} calls above`);
  for (const [folder, size] of bucket.largest)
    if (size > 900_000) invariants.broken('records-fit', `${folder}: ${size} characters`);
  return {
    ...{ options, measures, calls, events: timeline.events },
    ...{ violations: invariants.violations, violationCounts: invariants.counts },
    summary: summaryOf({
      ...{ options, measures, calls, invariants, ci, live, world, kernel },
      own: { registration, queues, bucket, alarms, faults, parameters },
    }),
  };
}

type Parts = {
  options: Options;
  measures: Measures;
  calls: Calls;
  invariants: Invariants;
  ci: Ci;
  live: ReadonlyMap<string, unknown>;
  world: ReturnType<typeof worldOf>;
  kernel: Kernel;
  /** What only Hearth has. */
  own?: {
    registration: ReturnType<typeof registrationFunction>;
    queues: readonly Queue[];
    bucket: Bucket;
    alarms: Alarms;
    faults: Faults;
    parameters: ReturnType<typeof parametersFunction>;
  };
};

/** In an outage instances wait for hours: what a boot takes is the median. */
const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;

const rounded = (value: number, digits = 1) => Number(value.toFixed(digits));

function summaryOf({ options, measures, calls, invariants, ci, live, world, kernel, own }: Parts) {
  const bootSeconds = median(measures.bootSeconds);
  const maxima = new Map(world.groups.map(({ id, settings }) => [id, settings.maxRunners]));
  const optimum = clairvoyantHours(measures.work, maxima, bootSeconds, 6);
  const leftBehind = [...ci.pools.values()].flatMap((pool) =>
    [...pool.registrations.values()].filter(({ name }) => !live.has(name.slice(0, name.lastIndexOf('-')))),
  ).length;
  const wait = measures.wait();
  const boots = measures.boots;
  const restored = boots.restored + boots.previous;
  return {
    ...{ policy: options.policy, seed: options.seed, groups: options.groups, runners: options.runners },
    hours: rounded(options.length / HOUR),
    jobs: {
      ...{
        queued: measures.queued,
        done: measures.done,
        killed: measures.killed,
        reclaimed: measures.reclaimed,
      },
      ...{ crashed: measures.crashed, expired: measures.expired, unmatched: measures.unmatched },
      lost: measures.queued - measures.ended,
    },
    waitSeconds: {
      ...{ p50: rounded(wait.p50), p90: rounded(wait.p90), p99: rounded(wait.p99) },
      ...{ longest: rounded(wait.longest), mean: rounded(wait.mean) },
    },
    instances: {
      ...{
        launched: measures.launched,
        hours: rounded(measures.instanceHours()),
        optimumHours: rounded(optimum),
      },
      ratio: rounded(measures.instanceHours() / optimum, 3),
      ...(own && { byState: hoursByState(measures), withoutJob: withoutJob(measures) }),
      ...{ bootSeconds: rounded(bootSeconds), turnovers: measures.turnovers, peak: measures.peakInstances },
      ...{ peakDesired: measures.peakDesired, peakRunning: measures.peakRunning },
    },
    dollarsPerDay: rounded(measures.dollars() / (options.length / (24 * HOUR)), 0),
    warmShare: rounded(restored / Math.max(1, restored + boots.cold), 4),
    hooksTimedOut: measures.hooksTimedOut,
    registrationsLeftBehind: leftBehind,
    calls: Object.fromEntries(
      [...calls.total].map(([api, total]) => [
        api,
        {
          total,
          ...{ perSecond: calls.peakPerSecond.get(api), inWindow: calls.peakInWindow.get(api) },
          above: calls.above.get(api) ?? 0,
        },
      ]),
    ),
    ...(own && ownSummary(own)),
    violations: Object.fromEntries(invariants.counts),
    events: kernel.steps,
  };
}

const hoursByState = ({ stateMs }: Measures) =>
  Object.fromEntries(
    Object.entries(stateMs).map(([state, milliseconds]) => [state, rounded(milliseconds / HOUR)]),
  );

const withoutJob = ({ withoutJob: { count, milliseconds } }: Measures) => ({
  count,
  hours: rounded(milliseconds / HOUR),
});

function ownSummary({ registration, queues, bucket, alarms, faults, parameters }: NonNullable<Parts['own']>) {
  const { incidents } = alarms;
  return {
    incidents: {
      paged: incidents.length,
      real: incidents.filter(({ openedAt }) => faults.explains(openedAt)).length,
      byKind: Object.fromEntries(
        [...Map.groupBy(incidents, ({ kind }) => kind)].map(([kind, same]) => [kind, same.length]),
      ),
    },
    registration: registration.facts,
    parameters: parameters.facts,
    queues: Object.fromEntries(
      queues.map(({ name, outcomes, dead }) => [
        name,
        { ...Object.fromEntries(outcomes), deadLetters: dead.length },
      ]),
    ),
    largestRecords: Object.fromEntries([...bucket.largest].filter(([, size]) => size > 20_000)),
  };
}
