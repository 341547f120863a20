import type { Call } from './call.ts';
import type { Feed } from './feed.ts';
import type { Batch, FunctionsLog } from './functions-log.ts';

/** How a function handled one message, the first time that it received it. */
export type Handled = {
  outcome: 'done' | 'skipped' | 'retry' | 'dead';
  reason: string | undefined;
  detail: Record<string, unknown> | undefined;
  /** Every call that the function made meanwhile, in order. */
  calls: readonly Call[];
};

/**
 * Waits until a message has been handled once.
 *
 * @param seconds longest wait
 * @returns undefined if no function received it in time
 */
export async function handledMessage(
  parts: { log: FunctionsLog; calls: Feed<Call> },
  messageId: string,
  seconds: number,
): Promise<Handled | undefined> {
  const batch = await firstBatch(parts.log, messageId, seconds * 1000);
  if (!batch) return undefined;
  const outcome = parts.log.outcomes.all.find((one) => one.messageId === messageId);
  return {
    // When a function throws, SQS delivers its records again.
    outcome: outcome?.outcome ?? 'retry',
    reason: outcome ? outcome.reason : `function-error: ${batch.error ?? 'the record was not logged'}`,
    detail: outcome?.detail,
    calls: parts.calls.all.filter((call) => madeDuring(batch, call)),
  };
}

function firstBatch({ batches }: FunctionsLog, messageId: string, ms: number): Promise<Batch | undefined> {
  const holds = (batch: Batch) => batch.messageIds.includes(messageId);
  const already = batches.all.find(holds);
  if (already) return Promise.resolve(already);
  return new Promise((resolve) => {
    const finish = (batch: Batch | undefined) => {
      clearTimeout(timer);
      unfollow();
      resolve(batch);
    };
    const timer = setTimeout(() => finish(undefined), ms);
    const unfollow = batches.follow((batch) => {
      if (holds(batch)) finish(batch);
    });
  });
}

/** A worker has its own key and one batch at a time, so key and time identify the batch of a call. */
function madeDuring({ accessKeyId, startedAt, endedAt }: Batch, call: Call): boolean {
  return call.accessKeyId === accessKeyId && call.at >= startedAt && (!endedAt || call.at <= endedAt);
}
