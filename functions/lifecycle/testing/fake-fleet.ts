import { DRAIN_TIMEOUT_TAG, ROLE_ID_TAG, WARMING_SET_TAG } from '../../../shared/fleet/names.ts';
import type { Report } from '../../../shared/fleet/report.ts';
import type { Message } from '../../../shared/runtime/message.ts';
import type { MetricSink } from '../../../shared/runtime/metrics.ts';
import type { Outcome } from '../../../shared/runtime/outcome.ts';
import { memoryStore } from '../../../shared/snapshot/testing/memory-store.ts';
import { message, outcomeOf } from '../../../test/support/sqs.ts';
import { groupRoles } from '../group-roles.ts';
import { handleLifecycleMessage } from '../handle.ts';
import type { AutoScalingPort, ChangeResult } from '../ports.ts';
import { reportLimits } from '../report-limits.ts';

export const GROUP = 'aw-gha-default';
export const INSTANCE = 'i-0123456789abcdef0';
export const NOW = new Date('2026-11-23T03:00:00Z');

const NO_ACTION: ChangeResult = {
  applied: false,
  refusal: `No active Lifecycle Action found with instance ID ${INSTANCE}`,
};

/** The unique id of the role of the group's instances. */
export const ROLE_ID = 'AROARUNNER';

/** The fields of every report. */
export const SENDER = {
  group: 'gha/default',
  instanceId: INSTANCE,
  autoScalingGroup: GROUP,
  at: '2026-11-23T02:59:59Z',
};

/** One report of each kind. */
export const REPORTS = {
  heartbeat: { report: 'Runner Heartbeat', ...SENDER, phase: 'drain' },
  ready: {
    report: 'Runner Ready',
    ...SENDER,
    snapshot: {
      set: 'default',
      outcome: 'previous',
      id: '20261122T030000Z-0a1b2c3d',
      broken: { id: '20261123T030000Z-0a1b2c3d', reason: 'chunk 3 has another checksum' },
    },
    seconds: { restore: 3, boot: 20 },
  },
  failed: { report: 'Runner Failed', ...SENDER, stage: 'agent', reason: 'no token' },
  drained: { report: 'Runner Drained', ...SENDER, seconds: { drain: 7 } },
  idle: { report: 'Runner Idle', ...SENDER, idleSeconds: 600 },
  unhealthy: { report: 'Runner Unhealthy', ...SENDER, reason: 'Bazel exit 37' },
} satisfies Record<string, Report>;

/**
 * One group with one instance. Waiting hooks are completed, everything else has no action; what was calls for is written
 * down, and any call can be made to fail.
 */
export class FakeFleet {
  /** Undefined: no group contains the instance. */
  state: string | undefined = 'InService';
  group = GROUP;
  sizes: { min: number; desired: number } | undefined = { min: 1, desired: 3 };
  /** The role id in the tag of each group; undefined: the group has no such tag. */
  readonly roleIds = new Map<string, string | undefined>([[GROUP, ROLE_ID]]);
  /** Reads of groups, by name. */
  readonly reads: string[] = [];
  now = NOW;
  /** The limit of a drain in the tag of each group. */
  drainTimeoutSeconds: number | undefined;
  /** Whether the bucket is out of reach. */
  isBucketGone = false;
  /** Whether a `*:Wait` state has an active action already; at AWS it has one a moment later. */
  actionsBegun = true;
  /** Auto Scaling's refusal of a termination. */
  refusal: string | undefined;
  error: Error | undefined;
  /** Aborts at the time limit of each record. */
  readonly limit = new AbortController();
  /** Whether the time limit passes while the group is read. */
  isLate = false;
  publishError: Error | undefined;

  readonly calls: string[] = [];
  readonly warnings: string[] = [];
  readonly store = memoryStore(() => this.now);
  readonly published: Report[] = [];
  readonly measurements: { name: string; value: number; dimensions: object }[] = [];

