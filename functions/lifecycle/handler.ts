import { AutoScalingClient } from '@aws-sdk/client-auto-scaling';
import { EventBridgeClient } from '@aws-sdk/client-eventbridge';
import { clientSettings } from '../../shared/runtime/client-settings.ts';
import { defineFunction } from '../../shared/runtime/define-function.ts';
import { queueName } from '../../shared/runtime/message.ts';
import { autoScalingPort } from './adapters/auto-scaling.ts';
import { eventPublisher } from './adapters/event-publisher.ts';
import { lifecycleEnv } from './env.ts';
import { groupRoles } from './group-roles.ts';
import { handleLifecycleMessage, RETRY_FOR_MS } from './handle.ts';

export const handler = defineFunction({
  name: 'lifecycle',
  env: lifecycleEnv,
  extraInboxes: ['REPORTS_URL'],
  retryFor: RETRY_FOR_MS,
  connect: (env, { metrics, clock }) => {
    const autoScaling = autoScalingPort(new AutoScalingClient(clientSettings('lambda')));
    return {
      prefix: env.NAME_PREFIX,
      reportsQueue: queueName(env.REPORTS_URL),
      autoScaling,
      roles: groupRoles(autoScaling, clock),
      events: eventPublisher(new EventBridgeClient(clientSettings('lambda')), env.EVENT_BUS, env.NAME_PREFIX),
      metrics,
      clock,
    };
  },
  handle: handleLifecycleMessage,
});
