import { autoScalingClient } from '../../shared/runtime/clients/auto-scaling.ts';
import { eventBridgeClient } from '../../shared/runtime/clients/eventbridge.ts';
import { defineFunction } from '../../shared/runtime/define-function.ts';
import { queueName } from '../../shared/runtime/message.ts';
import { autoScalingPort } from './auto-scaling.ts';
import { reportBus } from './bus.ts';
import { lifecycleEnv } from './env.ts';
import { handleLifecycleMessage } from './handle.ts';

export const handler = defineFunction({
  name: 'lifecycle',
  env: lifecycleEnv,
  extraInboxes: ['REPORTS_URL'],
  connect: (env, { metrics, clock }) => ({
    prefix: env.NAME_PREFIX,
    reportsQueue: queueName(env.REPORTS_URL),
    autoScaling: autoScalingPort(autoScalingClient()),
    bus: reportBus(eventBridgeClient(), env.EVENT_BUS),
    metrics,
    clock,
  }),
  handle: handleLifecycleMessage,
});
