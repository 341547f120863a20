import type { Report } from '../../shared/fleet/report.ts';

/** A hook of one instance of a group, as Auto Scaling knows it. */
export type HookAction = { autoScalingGroup: string; hook: string; instanceId: string };

/** Where an instance stands, as Auto Scaling says. */
export type InstanceState = { autoScalingGroup: string; lifecycleState: string };

/** What Auto Scaling answered to a request: that it is done, or in its own words why it refuses it. */
export type Answer = { applied: true } | { applied: false; said: string };

/**
 * The part of Auto Scaling that this function uses. A refusal that tells something about the instance or its group
 * (`ValidationError`) is an answer; any other error is thrown.
 */
export interface AutoScalingPort {
  complete(action: HookAction, result: 'CONTINUE' | 'ABANDON'): Promise<Answer>;
  heartbeat(action: HookAction): Promise<Answer>;
  /** Undefined if no group has the instance (any more). */
  describeInstance(instanceId: string): Promise<InstanceState | undefined>;
  /** Sizes of a group, or undefined if there is no such group. */
  describeGroup(name: string): Promise<{ min: number; desired: number } | undefined>;
  /** Through the terminate hook, as every termination. */
  terminate(instanceId: string, decrement: boolean): Promise<Answer>;
}

/** Where verified reports go, for whoever else listens. */
export interface ReportBus {
  publish(report: Report): Promise<void>;
}
