import type { Observer } from './gateway/gateway.ts';
import { CHANGING_OPERATIONS, parameterEvents } from './parameter-events/changes.ts';
import type { Home, PublishEvent } from './service.ts';

/**
 * Puts `Parameter Store Change` events on the bus, derived from the calls that pass the gateway. It covers the home region
 * only: the buses of other regions have no rules.
 */
export function parameterObserver(
  home: Home,
  publish: PublishEvent,
  onError: (error: unknown) => void,
): Observer {
  const types = new Map<string, string>();
  return {
    service: 'ssm',
    operations: [...CHANGING_OPERATIONS],
    observe(request, answer) {
      if (request.region !== home.region || answer.status !== 200) return;
      const call = {
        operation: request.operation,
        request: JSON.parse(request.body.toString('utf8')),
        response: JSON.parse(answer.body || '{}'),
      };
      for (const event of parameterEvents(call, types, home)) publish(event).catch(onError);
    },
  };
}
