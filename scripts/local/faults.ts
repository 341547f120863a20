import { parseForm } from './autoscaling/query/form.ts';
import type { FaultHook, InjectedFault, ServiceRequest } from './service.ts';

/** Faults in the words of the services, and rules that say when a call meets one. */

/** What every AWS API answers when it is asked too often. */
export const THROTTLED: InjectedFault = { status: 400, code: 'Throttling', message: 'Rate exceeded' };

/** What Auto Scaling answers while another change of the same group is under way. */
export const CONTENDED: InjectedFault = {
  status: 500,
  code: 'ResourceContention',
  message: 'You already have a pending update to an Auto Scaling resource.',
};

/**
 * The answer that Auto Scaling now and then gives to a completion that comes right after its event: the action is not
 * found, although the instance waits.
 */
export function prematureCompletion(request: ServiceRequest): InjectedFault | undefined {
  if (request.operation !== 'CompleteLifecycleAction') return undefined;
  const form = parseForm(request.body.toString('utf8'));
  const token = form.text('LifecycleActionToken');
  const which = token === undefined ? `instance ID ${form.text('InstanceId')}` : `token ${token}`;
  return {
    status: 400,
    code: 'ValidationError',
    message: `No active Lifecycle Action found with ${which}`,
  };
}

/** Strikes a share of the calls. @param random in [0, 1), seeded where a run must be repeatable */
export function someOf(share: number, fault: InjectedFault, random: () => number = Math.random): FaultHook {
  return () => (random() < share ? fault : undefined);
}

/** Strikes the next `count` calls of an operation, then none. */
export function nextOf(
  operation: string,
  count: number,
  fault: InjectedFault | ((request: ServiceRequest) => InjectedFault | undefined),
): FaultHook {
  let left = count;
  return (request) => {
    if (request.operation !== operation || left === 0) return undefined;
    left -= 1;
    return typeof fault === 'function' ? fault(request) : fault;
  };
}

/** The first of the rules that strikes. */
export function anyOf(...hooks: FaultHook[]): FaultHook {
  return (request) => {
    for (const hook of hooks) {
      const fault = hook(request);
      if (fault !== undefined) return fault;
    }
    return undefined;
  };
}