  private readonly port: AutoScalingPort = {
    complete: async ({ autoScalingGroup, hook, instanceId }, result) =>
      this.applyToHook(`complete ${result} ${autoScalingGroup} ${hook} ${instanceId}`, hook),
    heartbeat: async ({ autoScalingGroup, hook, instanceId }) =>
      this.applyToHook(`heartbeat ${autoScalingGroup} ${hook} ${instanceId}`, hook),
    describeInstance: async () => {
      this.throwError();
      return this.state === undefined
        ? undefined
        : { autoScalingGroup: this.group, lifecycleState: this.state };
    },
    describeGroup: async (name) => {
      this.reads.push(name);
      this.throwError();
      if (this.isLate) this.limit.abort();
      if (!this.sizes || !this.roleIds.has(name)) return undefined;
      const roleId = this.roleIds.get(name);
      const tags = new Map([[WARMING_SET_TAG, 'default']]);
      if (roleId !== undefined) tags.set(ROLE_ID_TAG, roleId);
      if (this.drainTimeoutSeconds) tags.set(DRAIN_TIMEOUT_TAG, String(this.drainTimeoutSeconds));
      return { ...this.sizes, tags };
    },
    listGroups: async () => new Map(),
    terminate: async (instanceId, decrement) => {
      this.calls.push(`terminate ${instanceId}${decrement ? ' and shrink' : ''}`);
      this.throwError();
      return this.refusal === undefined ? { applied: true } : { applied: false, refusal: this.refusal };
    },
  };

  private readonly clock = { now: () => this.now };
  /** As in one execution environment: the cache lives longer than a record. */
  private readonly roles = groupRoles(this.port, this.clock);

  private readonly metrics: MetricSink = {
    add: (name, value, dimensions) => {
      this.measurements.push({ name, value, dimensions });
    },
  };

  /** As in one execution environment. */
  readonly limits = reportLimits({
    reportsQueue: 'aw-reports',
    clock: this.clock,
    logger: { warn: (line) => void this.warnings.push(line) },
    metrics: this.metrics,
  });

  /** The outcome of a report, sent `ageSeconds` ago by `senderId`. */
  report(
    body: unknown,
    options: { ageSeconds?: number; senderId?: string; id?: string } = {},
  ): Promise<Outcome> {
    const { ageSeconds = 0, senderId = `${ROLE_ID}:${INSTANCE}`, id } = options;
    return this.handle(body, 'aw-reports', senderId, ageSeconds, { ...(id && { id }) });
  }

  /** The outcome of a message in the inbox of events. */
  event(body: unknown, options: { ageSeconds?: number; account?: string } = {}): Promise<Outcome> {
    const { ageSeconds = 0, account } = options;
    return this.handle(body, 'aw-lifecycle-inbox', 'AIDAEVENTBRIDGE', ageSeconds, {
      ...(account && { account }),
    });
  }

  private handle(
    body: unknown,
    queue: string,
    senderId: string,
    ageSeconds: number,
    change: { account?: string; id?: string },
  ): Promise<Outcome> {
    const sentAt = new Date(this.now.getTime() - ageSeconds * 1000);
    const { signal } = this.limit;
    return outcomeOf(this.handleMessage(message(body, { queue, senderId, sentAt, signal, ...change })));
  }

  /** As the record loop calls the function. */
  handleMessage(received: Message): Promise<Outcome> {
    return handleLifecycleMessage(received, {
      prefix: 'aw',
      reportsQueue: 'aw-reports',
      autoScaling: this.port,
      roles: this.roles,
      limits: this.limits,
      groups: { all: async () => [] },
      store: this.isBucketGone
        ? { ...this.store, read: () => Promise.reject(new Error('no bucket')) }
        : this.store,
      logger: { warn: (line) => void this.warnings.push(line) },
      metrics: this.metrics,
      clock: this.clock,
      events: {
        publish: async (report) => {
          if (this.publishError) throw this.publishError;
          this.published.push(report);
        },
      },
    });
  }

  private applyToHook(calls: string, hook: string): ChangeResult {
    this.calls.push(calls);
    this.throwError();
    const waitsFor = { 'aw-boot': /Pending:Wait$/, 'aw-drain': /Terminating:Wait$/ }[hook];
    const isWaiting = this.actionsBegun && this.state !== undefined && waitsFor?.test(this.state);
    if (!isWaiting) return NO_ACTION;
    if (calls.startsWith('complete')) this.state = 'Proceeding';
    return { applied: true };
  }

  private throwError(): void {
    if (this.error) throw this.error;
  }
}
