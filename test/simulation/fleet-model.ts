import { terminateIdle } from '../../functions/lifecycle/terminate.ts';
import { fakeScaling } from '../../functions/scaling/testing/fake-scaling.ts';
import type { AgentStatus } from '../../infra/runner/src/agents/driver.ts';
import { newState, type RunnerState } from '../../infra/runner/src/state.ts';
import { type Action, type LastReportedAt, watchStep } from '../../infra/runner/src/watch-step.ts';
import { completeAction } from '../../scripts/local/autoscaling/core/actions.ts';
import { advance } from '../../scripts/local/autoscaling/core/advance.ts';
import { AutoScalingError } from '../../scripts/local/autoscaling/core/errors.ts';
import {
  createGroup,
  requireGroup,
  setDesiredCapacity,
  terminateInstance,
} from '../../scripts/local/autoscaling/core/groups.ts';
import { counts, findInstance, type Hook, type World } from '../../scripts/local/autoscaling/core/model.ts';
import type { JobList } from '../../shared/ci/backlog.ts';
import { ProviderError } from '../../shared/ci/provider.ts';

/** A job of the scenario, in seconds. */
export type FleetJob = { at: number; seconds: number };

/** A group on GitHub and its queue. Times are seconds since the start. */
export type FleetScenario = {
  seconds: number;
  min?: number;
  max: number;
  jobs: readonly FleetJob[];
  bootSeconds?: number;
  idleTimeoutSeconds?: number;
  factor?: number;
  /** Whether the function `scaling` runs in the minute of this second. */
  scaling?: (second: number) => boolean;
  /** Whether an instance gets a registration in this second. `order` counts the instances from 0. */
  registration?: (second: number, order: number) => boolean;
  /** Whether the provider gives jobs to runners. */
  assignment?: (second: number) => boolean;
  /** Whether EC2 has capacity. */
  capacity?: (second: number) => boolean;
  /** What GitHub answers to a poll, instead of the truth. */
  answer?: (second: number, truth: JobList) => JobList | Error;
  /** How many instances are terminated in this second without a decrement, as for balance between zones. */
  terminations?: (second: number) => number;
  /** How far somebody lowers the desired capacity in this second. */
  scaleIn?: (second: number) => number;
};

type Job = FleetJob & { id: string; startedAt?: number; endedAt?: number; starts: number };

const GROUP = 'aw-gha-default';
const GROUP_ID = 'gha/default';

/** Times of the product and of the provider, in seconds. */
const POLL = 60;
const REGISTRATION_GAP = 10;
const FIRST_WAIT = 5;
const LONGEST_WAIT = 60;
const RELEASE = 70;
const ASSIGNMENT = 1;

/** Most answers of a provider that is down. */
export const DOWN = new ProviderError('unavailable', 'GitHub answered 503', { status: 503 });

/**
 * Plays a group second by second: the real function `scaling` with its polls, the real decisions of an instance about idleness and
 * drains, the real decision of `lifecycle` about idle instances, and the model of Auto Scaling of the local cloud. The provider
 * assigns the oldest job to an instance with an idle registration; each job needs a registration of its own.
 */
