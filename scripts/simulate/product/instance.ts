import { AgentChain } from '../../../infra/runner/src/agents/chain.ts';
import { type ChainRecord, releaseEndsAt } from '../../../infra/runner/src/agents/chain-record.ts';
import type { AgentFacts, AgentStatus } from '../../../infra/runner/src/agents/driver.ts';
import type { PlacedUnits } from '../../../infra/runner/src/agents/placed-units.ts';
import type { RegistrationResult } from '../../../infra/runner/src/agents/registration-client.ts';
import type { ReportBody } from '../../../infra/runner/src/reporter.ts';
import { newState, type RunnerState } from '../../../infra/runner/src/state.ts';
import {
  heartbeat,
  idleFrom,
  LAUNCH_HOOK_SECONDS,
  type LastReportedAt,
  type Observation,
  REPEAT_IDLE_SECONDS,
  REPEAT_SECONDS,
  type watchStep,
} from '../../../infra/runner/src/watch-step.ts';
import type { CiProvider } from '../../../shared/fleet/names.ts';
import type { RegistrationRequest } from '../../../shared/fleet/registration.ts';
import type { RestoreOutcome } from '../../../shared/fleet/report.ts';
import type { Ci, Job, JobEnd, Listener, Pool } from '../cloud/ci.ts';
import { type Kernel, MINUTE, type Random, SECOND } from '../kernel.ts';
import { InstanceTimes } from '../measures.ts';
import { simulatedKind, simulatedProgram } from './agent.ts';

/** Time between two observations, and between two heartbeats (`infra/runner/src/config.ts`). */
const POLL_MS = 5 * SECOND;
const HEARTBEAT_MS = 60 * SECOND;
const HEARTBEAT_JITTER = 0.1;

/** Result of the restore of a boot. */
export type Restored = {
  set: string;
  outcome: RestoreOutcome;
  id?: string;
  broken?: { id: string; reason: string };
};

/** What one instance needs of its world. */
export type InstanceContext = {
  kernel: Kernel;
  random: Random;
  ci: Ci;
  group: {
    id: string;
    provider: CiProvider;
    pool: Pool;
    idleTimeoutMinutes: number;
    /** A warming group: the instance makes a snapshot and takes no jobs. */
    isWarming: boolean;
  };
  decide: typeof watchStep;
  /** Lifecycle state that Auto Scaling has, of which the metadata shows the target. */
  lifecycleState(): string | undefined;
  register(request: RegistrationRequest): Promise<RegistrationResult>;
  report(body: ReportBody, at: Date): void;
  restore(): Promise<Restored>;
  /** Whether an agent of this version has to update itself now. */
  mustUpdate(version: string): boolean;
  newestVersion(): string;
  /** Probability per boot, and per place of a job. */
  faults: { bootFails: number; placeFails: number };
  onWork(job: Job): void;
  /** Makes the snapshot of a warming group. */
  warm?(): void;
};

type Unit = {
  name: string;
  place: string;
  version: string;
  pid: number;
  isRunning: boolean;
  code: number | null;
  activity: 'starting' | 'idle' | 'busy';
  worked: boolean;
  job: Job | undefined;
  listener: Listener | undefined;
  registration: string;
};

/** Never fulfilled: what a killed program waits for. */
const never = <T>() => new Promise<T>(() => {});

/**
 * One runner: the decisions of aw-runner (`watchStep`, `heartbeat`, the chain of agents, how agents are stopped) on an instance whose
 * processes, metadata and disk are a few fields. aw-runner observes every 5 s; observations that cannot show anything new are left out.
 */
