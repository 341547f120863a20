import type { FunctionSpec } from '../../../shared/runtime/function-spec.ts';
import { eventBusName, type QueueNames } from './names.ts';
import { type Deployment, ROUTING_SECRET, WEBHOOK_SECRETS } from './settings.ts';

/**
 * A function's environment: the common values, the values that its function.json names, and those of the wrapper.
 *
 * @throws if function.json names a value that the deployment does not provide
 */
export function environmentOf(
  spec: FunctionSpec,
  deployment: Deployment,
  names: QueueNames,
  gatewayUrl: string,
): Record<string, string> {
  const values = deploymentValues(deployment, names);
  const named = spec.environment.map((name) => {
    const value = values[name];
    if (value === undefined) {
      throw new Error(
        `functions/${spec.name}/function.json names ${name}, which a deployment does not provide`,
      );
    }
    return [name, value];
  });
  return {
    INBOX_URL: names.url(names.inbox(spec.name)),
    DEAD_LETTER_URL: names.url(names.dead(spec.name)),
    ...Object.fromEntries(named),
    AWS_ENDPOINT_URL: gatewayUrl,
    LOCAL_FUNCTION: spec.name,
    LOCAL_TIMEOUT_SECONDS: String(spec.timeoutSeconds),
  };
}

function deploymentValues(deployment: Deployment, names: QueueNames): Record<string, string> {
  const sets = Object.entries(deployment.warmingSets).map(([name, { schedule: _, ...set }]) => [name, set]);
  return {
    NAME_PREFIX: deployment.prefix,
    BUCKET: deployment.bucket,
    ACCOUNT_ID: deployment.home.account,
    REPORTS_URL: names.url(names.extra('reports')),
    EVENT_BUS: eventBusName(deployment.prefix),
    SCALING_INBOX_URL: names.url(names.inbox('scaling')),
    WEBHOOK_SECRETS: JSON.stringify(WEBHOOK_SECRETS),
    WARMING_SETS: JSON.stringify(Object.fromEntries(sets)),
    ROUTING_SECRET_ID: ROUTING_SECRET,
    PAGERDUTY_URL: deployment.pagerDutyUrl,
    PARAMETER_ROOT: `/${deployment.prefix}`,
    REPLICA_REGIONS: JSON.stringify(deployment.replicaRegions),
  };
}
