import { groupRoles } from '../../functions/lifecycle/group-roles.ts';
import type { LifecycleDeps } from '../../functions/lifecycle/handle.ts';
import { reportLimits } from '../../functions/lifecycle/report-limits.ts';
import { AgentChain } from '../../infra/runner/src/agents/chain.ts';
import type { AgentStatus } from '../../infra/runner/src/agents/driver.ts';
import { sharedUnits } from '../../infra/runner/src/agents/placed-units.ts';
import type { ReportBody } from '../../infra/runner/src/reporter.ts';
import { newState, type RunnerState } from '../../infra/runner/src/state.ts';
import { fakeDisk } from '../../infra/runner/src/testing/fake-disk.ts';
import { fakeKind, fakeProgram } from '../../infra/runner/src/testing/fake-kind.ts';
import { type Fault, fakeRegistration } from '../../infra/runner/src/testing/fake-registration.ts';
import { type FakeUnit, fakeUnits } from '../../infra/runner/src/testing/fake-units.ts';
import {
  heartbeat,
  type LastReportedAt,
  type Observation,
  watchStep,
} from '../../infra/runner/src/watch-step.ts';
import { memoryStore } from '../../shared/snapshot/testing/memory-store.ts';
import { AutoScalingModel, GROUP, INSTANCE } from '../support/auto-scaling-model.ts';
import { QueueModel } from './queue-model.ts';

const TIMES = { idleTimeoutMinutes: 30, drainTimeoutSeconds: undefined };
const HEARTBEAT_MS = 10_000;

export type AgentsScenario = {
  seconds: number;
  /** Minimum size of the group. */
  min: number;
  bootSeconds: number;
  /** Second at which each job is queued, and its length in seconds. */
  jobs: readonly { at: number; seconds: number }[];
  /** Seconds in which the function `lifecycle` handles nothing; its queue keeps the reports. */
  lifecycleDown?: readonly [number, number];
  /** What the function `registration` does with a request in this second. An instance out of service is refused before. */
  registration?: (second: number) => Fault | undefined;
  scaleInAt?: number;
  /** Seconds at which aw-runner is killed and starts again. */
  restarts?: readonly number[];
  /**
   * `ready-first` is the order of aw-runner. `agent-first` is the opposite, as a control: the agent is started in the boot, and an
   * agent that does not start fails the boot.
   */
  order?: 'ready-first' | 'agent-first';
};

type Job = { at: number; seconds: number; startedAt?: number; isDone: boolean };

/**
 * One runner, from its launch on, second by second: the real decisions of `watch`, the real chain of agents and the real handler of
 * `lifecycle`, with models of Auto Scaling, the function `registration`, the provider and the agent.
 */