export class SimulatedInstance {
  readonly id: string;
  readonly context: InstanceContext;
  readonly launchedAt: number;
  readonly purchase: 'spot' | 'on-demand';
  readonly zone: string;
  state: RunnerState;
  isGone = false;
  reclaimedAt: number | undefined;
  restored: Restored | undefined;
  firstListenAt: number | undefined;
  /** Agents of this instance that run at once. More than one breaks an invariant. */
  mostAgents = 0;
  jobs = 0;
  isDraining = false;
  readonly times: InstanceTimes;
  private readonly skewMs: number;
  private readonly phase: number;
  private readonly units = new Map<string, Unit>();
  private readonly record: { text: string; live: ChainRecord | undefined };
  private chain: AgentChain;
  private generation = 0;
  private last: LastReportedAt;
  private wakeAt = Number.POSITIVE_INFINITY;
  private isStarting = false;
  private isStepping = false;
  private mustStepAgain = false;
  private isBeating = false;
  private unhealthy: string | undefined;
  private pids = 1;

  constructor(
    instance: { id: string; purchase: 'spot' | 'on-demand'; zone: string },
    context: InstanceContext,
    skewMs: number,
  ) {
    const { kernel, random } = context;
    this.id = instance.id;
    this.purchase = instance.purchase;
    this.zone = instance.zone;
    this.context = context;
    this.skewMs = skewMs;
    this.launchedAt = kernel.now;
    this.times = new InstanceTimes(context.group.isWarming ? 'warming' : 'booting', kernel.now);
    this.phase = random.integer(0, POLL_MS - 1);
    this.state = newState(this.id, this.now());
    this.last = { ready: 0, drained: 0, idle: 0 };
    this.record = {
      text: JSON.stringify({
        ...{ version: 1, instanceId: this.id, units: 0, previous: 'none', updates: {} },
        ...{ failures: 0, refusals: 0, faults: 0, notBefore: 0 },
      }),
      live: undefined,
    };
    this.chain = this.newChain();
    // From the request of the instance until aw-runner starts.
    kernel.after(random.between(18 * SECOND, 40 * SECOND), () => this.boot());
  }

  /** The clock of the instance. */
  private now(): number {
    return this.context.kernel.now + this.skewMs;
  }

  private get isTarget(): string {
    return this.context.lifecycleState()?.startsWith('Terminat') === false ? 'InService' : 'Terminated';
  }

  private async boot(): Promise<void> {
    if (this.isGone) return;
    const { kernel, random, faults, group } = this.context;
    this.beat();
    const restored = await this.context.restore();
    const median = { restored: 14, previous: 17, cold: 4, none: 2 }[restored.outcome];
    kernel.after(random.lognormal(median, 0.35) * SECOND, () => {
      if (this.isGone) return;
      this.restored = restored;
      if (this.isTarget === 'Terminated' || this.reclaimedAt !== undefined) {
        this.state = { ...this.state, phase: 'draining', since: this.now() };
        this.isDraining = true;
        this.account();
      } else if (random.chance(faults.bootFails)) {
        this.state = { ...this.state, phase: 'failed' };
        this.send({
          report: 'Runner Failed',
          stage: 'agent',
          reason: 'the program of the agent cannot be executed',
        });
      } else {
        const report: ReportBody = {
          report: 'Runner Ready',
          snapshot: {
            ...{ set: restored.set, outcome: restored.outcome },
            ...(restored.id !== undefined && { id: restored.id }),
            ...(restored.broken && { broken: restored.broken }),
          },
          seconds: { restore: median, boot: (kernel.now - this.launchedAt) / SECOND },
        };
        this.state = { ...this.state, phase: 'ready', launch: { report, at: this.now() } };
        this.last.ready = this.now();
        this.send(report);
        if (group.isWarming) this.context.warm?.();
      }
      this.poll();
    });
  }

  /** aw-runner is killed and starts again: it keeps its disk and its units, and nothing else. */
  restart(): void {
    if (this.isGone || this.state.phase === 'booting') return;
    this.generation += 1;
    if (this.record.live) this.record.text = JSON.stringify(this.record.live);
    this.record.live = undefined;
    this.chain = this.newChain();
    this.isStarting = false;
    this.isStepping = false;
    this.last = { ready: this.state.launch?.at ?? 0, drained: 0, idle: 0 };
    this.poll();
  }