export async function runFleet(scenario: FleetScenario) {
  const { min = 0, max, bootSeconds = 90, idleTimeoutSeconds = 600 } = scenario;
  const fake = fakeScaling();
  const start = fake.now();
  const jobs: Job[] = scenario.jobs.map((job, index) => ({ ...job, id: `job-${index}`, starts: 0 }));
  let now = 0;
  let ids = 0;
  const world: World = {
    home: { region: 'us-east-1', account: '123456789012' },
    behaviour: {
      timeScale: 1,
      launchSeconds: 1,
      terminateSeconds: 1,
      actionDelaySeconds: 0,
      hasCapacity: () => scenario.capacity?.(now) ?? true,
    },
    groups: new Map(),
    effects: [],
    now: start,
    newId: () => `${++ids}`.padStart(36, '0'),
    newInstanceId: () => `i-${`${++ids}`.padStart(17, '0')}`,
  };
  createGroup(world, {
    name: GROUP,
    min,
    max,
    desired: min,
    zones: ['us-east-1a', 'us-east-1b'],
    subnets: [],
    tags: [],
    hooks: [hook('aw-boot', 'LAUNCHING', 300), hook('aw-drain', 'TERMINATING', 1_800)],
    instanceType: undefined,
    purchase: undefined,
    launchTemplate: undefined,
    defaultCooldown: undefined,
    healthCheckType: undefined,
    healthCheckGracePeriod: undefined,
    newInstancesProtected: undefined,
    capacityRebalance: undefined,
  });
  const group = requireGroup(world, GROUP);
  fake.declare(GROUP_ID, {
    minRunners: min,
    maxRunners: max,
    ...(scenario.factor !== undefined && { scaleOutFactor: scenario.factor }),
  });

  const runners = new Map<string, RunnerModel>();
  const facts = {
    launches: 0,
    killed: 0,
    decrements: 0,
    instanceSeconds: 0,
    mostPresent: 0,
    /** Changes of the desired capacity by `scaling`, with the jobs that waited and ran then. */
    raises: [] as { at: number; to: number; backlog: number }[],
    polls: 0,
    held: 0,
    unmatched: 0,
  };

  const running = () =>
    [...runners.values()].flatMap(({ job, id }) => (job ? [{ id: job.id, instanceId: id }] : []));
  const waiting = () => jobs.filter((job) => job.at <= now && job.startedAt === undefined);
  const backlog = () => waiting().length + running().length;

  const scaled = {
    list: async () => new Map([[GROUP, view()]]),
    describe: async () => view(),
    async setDesired(_: string, desired: number) {
      setDesiredCapacity(world, GROUP, desired);
      facts.raises.push({ at: now, to: desired, backlog: backlog() });
      apply();
    },
    async failedLaunch(_: string, since: Date) {
      const launch = group.activities.find(({ description }) => description.startsWith('Launching '));
      const isFailed = launch?.status === 'Failed' && (launch.endTime ?? 0) >= since.getTime();
      return isFailed ? launch.statusMessage : undefined;
    },
  };
  fake.deps.autoScaling = scaled;

  function view() {
    return {
      name: GROUP,
      max: group.max,
      desired: group.desired,
      instances: group.instances.map(({ id, state }) => ({ instanceId: id, lifecycleState: state })),
    };
  }

  /** What follows from a change of the group: instances start and stop. */
  function apply(): void {
    for (const effect of advance(world, world.now)) {
      if (effect.kind === 'launch') {
        const { id } = effect.instance;
        runners.set(id, new RunnerModel(id, facts.launches, now));
        facts.launches += 1;
      }
      if (effect.kind === 'terminate') {
        if (runners.get(effect.instance.id)?.job) facts.killed += 1;
        runners.delete(effect.instance.id);
      }
    }
  }

  /** The part of Auto Scaling that `lifecycle` uses for an idle instance. */
  const lifecycle = {
    describeGroup: async () => ({ min: group.min, desired: group.desired, tags: new Map<string, string>() }),
    async terminate(instanceId: string, decrement: boolean) {
      try {
        terminateInstance(world, instanceId, decrement);
      } catch (error) {
        if (!(error instanceof AutoScalingError)) throw error;
        return { applied: false as const, refusal: error.message };
      }
      facts.decrements += decrement ? 1 : 0;
      apply();
      return { applied: true as const };
    },
  } as unknown as Parameters<typeof terminateIdle>[2];

  /** The oldest job goes to the runner that has waited for the longest. */
  function assign(): void {
    const free = [...runners.values()]
      .filter((runner) => runner.isListening && now - runner.listeningSince >= ASSIGNMENT)
      .sort((a, b) => a.listeningSince - b.listeningSince);
    for (const job of waiting()) {
      const runner = free.shift();
      if (!runner) return;
      job.startedAt = now;
      job.starts += 1;
      runner.job = job;
    }
  }

  async function step(runner: RunnerModel): Promise<void> {
    const instance = findInstance(world, runner.id)?.instance;
    if (!instance) return;
    if (instance.state === 'Pending:Wait' && now - runner.launchedAt >= bootSeconds) {
      completeAction(world, reference('aw-boot', runner.id), 'CONTINUE');
      apply();
    }
    if (instance.state.startsWith('Pending')) return;
    if (runner.job && now - (runner.job.startedAt ?? 0) >= runner.job.seconds) {
      runner.job.endedAt = now;
      runner.endJob(now);
    }
    const isTerminating = instance.state.startsWith('Terminat');
    for (const action of runner.decide(now, isTerminating ? 'Terminated' : 'InService', idleTimeoutSeconds)) {
      if (action.do === 'begin-drain') runner.beginDrain(now);
      if (action.do === 'start-agent' && !isTerminating && now >= runner.notBefore) {
        const isIssued = scenario.registration?.(now, runner.order) ?? true;
        runner.request(now, isIssued);
        if (isIssued) {
          const record = {
            version: 1,
            n: runner.issued,
            at: new Date(world.now).toISOString(),
            id: runner.issued,
          };
          fake.store.put(`registrations/${runner.id}.json`, JSON.stringify(record));
        }
      }
      if (action.do === 'report-idle') {
        runner.last.idle = now * 1000;
        await terminateIdle({ instanceId: runner.id, autoScalingGroup: GROUP }, instance.state, lifecycle);
      }
      if (action.do === 'report-drained') {
        runner.last.drained = now * 1000;
        if (instance.state !== 'Terminating:Wait') continue;
        completeAction(world, reference('aw-drain', runner.id), 'CONTINUE');
        apply();
      }
    }
  }

  async function poll(): Promise<void> {
    const truth: JobList = {
      queued: waiting().map(({ id, at }) => ({
        id,
        labels: ['linux'],
        workflow: [],
        since: start + at * 1000,
      })),
      running: running(),
      isComplete: true,
    };
    fake.jobs.set('monorepo', scenario.answer?.(now, truth) ?? truth);
    const metrics = fake.metrics.length;
    const outcome = await fake.poll();
    facts.polls += 1;
    facts.held += Object.keys((outcome.detail?.held as object | undefined) ?? {}).length;
    facts.unmatched += fake.metrics.slice(metrics).filter((metric) => metric.startsWith('Unmatched')).length;
  }

  for (; now < scenario.seconds; now += 1) {
    fake.pass(now === 0 ? 0 : 1);
    world.now = start + now * 1000;
    apply();
    for (let count = scenario.terminations?.(now) ?? 0; count > 0; count -= 1) {
      const chosen = group.instances.find(counts);
      if (chosen) terminateInstance(world, chosen.id, false);
      apply();
    }
    const lowered = scenario.scaleIn?.(now) ?? 0;
    if (lowered > 0) setDesiredCapacity(world, GROUP, group.desired - lowered);
    apply();
    if (scenario.assignment?.(now) ?? true) assign();
    for (const runner of [...runners.values()]) await step(runner);
    if (now % POLL === 0 && (scenario.scaling?.(now) ?? true)) await poll();
    const present = group.instances.filter(counts).length;
    facts.mostPresent = Math.max(facts.mostPresent, present);
    facts.instanceSeconds += group.instances.length;
  }
  const waits = jobs
    .map(({ at, startedAt = Number.POSITIVE_INFINITY }) => startedAt - at)
    .sort((a, b) => a - b);
  return {
    ...facts,
    desired: group.desired,
    present: group.instances.length,
    jobs,
    /** Jobs that did not run exactly once to their end. */
    unfinished: jobs.filter(({ starts, endedAt }) => starts !== 1 || endedAt === undefined),
    longestWait: waits.at(-1) ?? 0,
    medianWait: waits[waits.length >> 1] ?? 0,
  };
}

