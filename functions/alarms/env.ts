import { text, url } from '../../shared/runtime/env.ts';

/** Environment of `alarms`; `function.json` names the same values. */
export const alarmsEnv = {
  /** Only alarms whose name starts with it, and a dash, are ours. */
  NAME_PREFIX: text,
  /** Name or ARN of the secret with the routing key or routes. */
  ROUTING_SECRET_ID: text,
  /** Where PagerDuty's Events API lives, without path: it has a host of its own in the EU. */
  PAGERDUTY_URL: url,
};