  /** Something about it has changed that the next observation shows. */
  poll(): void {
    const { now } = this.context.kernel;
    this.wake(now + POLL_MS - ((now - this.phase) % POLL_MS));
  }

  private wake(at: number): void {
    if (this.isGone || at >= this.wakeAt) return;
    this.wakeAt = at;
    this.context.kernel.at(at, () => {
      if (this.wakeAt !== at) return;
      this.wakeAt = Number.POSITIVE_INFINITY;
      return this.step();
    });
  }

  private async step(): Promise<void> {
    if (this.isGone || this.state.phase === 'booting') return;
    if (this.isStepping) {
      this.mustStepAgain = true;
      return;
    }
    this.isStepping = true;
    const { generation } = this;
    try {
      await this.observeAndAct();
    } finally {
      if (generation === this.generation) this.isStepping = false;
    }
    if (generation !== this.generation || this.isGone) return;
    if (this.mustStepAgain) {
      this.mustStepAgain = false;
      this.poll();
    }
    this.scheduleNext();
  }

  private async observeAndAct(): Promise<void> {
    const { group } = this.context;
    const now = this.now();
    const isOut = this.state.phase === 'failed' || this.state.unhealthyReported;
    if (!group.isWarming && (this.state.phase === 'draining' || isOut))
      await this.chain.stopIntake(this.endsAt());
    const agent: AgentStatus = group.isWarming ? { state: 'gone' } : await this.chain.status();
    const facts: AgentFacts = group.isWarming ? { registers: false } : this.chain.facts();
    if (agent.state === 'busy') this.state = { ...this.state, idleSince: now };
    else if (this.state.idleSince === undefined && facts.inServiceAt !== undefined)
      this.state = { ...this.state, idleSince: facts.inServiceAt };
    const observation: Observation = {
      now,
      target: this.isTarget,
      reclaimedAt: this.endsAt() ?? null,
      agent,
      facts,
      unhealthy: this.unhealthy ?? facts.problem,
    };
    const times = {
      idleTimeoutMinutes: group.isWarming ? Number.POSITIVE_INFINITY : group.idleTimeoutMinutes,
      drainTimeoutSeconds: undefined,
    };
    for (const action of this.context.decide(this.state, observation, this.last, times)) {
      switch (action.do) {
        case 'begin-drain':
          this.isDraining = true;
          this.account();
          this.state = { ...this.state, phase: 'draining', since: now };
          this.beat();
          if (!group.isWarming) await this.chain.stopIntake(this.endsAt());
          break;
        case 'stop-intake':
          await this.chain.stopIntake(this.endsAt());
          break;
        case 'report-ready':
          if (!this.state.launch) break;
          this.last.ready = now;
          this.send(this.state.launch.report as ReportBody);
          break;
        case 'report-drained':
          this.last.drained = now;
          this.send({ report: 'Runner Drained', seconds: { drain: action.seconds } });
          break;
        case 'report-unhealthy':
          this.state = { ...this.state, unhealthyReported: true };
          this.send({ report: 'Runner Unhealthy', reason: action.reason });
          break;
        case 'start-agent':
          this.startAgent();
          break;
        case 'report-idle':
          this.last.idle = now;
          this.send({ report: 'Runner Idle', idleSeconds: action.seconds });
          break;
      }
    }
  }

  private startAgent(): void {
    if (this.isStarting || this.context.group.isWarming) return;
    const { notBefore } = this.current();
    if (notBefore > this.now()) return;
    this.isStarting = true;
    const { generation } = this;
    this.context.kernel.background(
      this.chain.start().finally(() => {
        if (generation !== this.generation) return;
        this.isStarting = false;
        this.poll();
      }),
    );
  }

