import { text } from '../../shared/runtime/env.ts';

/** Environment of `scaling`; `function.json` lists the same names. */
export const scalingEnv = {
  /** The prefix of the deployment, part of the names of groups. */
  NAME_PREFIX: text,
  /** The bucket of the deployment: `config/groups.json`, the record of the backlog, and records of registrations. */
  BUCKET: text,
};
