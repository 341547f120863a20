import * as v from 'valibot';
import { parseGroupId, SET_NAME } from '../../shared/fleet/names.ts';
import { json, text } from '../../shared/runtime/env.ts';

const positive = (max: number) => v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(max));

const groupId = v.pipe(
  v.string(),
  v.check((id) => parseGroupId(id) !== undefined, 'must be <provider>/<name>'),
);

const warmingSet = v.object({
  /** The warming group of the set, as `<provider>/<name>`. */
  group: groupId,
  /** Minutes after which a run fails. */
  deadlineMinutes: positive(24 * 60),
  /** Number of snapshots to keep, the current one included. */
  keep: positive(100),
});

/** A warming set, as the deployment declares it. */
export type WarmingSet = v.InferOutput<typeof warmingSet>;

/** Environment of `warming`; `function.json` lists the same names. */
export const warmingEnv = {
  NAME_PREFIX: text,
  /** The snapshot bucket. */
  BUCKET: text,
  /** JSON: the warming sets by name. */
  WARMING_SETS: json(v.record(v.pipe(v.string(), v.regex(SET_NAME)), warmingSet)),
};