  /** When the next observation can show something new, if nothing happens before. */
  private scheduleNext(): void {
    const { state, last } = this;
    const { idleTimeoutMinutes, isWarming } = this.context.group;
    const due: number[] = [];
    const record = this.current();
    const unit = record.agent && this.units.get(record.agent.unit);
    const isBusy = unit?.activity === 'busy';
    if (state.phase === 'draining') {
      if (!record.agent && !this.isStarting) due.push(last.drained + REPEAT_SECONDS * SECOND);
      else if (!isBusy) due.push(Math.max(this.now() + POLL_MS, this.releaseDue(record)));
      else due.push(this.now() + (this.reclaimedAt === undefined ? MINUTE : POLL_MS));
    } else if (state.phase === 'ready') {
      const inServiceAt = record.inServiceAt ?? 0;
      const isLaunching = isWarming
        ? this.now() - (state.launch?.at ?? 0) < LAUNCH_HOOK_SECONDS * SECOND
        : inServiceAt < (state.launch?.at ?? 0);
      if (isLaunching) due.push(last.ready + REPEAT_SECONDS * SECOND);
      if (!isWarming && !record.agent && !this.isStarting && !state.unhealthyReported)
        due.push(record.notBefore);
      if (!isWarming && !isBusy) {
        const since = idleFrom(state, this.chain.facts());
        due.push(Math.max(since + idleTimeoutMinutes * MINUTE, last.idle + REPEAT_IDLE_SECONDS * SECOND));
      }
    }
    const next = Math.min(...due) - this.skewMs;
    if (!Number.isFinite(next)) return;
    const { now } = this.context.kernel;
    // A wait of the chain ends at its time, everything else is seen at an observation.
    if (next <= now) this.poll();
    else this.wake(next + ((POLL_MS - ((next - this.phase) % POLL_MS)) % POLL_MS));
  }

  /** Until when an idle agent in a drain waits for the answer to its release, or for its end (`agents/gha.ts`). */
  private releaseDue({ release, agent }: ChainRecord): number {
    if (!release || !agent?.listened || this.reclaimedAt !== undefined) return 0;
    if (release.removedAt !== undefined) return release.removedAt + 15 * SECOND;
    return Math.min(release.notBefore, releaseEndsAt(release));
  }

  private current(): ChainRecord {
    return this.record.live ?? (JSON.parse(this.record.text) as ChainRecord);
  }

  private endsAt(): number | undefined {
    return this.reclaimedAt === undefined ? undefined : this.reclaimedAt + this.skewMs;
  }

  /** The heartbeat has a timer of its own. It runs only while one can be due. */
  private beat(): void {
    if (this.isBeating) return;
    this.isBeating = true;
    const tick = (): void => {
      if (this.isGone) return;
      const isDue = this.sendHeartbeat();
      if (!isDue && this.state.phase !== 'draining' && this.state.phase !== 'booting') {
        this.isBeating = false;
        return;
      }
      this.context.kernel.after(HEARTBEAT_MS * (1 - HEARTBEAT_JITTER * this.context.random.next()), tick);
    };
    tick();
  }

  private sendHeartbeat(): boolean {
    if (this.state.phase === 'booting') {
      this.send({ report: 'Runner Heartbeat', phase: 'boot' });
      return true;
    }
    const record = this.current();
    const unit = record.agent && this.units.get(record.agent.unit);
    const agent: AgentStatus = this.isStarting
      ? { state: 'starting' }
      : !record.agent
        ? { state: 'gone' }
        : unit?.activity === 'busy'
          ? { state: 'busy', job: 'job' }
          : { state: unit?.activity === 'starting' ? 'starting' : 'idle' };
    const facts = this.context.group.isWarming ? { registers: false } : this.chain.facts();
    const due = heartbeat(
      this.state,
      { now: this.now(), agent, facts },
      { idleTimeoutMinutes: 0, drainTimeoutSeconds: undefined },
    );
    if (due) this.send({ report: 'Runner Heartbeat', ...due });
    return due !== undefined;
  }

  private send(body: ReportBody): void {
    this.context.report(body, new Date(this.now()));
  }

  /** Counts the time since the last change for the state that it ends, and begins the present one. */
  account(): void {
    const { now } = this.context.kernel;
    if (this.context.group.isWarming) this.times.enter('warming', now);
    else if (this.isBusy) this.times.enter('busy', now);
    else if (this.isDraining) this.times.enter('draining', now);
    else if (this.isListening) this.times.enter('idle', now);
    else this.times.enter(this.firstListenAt === undefined ? 'booting' : 'turnover', now);
  }

