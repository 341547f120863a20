import type { AutoScalingPort, ChangeResult, HookAction } from '../../functions/lifecycle/ports.ts';

/** States of the one simulated instance. */
export type ModelState =
  | 'Pending'
  | 'Pending:Wait'
  | 'InService'
  | 'Terminating'
  | 'Terminating:Wait'
  | 'Terminated';

/** How a wait ended. */
export type WaitEnd = {
  hook: 'aw-boot' | 'aw-drain';
  by: 'CONTINUE' | 'ABANDON' | 'timeout';
  /** Whether the instance was terminated while a job ran. */
  killedJob: boolean;
};

export const GROUP = 'aw-gha-default';
export const INSTANCE = 'i-0123456789abcdef0';

/** Heartbeat timeout of both hooks, in seconds. */
export const HEARTBEAT_TIMEOUT = 60;

/** Auto Scaling has one error for too late and for too early. */
const NO_ACTION: ChangeResult = {
  applied: false,
  refusal: 'No active Lifecycle Action found with instance ID',
};

/** Seconds between a transition and the start of its hook: a report can be premature. */
const HOOK_DELAY = 3;

/** Auto Scaling with one group, one instance and two hooks, in seconds of simulated time. */
export class AutoScalingModel implements AutoScalingPort {
  state: ModelState = 'Pending';
  desired = 1;
  readonly min: number;
  readonly ends: WaitEnd[] = [];
  /** Evaluated when a wait ends. */
  jobRunning: () => boolean = () => false;
  private now = 0;
  private changeAt = HOOK_DELAY;
  private calls = 0;
  private readonly throttled: readonly boolean[];

  /** @param throttled whether the first, second, … call is throttled; later calls are not */
  constructor(min: number, throttled: readonly boolean[]) {
    this.min = min;
    this.throttled = throttled;
  }

  /** Advances the time. Waits without heartbeats time out. */
  advance(seconds: number): void {
    this.now += seconds;
    if (this.state === 'Pending' && this.now >= this.changeAt) this.enter('Pending:Wait', HEARTBEAT_TIMEOUT);
    if (this.state === 'Terminating' && this.now >= this.changeAt)
      this.enter('Terminating:Wait', HEARTBEAT_TIMEOUT);
    if (this.now < this.changeAt) return;
    if (this.state === 'Pending:Wait') this.endWait('aw-boot', 'timeout');
    if (this.state === 'Terminating:Wait') this.endWait('aw-drain', 'timeout');
  }

  /** A scale-in or an operator: through the hook, as every termination, also of an instance that boots. */
  beginTermination(): void {
    if (/^(Pending|InService)/.test(this.state)) this.enter('Terminating', HOOK_DELAY);
  }

  async complete({ hook, instanceId }: HookAction, result: 'CONTINUE' | 'ABANDON'): Promise<ChangeResult> {
    this.throttleCall();
    const active = this.activeHook();
    if (instanceId !== INSTANCE || hook !== active) return NO_ACTION;
    this.endWait(active, result);
    return { applied: true };
  }

  async heartbeat({ hook, instanceId }: HookAction): Promise<ChangeResult> {
    this.throttleCall();
    if (instanceId !== INSTANCE || hook !== this.activeHook()) return NO_ACTION;
    this.changeAt = this.now + HEARTBEAT_TIMEOUT;
    return { applied: true };
  }

  async describeInstance(instanceId: string) {
    this.throttleCall();
    if (instanceId !== INSTANCE || this.state === 'Terminated') return undefined;
    return { autoScalingGroup: GROUP, lifecycleState: this.state };
  }

  async describeGroup(name: string) {
    this.throttleCall();
    return name === GROUP ? { min: this.min, desired: this.desired } : undefined;
  }

  async terminate(instanceId: string, decrement: boolean): Promise<ChangeResult> {
    this.throttleCall();
    if (instanceId !== INSTANCE || this.state === 'Terminated') {
      return {
        applied: false,
        refusal: `Instance Id not found - No managed instance found for ${instanceId}`,
      };
    }
    if (decrement && this.desired <= this.min) {
      return {
        applied: false,
        refusal: 'Currently, desiredSize equals minSize. Terminating would violate it',
      };
    }
    if (decrement) this.desired -= 1;
    this.beginTermination();
    return { applied: true };
  }

  private throttleCall(): void {
    this.calls += 1;
    if (!this.throttled[this.calls - 1]) return;
    throw Object.assign(new Error('Rate exceeded'), { name: 'ThrottlingException' });
  }

  private activeHook(): WaitEnd['hook'] | undefined {
    if (this.state === 'Pending:Wait') return 'aw-boot';
    return this.state === 'Terminating:Wait' ? 'aw-drain' : undefined;
  }

  private enter(state: ModelState, seconds: number): void {
    this.state = state;
    this.changeAt = this.now + seconds;
  }

  private endWait(hook: WaitEnd['hook'], by: WaitEnd['by']): void {
    const serves = hook === 'aw-boot' && by === 'CONTINUE';
    this.ends.push({ hook, by, killedJob: !serves && this.jobRunning() });
    this.state = serves ? 'InService' : 'Terminated';
  }
}
