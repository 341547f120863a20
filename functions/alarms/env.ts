import { text, url } from '../../shared/runtime/env.ts';

/** Environment of `alarms`; `function.json` names the same values. */
export const alarmsEnv = {
  /** The prefix of the deployment: its alarms start with it and a dash. */
  NAME_PREFIX: text,
  /** Name or ARN of the secret with the routing key or routes. */
  ROUTING_SECRET_ID: text,
  /** Base URL of PagerDuty's Events API, without a path. The EU has its own host. */
  PAGERDUTY_URL: url,
};
