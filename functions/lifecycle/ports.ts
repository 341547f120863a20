import type { Report } from '../../shared/fleet/report.ts';

/** A hook of one instance of a group, as Auto Scaling knows it. */
export type HookAction = { autoScalingGroup: string; hook: string; instanceId: string };

/** Where an instance stands, as Auto Scaling says. */
export type InstanceState = { autoScalingGroup: string; lifecycleState: string };

/** What came of a call about a hook: `none` if AWS knows no such action (any more, or yet). */
export type HookOutcome = 'applied' | 'none';

/** What came of a request to let an instance go. */
export type TerminateOutcome = 'applied' | 'refused' | 'unknown-instance';

/**
 * The part of Auto Scaling that this function uses. Calls throw what the SDK throws, except where an outcome names
 * an error that is an answer.
 */
export interface AutoScalingPort {
  complete(action: HookAction, result: 'CONTINUE' | 'ABANDON'): Promise<HookOutcome>;
  heartbeat(action: HookAction): Promise<HookOutcome>;
  describeInstance(instanceId: string): Promise<InstanceState | undefined>;
  /** Sizes of a group, or undefined if there is no such group. */
  describeGroup(name: string): Promise<{ min: number; desired: number } | undefined>;
  /** Through the terminate hook, as every termination. */
  terminate(instanceId: string, decrement: boolean): Promise<TerminateOutcome>;
}

/** Where verified reports go, for whoever else listens. */
export interface ReportBus {
  publish(report: Report): Promise<void>;
}
