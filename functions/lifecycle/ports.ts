import type { ChangeResult, GroupState, HookAction, InstanceState } from '../../shared/aws/auto-scaling.ts';
import type { Report } from '../../shared/fleet/report.ts';

export type { ChangeResult, GroupState, HookAction, InstanceState };

/**
 * The part of Auto Scaling that this function uses. A refusal that depends on the state of the instance or of its group
 * (`ValidationError`) is a result; any other error is thrown.
 */
export interface AutoScalingPort {
  complete(action: HookAction, result: 'CONTINUE' | 'ABANDON'): Promise<ChangeResult>;
  heartbeat(action: HookAction): Promise<ChangeResult>;
  /** Undefined if no group contains the instance, or none contains it any more. */
  describeInstance(instanceId: string): Promise<InstanceState | undefined>;
  /** Sizes and tags of a group, or undefined if there is no such group. */
  describeGroup(name: string): Promise<Pick<GroupState, 'min' | 'desired' | 'tags'> | undefined>;
  /** The groups of the deployment, by name. */
  listGroups(): Promise<ReadonlyMap<string, GroupState>>;
  /** Terminates through the terminate hook. */
  terminate(instanceId: string, decrement: boolean): Promise<ChangeResult>;
}

/** Publishes verified reports to the event bus. */
export interface EventPublisher {
  publish(report: Report): Promise<void>;
}
