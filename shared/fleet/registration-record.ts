import * as v from 'valibot';

/** Folder of the records in the bucket of the deployment. */
export const RECORDS = 'registrations/';

const instant = v.pipe(v.string(), v.isoTimestamp());

/** What the function `registration` remembers per instance. It holds no credential. */
export const registrationRecordSchema = v.object({
  version: v.literal(1),
  /** Number of the latest registration. A number is never used again. */
  n: v.pipe(v.number(), v.integer(), v.minValue(0)),
  /** When the provider was last asked for this instance. */
  at: instant,
  /** The provider's identifier of the latest registration. Absent: unknown, since the answer was lost, or there is none. */
  id: v.optional(v.number()),
  /** Whether the provider has removed the latest registration, or has refused to issue it. */
  removed: v.optional(v.boolean()),
  /** Whether the budget has refused the next registration since. */
  waiting: v.optional(v.boolean()),
  /** When the labels of the latest registration were removed, or the provider refused to. */
  watchedSince: v.optional(instant),
  /** Since when the provider reports the latest registration as busy although its agent has ended. */
  busySince: v.optional(instant),
});
export type RegistrationRecord = v.InferOutput<typeof registrationRecordSchema>;

/** What the last sweep of `registration` found, for `lifecycle` and `scaling`. Not a name of an instance's record. */
export const SWEEP_KEY = `${RECORDS}sweep.json`;

const sweepSchema = v.object({
  version: v.literal(2),
  /** When the sweep read the instances. */
  at: instant,
  /** Instances in service without a registration, with the time of the first of the sweeps in a row that found them so. */
  withoutAgent: v.record(v.string(), instant),
  /**
   * Those of them that have requested none either, although requests of their group are answered: what is wrong is on the
   * instance.
   */
  silent: v.array(v.string()),
  /** Instances whose runners the provider lists as busy. Its view is wrong at times, so nothing but a larger capacity follows from it. */
  busy: v.optional(v.array(v.string()), []),
});
export type Sweep = v.InferOutput<typeof sweepSchema>;

/** The sweep in the text of its object, or undefined if there is none in this format. */
export function parseSweep(text: string | undefined): Sweep | undefined {
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), sweepSchema), text);
  return parsed.success ? parsed.output : undefined;
}

export function recordKey(instanceId: string): string {
  return `${RECORDS}${instanceId}.json`;
}
