import { type Outcome, skipped } from '../../shared/runtime/outcome.ts';
import { outcomeOfError } from '../../shared/runtime/record.ts';

/**
 * How long a message serves that is soon overtaken, in milliseconds: a heartbeat comes again each minute and an idle runner
 * says so every five, a Spot notice is over after two (EC2 User Guide, "Spot interruption notices").
 */
export const FRESH_MS = 300_000;

/**
 * Does what only serves for a while. Once the message is old a failure is not worth another try, and not worth an
 * alarm either: the next message, or Auto Scaling itself, has taken its place.
 *
 * @param ageMs of the message
 */
export async function whileFresh(ageMs: number, work: () => Promise<Outcome>): Promise<Outcome> {
  const outcome = await work().catch(outcomeOfError);
  if (outcome.outcome !== 'retry' || ageMs <= FRESH_MS) return outcome;
  return skipped('outdated', { ...outcome.detail, failure: outcome.reason });
}
