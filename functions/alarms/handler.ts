import { cloudWatchClient } from '../../shared/runtime/clients/cloudwatch.ts';
import { secretsManagerClient } from '../../shared/runtime/clients/secrets-manager.ts';
import { defineFunction } from '../../shared/runtime/define-function.ts';
import { secretReader } from '../../shared/aws/secret-reader.ts';
import { cloudWatchAlarms } from './alarm-source.ts';
import { alarmsEnv } from './env.ts';
import { handleAlarmMessage } from './handle.ts';
import { pagerDuty } from './pagerduty.ts';
import { routingFrom } from './routes.ts';

export const handler = defineFunction({
  name: 'alarms',
  env: alarmsEnv,
  connect: (env, { clock, logger, metrics }) => {
    return {
      prefix: env.NAME_PREFIX,
      alarms: cloudWatchAlarms(cloudWatchClient()),
      pager: pagerDuty(env.PAGERDUTY_URL, clock),
      routing: routingFrom(secretReader(secretsManagerClient(), env.ROUTING_SECRET_ID, clock)),
      clock,
      count: (metric: 'IncidentsSent' | 'IncidentsUnsent', value: number) => metrics.add(metric, value, {}),
      warn: (message: string, detail: Record<string, unknown>) => logger.warn(message, detail),
    };
  },
  handle: (message, deps) => handleAlarmMessage(message, deps.prefix, deps),
});