/** One instance with its agent. */
class RunnerModel {
  job: Job | undefined;
  issued = 0;
  notBefore = 0;
  listeningSince = Number.POSITIVE_INFINITY;
  readonly last: LastReportedAt = {
    ready: 0,
    drained: Number.NEGATIVE_INFINITY,
    idle: Number.NEGATIVE_INFINITY,
  };
  readonly id: string;
  readonly order: number;
  readonly launchedAt: number;
  private refusals = 0;
  private lastJobEnd: number | undefined;
  private state: RunnerState;
  private releasedAt = Number.POSITIVE_INFINITY;

  constructor(id: string, order: number, launchedAt: number) {
    this.id = id;
    this.order = order;
    this.launchedAt = launchedAt;
    this.state = { ...newState(id, launchedAt * 1000), phase: 'ready' };
  }

  get isListening(): boolean {
    return (
      this.job === undefined &&
      this.listeningSince <= Number.MAX_SAFE_INTEGER &&
      this.state.phase !== 'draining'
    );
  }

  decide(now: number, target: string, idleTimeoutSeconds: number): Action[] {
    if (this.state.idleSince === undefined) this.state = { ...this.state, idleSince: now * 1000 };
    if (this.job) this.state = { ...this.state, idleSince: now * 1000 };
    // A release takes the labels first, and then waits for a job that was assigned before.
    if (now - this.releasedAt >= RELEASE) this.listeningSince = Number.POSITIVE_INFINITY;
    return watchStep(
      this.state,
      {
        now: now * 1000,
        target,
        reclaimedAt: null,
        agent: this.status(),
        facts: { registers: true, inServiceAt: now * 1000, lastJobEnd: this.lastJobEnd },
        unhealthy: undefined,
      },
      this.last,
      { idleTimeoutMinutes: idleTimeoutSeconds / 60, drainTimeoutSeconds: undefined },
    );
  }

  private status(): AgentStatus {
    if (this.job) return { state: 'busy', job: this.job.id };
    return { state: Number.isFinite(this.listeningSince) ? 'idle' : 'gone' };
  }

  request(now: number, isIssued: boolean): void {
    if (!isIssued) {
      this.refusals += 1;
      this.notBefore = now + Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** (this.refusals - 1));
      return;
    }
    this.refusals = 0;
    this.issued += 1;
    this.notBefore = now + REGISTRATION_GAP;
    this.listeningSince = now;
  }

  /** The registration ends with its job. */
  endJob(now: number): void {
    this.job = undefined;
    this.listeningSince = Number.POSITIVE_INFINITY;
    this.lastJobEnd = now * 1000;
    this.state = { ...this.state, idleSince: now * 1000 };
  }

  beginDrain(now: number): void {
    this.state = { ...this.state, phase: 'draining', since: now * 1000 };
    this.releasedAt = now;
  }
}

function hook(name: string, transition: 'LAUNCHING' | 'TERMINATING', heartbeatTimeout: number): Hook {
  return {
    name,
    transition: `autoscaling:EC2_INSTANCE_${transition}`,
    heartbeatTimeout,
    defaultResult: 'ABANDON',
    notificationMetadata: undefined,
    notificationTargetArn: undefined,
    roleArn: undefined,
  };
}

function reference(name: string, instanceId: string) {
  return { group: GROUP, hook: name, token: undefined, instanceId };
}
