import type { ReportBody } from '../../infra/runner/src/reporter.ts';
import { newState, type RunnerState } from '../../infra/runner/src/state.ts';
import {
  heartbeat,
  type LastReportedAt,
  type Observation,
  watchStep,
} from '../../infra/runner/src/watch-step.ts';
import { type AutoScalingModel, INSTANCE } from '../support/auto-scaling-model.ts';

const HEARTBEAT_MS = 10_000;
const TIMES = { idleTimeoutMinutes: 2, drainTimeoutSeconds: 100_000 };

/** A runner on simulated time: the real decisions of `watch` on an instance that is a few fields. */
export class RunnerModel {
  now = 0;
  job: string | undefined;
  unhealthy: string | undefined;
  reclaimed = false;
  readonly sent: ReportBody[] = [];
  private state: RunnerState = newState(INSTANCE, 0);
  private last: LastReportedAt = { ready: 0, drained: Number.NEGATIVE_INFINITY, idle: 0 };
  private lastHeartbeat = 0;
  private intake = false;
  private idleSince = 0;
  private readonly group: AutoScalingModel;
  private readonly bootSeconds: number;
  private readonly bootFails: boolean;

  constructor(group: AutoScalingModel, bootSeconds: number, bootFails: boolean) {
    this.group = group;
    this.bootSeconds = bootSeconds;
    this.bootFails = bootFails;
  }

  /** Starts a job, if the CI provider still assigns one to this runner. */
  startJob(): void {
    if (this.intake && this.job === undefined && this.alive()) this.job = `job at ${this.now}`;
  }

  endJob(): void {
    if (this.job === undefined) return;
    this.job = undefined;
    this.idleSince = this.now;
  }

  /** aw-runner is killed and starts again: it loses its memory and keeps its state file. */
  restart(): void {
    this.last = { ready: 0, drained: Number.NEGATIVE_INFINITY, idle: 0 };
    this.lastHeartbeat = 0;
  }

  /** One step of the watch loop. */
  step(seconds: number): void {
    this.now += seconds * 1000;
    if (!this.alive()) return;
    if (this.state.phase === 'booting') this.boot();
    else this.watch();
  }

  private watch(): void {
    const observation: Observation = {
      now: this.now,
      target: this.target(),
      reclaimedAt: this.reclaimed ? this.now : null,
      // The agent of this model ends as soon as it may take no further job.
      agent:
        this.job !== undefined ? { state: 'busy', job: this.job } : { state: this.intake ? 'idle' : 'gone' },
      facts: { registers: false, lastJobEnd: this.idleSince },
      unhealthy: this.unhealthy,
    };
    for (const action of watchStep(this.state, observation, this.last, TIMES)) {
      if (action.do === 'begin-drain') {
        this.intake = false;
        this.state = { ...this.state, phase: 'draining', since: this.now };
      }
      if (action.do === 'stop-intake') this.intake = false;
      if (action.do === 'report-drained') {
        this.last.drained = this.now;
        this.sent.push({ report: 'Runner Drained', seconds: { drain: action.seconds } });
      }
      if (action.do === 'report-ready' && this.state.launch) {
        this.last.ready = this.now;
        this.sent.push(this.state.launch.report as ReportBody);
      }
      if (action.do === 'report-unhealthy') {
        this.state = { ...this.state, unhealthyReported: true };
        this.sent.push({ report: 'Runner Unhealthy', reason: action.reason });
      }
      if (action.do === 'report-idle') {
        this.last.idle = this.now;
        this.sent.push({ report: 'Runner Idle', idleSeconds: action.seconds });
      }
    }
    this.sendHeartbeat(observation);
  }

  private sendHeartbeat(observation: Observation): void {
    const due = heartbeat(this.state, observation, TIMES);
    if (!due || this.now - this.lastHeartbeat < HEARTBEAT_MS) return;
    this.lastHeartbeat = this.now;
    this.sent.push({ report: 'Runner Heartbeat', ...due });
  }

  private boot(): void {
    if (this.now < this.bootSeconds * 1000) {
      this.sent.push({ report: 'Runner Heartbeat', phase: 'boot' });
      return;
    }
    if (this.bootFails) {
      this.state = { ...this.state, phase: 'failed' };
      this.sent.push({ report: 'Runner Failed', stage: 'agent', reason: 'simulated' });
      return;
    }
    if (this.target() === 'Terminated' || this.reclaimed) {
      this.state = { ...this.state, phase: 'draining', since: this.now };
      return;
    }
    this.intake = true;
    this.idleSince = this.now;
    const seconds = { restore: 1, boot: this.bootSeconds };
    const report: ReportBody = {
      report: 'Runner Ready',
      snapshot: { set: 'default', outcome: 'none' },
      seconds,
    };
    this.state = { ...this.state, phase: 'ready', launch: { report, at: this.now } };
    this.last.ready = this.now;
    this.sent.push(report);
  }

  private target(): string {
    return this.group.state.startsWith('Terminat') ? 'Terminated' : 'InService';
  }

  private alive(): boolean {
    return this.group.state !== 'Terminated';
  }
}
