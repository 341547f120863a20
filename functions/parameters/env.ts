import * as v from 'valibot';
import { json, text } from '../../shared/runtime/env.ts';

/** Environment of `parameters`; `function.json` names the same values. */
export const parametersEnv = {
  NAME_PREFIX: text,
  /** The bucket with the declared part of the tree and the pointers of warming sets. */
  BUCKET: text,
  /** Path of the tree. This function writes nothing outside of it. */
  PARAMETER_ROOT: v.pipe(
    text,
    v.regex(/^(\/[A-Za-z0-9_.-]+)+$/, 'must be a path such as /aw'),
    // Parameter Store reserves these for AWS (Systems Manager User Guide, "Requirements and constraints").
    v.check((root) => !/^\/(aws|ssm)/i.test(root), 'must not begin with aws or ssm'),
  ),
  /** JSON: regions that get a copy of the tree. The home region among them has no effect. */
  REPLICA_REGIONS: json(v.array(v.pipe(v.string(), v.regex(/^[a-z]{2}(-[a-z]+)+-\d$/, 'must be a region')))),
};