  /** The instance stops with everything on it. */
  stop(end: JobEnd): void {
    if (this.isGone) return;
    this.account();
    this.isGone = true;
    this.generation += 1;
    for (const unit of this.units.values()) {
      if (unit.job && unit.listener) this.context.ci.ended(unit.job, unit.listener, end);
      else if (unit.isRunning && unit.listener) this.context.ci.left(unit.listener);
      unit.isRunning = false;
    }
  }

  get isBusy(): boolean {
    return [...this.units.values()].some((unit) => unit.job !== undefined && unit.isRunning);
  }

  private get isListening(): boolean {
    return [...this.units.values()].some((unit) => unit.isRunning && unit.activity === 'idle');
  }

  get agents(): number {
    let running = 0;
    for (const unit of this.units.values()) if (unit.isRunning) running += 1;
    return running;
  }

  get hasAgent(): boolean {
    return this.agents > 0;
  }

  private newChain(): AgentChain {
    const { context, generation } = this;
    const isCurrent = () => generation === this.generation && !this.isGone;
    const record = this.record;
    const units = this.placedUnits(isCurrent);
    const registration = {
      call: async (request: RegistrationRequest): Promise<RegistrationResult> => {
        if (!isCurrent()) return never();
        const result = await context.register(request);
        return isCurrent() ? result : never();
      },
    };
    const processes = {
      childrenOf: async (pid: number) => {
        const unit = [...this.units.values()].find((each) => each.pid === pid);
        return unit?.activity === 'busy'
          ? [{ pid: pid + 1, startTime: String(pid), argv: ['/agent/bin/Runner.Worker', 'bootstrap'] }]
          : [];
      },
      isSameProcess: async ({ pid }: { pid: number }) =>
        [...this.units.values()].some((unit) => unit.isRunning && (unit.pid === pid || unit.pid + 1 === pid)),
    };
    return new AgentChain(
      simulatedKind(context.group.provider, {
        units,
        now: () => this.now(),
        workedIn: (unit) => this.units.get(unit)?.worked ?? false,
        activity: (unit) => this.units.get(unit)?.activity ?? 'starting',
        newestVersion: context.newestVersion,
      }),
      {
        instanceId: this.id,
        stateDirectory: '/none',
        jobSocket: '/none',
        oneJob: true,
        units,
        registration,
        now: () => this.now(),
        log: () => {},
      },
      {
        registration,
        program: simulatedProgram,
        user: 'runner',
        processes,
        sleep: (milliseconds) => context.kernel.sleep(milliseconds),
        file: {
          read: async () => {
            if (!isCurrent()) return never();
            record.live ??= JSON.parse(record.text) as ChainRecord;
            return record.live;
          },
          // The chain saves after each change: the disk has what its memory has.
          save: async () => (isCurrent() ? undefined : never()),
        },
      },
    );
  }

  private placedUnits(isCurrent: () => boolean): PlacedUnits {
    const { kernel, random, faults } = this.context;
    return {
      async ensureUser() {},
      async giveDirectory() {},
      asUser: () => [],
      inPlace: async () => [],
      cgroup: async () => undefined,
      // A new tree, root and namespaces for the next job.
      prepare: async () => {
        await kernel.sleep(random.lognormal(0.6, 0.5) * SECOND);
        if (random.chance(faults.placeFails))
          throw new Error('the tree cannot be cloned: no space left on device');
      },
      discard: async () => {},
      start: async ({ name, place, argv }) => {
        if (!isCurrent()) return never();
        const [, version = '', registration = ''] = argv;
        const earlier = [...this.units.values()].find((each) => each.place === place)?.registration ?? '';
        this.startUnit(name, place, version, registration || earlier);
      },
      state: async (name) => {
        const unit = this.units.get(name);
        if (!unit) return undefined;
        return {
          main: unit.isRunning ? { pid: unit.pid, startTime: String(unit.pid) } : undefined,
          ended: unit.isRunning ? undefined : { code: unit.code },
          pids: unit.isRunning ? [unit.pid] : [],
        };
      },
      list: async () => [...this.units.keys()],
      signal: async (name, signal) => this.signal(name, signal),
      remove: async (name) => {
        this.units.delete(name);
      },
    };
  }

