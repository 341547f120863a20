import { CloudWatchClient } from '@aws-sdk/client-cloudwatch';
import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { secretReader } from '../../shared/aws/secret-reader.ts';
import { clientSettings } from '../../shared/runtime/client-settings.ts';
import { defineFunction } from '../../shared/runtime/define-function.ts';
import { cloudWatchAlarms } from './alarm-source.ts';
import { alarmsEnv } from './env.ts';
import { handleAlarmMessage, RETRY_FOR_MS } from './handle.ts';
import { pagerDuty } from './pagerduty.ts';
import { routingFrom } from './routes.ts';

export const handler = defineFunction({
  name: 'alarms',
  env: alarmsEnv,
  retryFor: RETRY_FOR_MS,
  connect: (env, { clock, logger, metrics }) => {
    return {
      prefix: env.NAME_PREFIX,
      alarms: cloudWatchAlarms(new CloudWatchClient(clientSettings('lambda'))),
      pager: pagerDuty(env.PAGERDUTY_URL, clock),
      routing: routingFrom(
        secretReader(new SecretsManagerClient(clientSettings('lambda')), env.ROUTING_SECRET_ID, clock),
      ),
      clock,
      count: (metric: 'IncidentsSent' | 'IncidentsUnsent', value: number) => metrics.add(metric, value, {}),
      warn: (message: string, detail: Record<string, unknown>) => logger.warn(message, detail),
    };
  },
  handle: handleAlarmMessage,
});
