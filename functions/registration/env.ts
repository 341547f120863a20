import * as v from 'valibot';
import { text } from '../../shared/runtime/env.ts';

/** Environment of `registration`; `function.json` lists the same names. */
export const registrationEnv = {
  /** The prefix of the deployment, part of the names of groups. */
  NAME_PREFIX: text,
  /** The bucket of the deployment: `config/groups.json` and the records of registrations. */
  BUCKET: text,
  /** The AWS account of the deployment. Callers of other accounts are denied. */
  ACCOUNT_ID: v.pipe(text, v.regex(/^\d{12}$/, 'must be 12 digits')),
};
