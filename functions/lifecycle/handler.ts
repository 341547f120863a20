import { AutoScalingClient } from '@aws-sdk/client-auto-scaling';
import { EventBridgeClient } from '@aws-sdk/client-eventbridge';
import { S3Client } from '@aws-sdk/client-s3';
import { declaredGroups } from '../../shared/fleet/declared-groups.ts';
import { clientSettings } from '../../shared/runtime/client-settings.ts';
import { defineFunction } from '../../shared/runtime/define-function.ts';
import { queueName } from '../../shared/runtime/message.ts';
import { s3Store } from '../../shared/snapshot/store.ts';
import { autoScalingPort } from './adapters/auto-scaling.ts';
import { eventPublisher } from './adapters/event-publisher.ts';
import { lifecycleEnv } from './env.ts';
import { groupRoles } from './group-roles.ts';
import { handleLifecycleMessage, RETRY_FOR_MS } from './handle.ts';
import { reportLimits } from './report-limits.ts';

export const handler = defineFunction({
  name: 'lifecycle',
  env: lifecycleEnv,
  extraInboxes: ['REPORTS_URL'],
  retryFor: RETRY_FOR_MS,
  connect: (env, { metrics, clock, logger }) => {
    const reportsQueue = queueName(env.REPORTS_URL);
    const autoScaling = autoScalingPort(new AutoScalingClient(clientSettings('lambda')), env.NAME_PREFIX);
    const store = s3Store(new S3Client(clientSettings('lambda')), env.BUCKET);
    return {
      prefix: env.NAME_PREFIX,
      reportsQueue,
      limits: reportLimits({ reportsQueue, clock, logger, metrics }),
      autoScaling,
      roles: groupRoles(autoScaling, clock),
      events: eventPublisher(new EventBridgeClient(clientSettings('lambda')), env.EVENT_BUS, env.NAME_PREFIX),
      groups: declaredGroups(store, clock),
      store,
      metrics,
      logger,
      clock,
    };
  },
  handle: handleLifecycleMessage,
  guard: (record, handle, { limits }) => limits.guard(record, handle),
});
