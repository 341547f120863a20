import { CloudWatchClient } from '@aws-sdk/client-cloudwatch';
import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { secretReader } from '../../shared/aws/secret-reader.ts';
import { clientSettings } from '../../shared/runtime/client-settings.ts';
import { defineFunction } from '../../shared/runtime/define-function.ts';
import { cloudWatchAlarms } from './adapters/cloudwatch-alarms.ts';
import { pagerDuty } from './adapters/pagerduty.ts';
import { alarmsEnv } from './env.ts';
import { handleAlarmMessage, retryForMs } from './handle.ts';
import { PER_ENVIRONMENT, pacedPager } from './pace.ts';
import { routingFrom } from './routes.ts';

export const handler = defineFunction({
  name: 'alarms',
  env: alarmsEnv,
  retryFor: retryForMs,
  connect: (env, { clock, logger, metrics }) => ({
    prefix: env.NAME_PREFIX,
    alarms: cloudWatchAlarms(new CloudWatchClient(clientSettings('lambda'))),
    pager: pacedPager(pagerDuty(env.PAGERDUTY_URL, clock), PER_ENVIRONMENT, clock),
    routing: routingFrom(
      secretReader(new SecretsManagerClient(clientSettings('lambda')), env.ROUTING_SECRET_ID, clock),
    ),
    seriesResolves: new Map(),
    metrics,
    logger,
    clock,
  }),
  handle: handleAlarmMessage,
});
