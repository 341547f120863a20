import type { SQSRecord } from 'aws-lambda';
import type { Report } from '../../shared/fleet/report.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { type Message, queueName } from '../../shared/runtime/message.ts';
import type { MetricSink } from '../../shared/runtime/metrics.ts';
import { dead, type Outcome, type Skipped, skipped } from '../../shared/runtime/outcome.ts';

/**
 * Most bytes of a report: a report with every text at its limit and each character escaped is smaller. The queue itself refuses
 * larger ones (`extraInboxBytes` of function.json), and one that arrives all the same is not read.
 */
export const MAX_REPORT_BYTES = 8_192;

/**
 * Time within which a further report of the same kind and sender is not applied, in milliseconds. A runner repeats a report after
 * 30 s at the earliest, and a hook waits for 30 s at least (Auto Scaling API reference, HeartbeatTimeout).
 */
const REPEAT_MS = 10_000;

/** Dead letters of one sender: so many at once, and then one in this time, in milliseconds. */
const SENDER_BURST = 3;
const SENDER_REFILL_MS = 600_000;

/** The same for all senders of an execution environment together: a principal that may choose its session has any number of them. */
const TOTAL_BURST = 30;
const TOTAL_REFILL_MS = 60_000;

/** Most senders that are remembered; then all are forgotten. */
const MAX_REMEMBERED = 10_000;

/** Least time between two log lines about dropped reports, in milliseconds. */
const LOG_MS = 10_000;

/**
 * Keeps one instance from using up what all share: calls to Auto Scaling, dead letters, log lines and the time of the function. The
 * limits count per execution environment, of which there are at most as many as the concurrency in function.json.
 */
export type ReportLimits = {
  /** Handles a record of the queue of reports within the limits of its sender. */
  guard(record: SQSRecord, handle: () => Promise<Outcome>): Promise<Outcome>;
  /** Whether another message has brought the same report of the same sender a moment ago. That one is applied, or retried. */
  isRepeated(message: Pick<Message, 'id' | 'senderId'>, report: Report): boolean;
  /** The outcome of a report that is dropped. Dropped reports are counted, and have one log line in ten seconds. */
  drop(outcome: Skipped, senderId: string): Outcome;
};

export function reportLimits({
  reportsQueue,
  clock,
  logger,
  metrics,
}: {
  reportsQueue: string;
  clock: Clock;
  logger: Pick<Logger, 'warn'>;
  metrics: MetricSink;
}): ReportLimits {
  const now = () => clock.now().getTime();
  const accepted = new Map<string, { messageId: string; at: number }>();
  const bySender = new Map<string, Allowance>();
  const total = allowance(TOTAL_BURST, TOTAL_REFILL_MS);
  let dropped = 0;
  let loggedAt = Number.NEGATIVE_INFINITY;

  function mayBury(senderId: string): boolean {
    if (bySender.size >= MAX_REMEMBERED) bySender.clear();
    const own = bySender.get(senderId) ?? allowance(SENDER_BURST, SENDER_REFILL_MS);
    bySender.set(senderId, own);
    return own.take(now()) && total.take(now());
  }

  function drop(outcome: Skipped, senderId: string): Outcome {
    dropped += 1;
    if (now() - loggedAt >= LOG_MS) {
      loggedAt = now();
      logger.warn('reports dropped', {
        reports: dropped,
        reason: outcome.reason,
        latestSender: senderId,
      });
      metrics.add('DroppedReports', dropped, {});
      dropped = 0;
    }
    return { ...outcome, quiet: true };
  }

  return {
    async guard(record, handle) {
      if (queueName(record.eventSourceARN) !== reportsQueue) return handle();
      const bytes = Buffer.byteLength(record.body);
      const outcome = bytes > MAX_REPORT_BYTES ? dead('oversized-report', { bytes }) : await handle();
      const { SenderId } = record.attributes;
      if (outcome.outcome !== 'dead' || mayBury(SenderId)) return outcome;
      return drop(skipped('too-many-dead-letters'), SenderId);
    },
    isRepeated({ id, senderId }, report) {
      const phase = report.report === 'Runner Heartbeat' ? report.phase : '';
      const key = `${senderId} ${report.report} ${phase}`;
      const last = accepted.get(key);
      if (last && now() - last.at < REPEAT_MS) return last.messageId !== id;
      if (accepted.size >= MAX_REMEMBERED) accepted.clear();
      accepted.set(key, { messageId: id, at: now() });
      return false;
    },
    drop,
  };
}

type Allowance = { take(now: number): boolean };

/** So many at once, and one more after each `refillMs`. */
function allowance(burst: number, refillMs: number): Allowance {
  let left = burst;
  let since: number | undefined;
  return {
    take(now) {
      since ??= now;
      const refilled = Math.floor((now - since) / refillMs);
      left = Math.min(burst, left + refilled);
      since += refilled * refillMs;
      if (left <= 0) return false;
      left -= 1;
      return true;
    },
  };
}
