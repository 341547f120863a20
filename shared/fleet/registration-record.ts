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
  /** When the labels of the latest registration were removed, or the provider refused to. */
  watchedSince: v.optional(instant),
  /** Since when the provider reports the latest registration as busy although its agent has ended. */
  busySince: v.optional(instant),
});
export type RegistrationRecord = v.InferOutput<typeof registrationRecordSchema>;

export function recordKey(instanceId: string): string {
  return `${RECORDS}${instanceId}.json`;
}
