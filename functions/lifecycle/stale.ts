import { type Outcome, skipped } from '../../shared/runtime/outcome.ts';
import { outcomeOfError } from '../../shared/runtime/record.ts';

/**
 * Age, in milliseconds, after which a heartbeat, an idle report or a Spot notice is stale: a heartbeat follows each minute, an
 * idle report each five, and a Spot notice is over after two (EC2 User Guide, "Spot interruption notices").
 */
export const STALE_MS = 300_000;

/**
 * Runs `work` for a message that a later one replaces. A failure of a stale message is neither retried nor an alarm.
 *
 * @param ageMs age of the message
 */
export async function dropWhenStale(ageMs: number, work: () => Promise<Outcome>): Promise<Outcome> {
  const outcome = await work().catch(outcomeOfError);
  if (outcome.outcome !== 'retry' || ageMs <= STALE_MS) return outcome;
  return skipped('stale', { ...outcome.detail, failure: outcome.reason });
}
