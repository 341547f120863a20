import { text, url } from '../../shared/runtime/env.ts';

/** Environment of `lifecycle`; `function.json` names the same values. */
export const lifecycleEnv = {
  /** The deployment's prefix: groups and hooks are named after it. */
  NAME_PREFIX: text,
  /** The queue that runners report to. */
  REPORTS_URL: url,
  /** Name or ARN of the bus that verified reports are put on. */
  EVENT_BUS: text,
};
