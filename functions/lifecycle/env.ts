import { text, url } from '../../shared/runtime/env.ts';

/** Environment of `lifecycle`; `function.json` lists the same names. */
export const lifecycleEnv = {
  /** The prefix of the deployment, part of the names of groups and hooks. */
  NAME_PREFIX: text,
  /** The bucket of the deployment, with the declared groups and the records of this function. */
  BUCKET: text,
  /** The queue that runners send reports to. */
  REPORTS_URL: url,
  /** Name or ARN of the event bus for verified reports, to which this function alone may publish. */
  EVENT_BUS: text,
};