  private startUnit(name: string, place: string, version: string, registration: string): void {
    const { kernel, random, ci, group } = this.context;
    this.pids += 2;
    const unit: Unit = {
      ...{
        name,
        place,
        version,
        pid: this.pids,
        isRunning: true,
        code: null,
        activity: 'starting',
        worked: false,
      },
      ...{ job: undefined, listener: undefined, registration },
    };
    this.units.set(name, unit);
    this.mostAgents = Math.max(this.mostAgents, this.agents);
    if (group.provider === 'gha' && this.context.mustUpdate(version)) {
      kernel.after(random.between(10 * SECOND, 25 * SECOND), () => this.endUnit(unit, 3));
      return;
    }
    // The start of a listener until it accepts jobs.
    kernel.after(random.lognormal(4, 0.35) * SECOND, () => {
      if (!unit.isRunning || this.isGone) return;
      unit.activity = 'idle';
      unit.listener = {
        ...{ name: registration, group: group.id, instanceId: this.id, state: 'idle', isAssignable: true },
        ...{ idleSince: kernel.now, seenBusyFrom: 0, registration: undefined },
        onJob: (job) => this.work(unit, job),
        onForgotten: () => this.endUnit(unit, 0),
      };
      this.firstListenAt ??= kernel.now;
      this.account();
      ci.listen(unit.listener, group.pool);
      this.poll();
    });
  }

  private work(unit: Unit, job: Job): void {
    const { kernel, ci } = this.context;
    unit.activity = 'busy';
    unit.worked = true;
    unit.job = job;
    this.jobs += 1;
    this.context.onWork(job);
    this.account();
    this.poll();
    kernel.after(job.seconds * SECOND, () => {
      if (this.isGone || unit.job !== job) return;
      unit.job = undefined;
      if (unit.listener) ci.ended(job, unit.listener, 'done');
      this.endUnit(unit, 0);
    });
  }

  /** The job of an agent is cancelled: by a signal, or since its registration was removed. */
  cancel(name: string, end: JobEnd): void {
    for (const unit of this.units.values()) {
      if (unit.registration !== name || !unit.job || !unit.listener) continue;
      this.context.ci.ended(unit.job, unit.listener, end);
      unit.job = undefined;
      this.endUnit(unit, 0);
    }
  }

  private signal(name: string, signal: NodeJS.Signals): void {
    const unit = this.units.get(name);
    if (!unit?.isRunning) return;
    const isGentle = signal === 'SIGTERM' && this.context.group.provider !== 'gha';
    if (unit.listener && isGentle) unit.listener.isAssignable = false;
    if (unit.job) {
      if (!isGentle) this.cancel(unit.registration, this.reclaimedAt === undefined ? 'killed' : 'reclaimed');
      return;
    }
    this.context.kernel.after(500, () => {
      // A job that arrives at the same moment is cancelled by GitHub's listener, and dropped by the others.
      if (unit.job && !isGentle)
        this.cancel(unit.registration, this.reclaimedAt === undefined ? 'killed' : 'reclaimed');
      else if (!unit.job) this.endUnit(unit, 0);
    });
  }

  private endUnit(unit: Unit, code: number): void {
    if (!unit.isRunning) return;
    unit.isRunning = false;
    unit.code = code;
    if (unit.listener && !unit.worked) this.context.ci.left(unit.listener);
    if (this.isGone) return;
    this.account();
    // aw-runner notices the end of an agent at once.
    this.wake(this.context.kernel.now);
  }

  becomeUnhealthy(reason: string): void {
    this.unhealthy = reason;
    this.poll();
  }
}
