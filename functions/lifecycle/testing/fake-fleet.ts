import type { Report } from '../../../shared/fleet/report.ts';
import type { MetricSink } from '../../../shared/runtime/metrics.ts';
import type { Outcome } from '../../../shared/runtime/outcome.ts';
import { message, outcomeOf } from '../../../test/support/sqs.ts';
import { handleLifecycleMessage } from '../handle.ts';
import type { Answer, AutoScalingPort } from '../ports.ts';

export const GROUP = 'aw-gha-default';
export const INSTANCE = 'i-0123456789abcdef0';
export const NOW = new Date('2026-11-23T03:00:00Z');

const NO_ACTION: Answer = {
  applied: false,
  said: `No active Lifecycle Action found with instance ID ${INSTANCE}`,
};

/** What all reports carry. */
export const SENDER = {
  group: 'gha/default',
  instanceId: INSTANCE,
  autoScalingGroup: GROUP,
  at: '2026-11-23T02:59:59Z',
};

/** Every report, as its runner would send it. */
export const REPORTS = {
  heartbeat: { report: 'Runner Heartbeat', ...SENDER, phase: 'drain' },
  ready: {
    report: 'Runner Ready',
    ...SENDER,
    snapshot: { set: 'default', outcome: 'restored', id: '20261123T030000Z-0a1b2c3d' },
    seconds: { restore: 3, boot: 20 },
  },
  failed: { report: 'Runner Failed', ...SENDER, stage: 'agent', reason: 'no token' },
  drained: { report: 'Runner Drained', ...SENDER, seconds: { drain: 7 } },
  idle: { report: 'Runner Idle', ...SENDER, idleSeconds: 600 },
  unhealthy: { report: 'Runner Unhealthy', ...SENDER, reason: 'Bazel exit 37' },
} satisfies Record<string, Report>;

/** An event as EventBridge puts it into the inbox. */
export function event(source: string, detailType: string, detail: object): object {
  return {
    id: 'x',
    source,
    'detail-type': detailType,
    account: '123456789012',
    region: 'us-east-1',
    time: NOW.toISOString(),
    resources: [],
    detail,
  };
}

/**
 * One group with one instance. Waiting hooks are completed, everything else has no action; what was asked for is written
 * down, and any call can be made to fail.
 */
export class FakeFleet {
  /** Undefined: no group has the instance. */
  state: string | undefined = 'InService';
  group = GROUP;
  sizes: { min: number; desired: number } | undefined = { min: 1, desired: 3 };
  /** Whether a `*:Wait` has an action already, as AWS has a moment later. */
  actionsBegun = true;
  /** Auto Scaling's refusal of a termination. */
  refuses: string | undefined;
  failing: Error | undefined;
  busFailing: Error | undefined;

  readonly asked: string[] = [];
  readonly published: Report[] = [];
  readonly measured: { name: string; value: number; dimensions: object }[] = [];

  private readonly port: AutoScalingPort = {
    complete: async ({ autoScalingGroup, hook, instanceId }, result) =>
      this.answerHook(`complete ${result} ${autoScalingGroup} ${hook} ${instanceId}`, hook),
    heartbeat: async ({ autoScalingGroup, hook, instanceId }) =>
      this.answerHook(`heartbeat ${autoScalingGroup} ${hook} ${instanceId}`, hook),
    describeInstance: async () => {
      this.fail();
      return this.state === undefined
        ? undefined
        : { autoScalingGroup: this.group, lifecycleState: this.state };
    },
    describeGroup: async (name) => {
      this.fail();
      return name === this.group ? this.sizes : undefined;
    },
    terminate: async (instanceId, decrement) => {
      this.asked.push(`terminate ${instanceId}${decrement ? ' and shrink' : ''}`);
      this.fail();
      return this.refuses === undefined ? { applied: true } : { applied: false, said: this.refuses };
    },
  };

  private readonly metrics: MetricSink = {
    add: (name, value, dimensions) => {
      this.measured.push({ name, value, dimensions });
    },
  };

  /** What becomes of a report, sent `ageSeconds` ago by `senderId`. */
  report(body: unknown, options: { ageSeconds?: number; senderId?: string } = {}): Promise<Outcome> {
    const { ageSeconds = 0, senderId = `AROARUNNER:${INSTANCE}` } = options;
    return this.handle(body, 'aw-reports', senderId, ageSeconds);
  }

  /** What becomes of a message in the inbox of events. */
  event(body: unknown, options: { ageSeconds?: number } = {}): Promise<Outcome> {
    return this.handle(body, 'aw-lifecycle-inbox', 'AIDAEVENTBRIDGE', options.ageSeconds ?? 0);
  }

  private handle(body: unknown, queue: string, senderId: string, ageSeconds: number): Promise<Outcome> {
    const sentAt = new Date(NOW.getTime() - ageSeconds * 1000);
    const handled = handleLifecycleMessage(message(body, { queue, senderId, sentAt }), {
      prefix: 'aw',
      reportsQueue: 'aw-reports',
      autoScaling: this.port,
      metrics: this.metrics,
      clock: { now: () => NOW },
      bus: {
        publish: async (report) => {
          if (this.busFailing) throw this.busFailing;
          this.published.push(report);
        },
      },
    });
    return outcomeOf(handled);
  }

  private answerHook(asked: string, hook: string): Answer {
    this.asked.push(asked);
    this.fail();
    const waitsFor = { 'aw-boot': /Pending:Wait$/, 'aw-drain': /Terminating:Wait$/ }[hook];
    const isWaiting = this.actionsBegun && this.state !== undefined && waitsFor?.test(this.state);
    if (!isWaiting) return NO_ACTION;
    if (asked.startsWith('complete')) this.state = 'Proceeding';
    return { applied: true };
  }

  private fail(): void {
    if (this.failing) throw this.failing;
  }
}