export async function runAgents(scenario: AgentsScenario) {
  const group = new AutoScalingModel(scenario.min);
  const queue = new QueueModel();
  const units = fakeUnits();
  const files = fakeDisk(INSTANCE);
  const jobs: Job[] = scenario.jobs.map((job) => ({ ...job, isDone: false }));
  const isEarly = scenario.order === 'agent-first';
  let now = 0;
  const registration = fakeRegistration({
    instanceId: INSTANCE,
    now: () => now * 1000,
    fault(request) {
      if (request.action === 'register' && !isEarly) {
        if (group.state.startsWith('Pending')) return 'not-in-service';
        if (group.state.startsWith('Terminat')) return 'terminating';
      }
      return scenario.registration?.(now);
    },
  });
  units.onSignal((unit) => units.end(unit));

  const newChain = () =>
    new AgentChain(
      fakeKind(units),
      {
        instanceId: INSTANCE,
        stateDirectory: '/none',
        jobSocket: '/none',
        oneJob: false,
        units: sharedUnits(units.port),
        registration: registration.client,
        now: () => now * 1000,
        log: () => {},
      },
      {
        registration: registration.client,
        program: fakeProgram,
        user: 'runner',
        processes: units.processes,
        file: files(),
      },
    );
  let chain = newChain();
  let working: { unit: FakeUnit; job: Job } | undefined;
  group.jobRunning = () => working !== undefined;

  const reports: { at: number; body: ReportBody }[] = [];
  let state: RunnerState = newState(INSTANCE, 0);
  let last: LastReportedAt = { ready: 0, drained: Number.NEGATIVE_INFINITY, idle: Number.NEGATIVE_INFINITY };
  let lastHeartbeat = Number.NEGATIVE_INFINITY;

  function send(body: ReportBody): void {
    reports.push({ at: now, body });
    const sender = { group: 'gha/default', autoScalingGroup: GROUP, instanceId: INSTANCE };
    queue.send('reports', { ...body, ...sender, at: new Date(now * 1000).toISOString() }, now, now);
  }

  /** The provider assigns the oldest job to an idle agent with a registration. */
  function provide(): void {
    if (working && now - (working.job.startedAt ?? 0) >= working.job.seconds) {
      working.job.isDone = true;
      registration.live.delete(working.unit.spec.argv[1] ?? '');
      units.end(working.unit);
      working = undefined;
    }
    const [unit] = units.running();
    const job = jobs.find((each) => each.at <= now && each.startedAt === undefined);
    if (working || !unit || !job || !registration.live.has(unit.spec.argv[1] ?? '')) return;
    job.startedAt = now;
    units.work(unit, ['job']);
    working = { unit, job };
  }

  async function boot(): Promise<void> {
    if (now < scenario.bootSeconds) return send({ report: 'Runner Heartbeat', phase: 'boot' });
    if (isEarly) {
      await chain.start();
      if (units.started.length === 0) {
        state = { ...state, phase: 'failed' };
        return send({ report: 'Runner Failed', stage: 'agent', reason: 'no registration' });
      }
    }
    const report: ReportBody = {
      report: 'Runner Ready',
      snapshot: { set: 'default', outcome: 'none' },
      seconds: { restore: 0, boot: now },
    };
    state = { ...state, phase: 'ready', launch: { report, at: now * 1000 } };
    last.ready = now * 1000;
    send(report);
  }

  async function watch(): Promise<void> {
    if (state.phase === 'draining') await chain.stopIntake();
    const agent: AgentStatus = await chain.status();
    const facts = chain.facts();
    if (agent.state === 'busy') state = { ...state, idleSince: now * 1000 };
    else if (state.idleSince === undefined && facts.inServiceAt !== undefined)
      state = { ...state, idleSince: facts.inServiceAt };
    const observation: Observation = {
      now: now * 1000,
      target: group.state.startsWith('Terminat') ? 'Terminated' : 'InService',
      reclaimedAt: null,
      agent,
      facts,
      unhealthy: facts.problem,
    };
    for (const action of watchStep(state, observation, last, TIMES)) {
      if (action.do === 'begin-drain') {
        state = { ...state, phase: 'draining', since: now * 1000 };
        await chain.stopIntake();
      }
      if (action.do === 'stop-intake') await chain.stopIntake();
      if (action.do === 'start-agent') await chain.start();
      if (action.do === 'report-ready' && state.launch) {
        last.ready = now * 1000;
        send(state.launch.report as ReportBody);
      }
      if (action.do === 'report-drained') {
        last.drained = now * 1000;
        send({ report: 'Runner Drained', seconds: { drain: action.seconds } });
      }
      if (action.do === 'report-unhealthy') {
        state = { ...state, unhealthyReported: true };
        send({ report: 'Runner Unhealthy', reason: action.reason });
      }
      if (action.do === 'report-idle') {
        last.idle = now * 1000;
        send({ report: 'Runner Idle', idleSeconds: action.seconds });
      }
    }
    const due = heartbeat(state, observation, TIMES);
    if (!due || now * 1000 - lastHeartbeat < HEARTBEAT_MS) return;
    lastHeartbeat = now * 1000;
    send({ report: 'Runner Heartbeat', ...due });
  }

  const clock = { now: () => new Date(now * 1000) };
  const deps: LifecycleDeps = {
    clock,
    roles: groupRoles(group, clock),
    prefix: 'aw',
    reportsQueue: 'reports',
    autoScaling: group,
    events: { async publish() {} },
    metrics: { add() {} },
    groups: { all: async () => [] },
    store: memoryStore(clock.now),
    logger: { warn() {} },
    limits: reportLimits({
      reportsQueue: 'reports',
      clock,
      logger: { warn() {} },
      metrics: { add() {} },
    }),
  };
  for (; now < scenario.seconds; now += 1) {
    group.advance(1);
    if (group.state === 'Terminated') break;
    if (now === scenario.scaleInAt) group.beginTermination();
    if (scenario.restarts?.includes(now)) {
      chain = newChain();
      last = { ready: 0, drained: Number.NEGATIVE_INFINITY, idle: Number.NEGATIVE_INFINITY };
      lastHeartbeat = Number.NEGATIVE_INFINITY;
    }
    provide();
    if (state.phase === 'booting') await boot();
    else await watch();
    const [from, to] = scenario.lifecycleDown ?? [0, 0];
    if (now < from || now >= to) await queue.deliver(now, deps);
  }
  return {
    group,
    jobs,
    units,
    registration,
    reports,
    sent: (report: ReportBody['report']) => reports.filter(({ body }) => body.report === report),
    endedAt: now,
  };
}
