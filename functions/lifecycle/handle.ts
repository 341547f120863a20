import * as v from 'valibot';
import type { Clock } from '../../shared/runtime/clock.ts';
import { parseEnvelope } from '../../shared/runtime/envelope.ts';
import type { Message } from '../../shared/runtime/message.ts';
import type { MetricSink } from '../../shared/runtime/metrics.ts';
import { type Outcome, skipped } from '../../shared/runtime/outcome.ts';
import { handleAwsEvent } from './aws-event.ts';
import { measure } from './measure.ts';
import type { AutoScalingPort, ReportBus } from './ports.ts';
import { actOn } from './reports.ts';
import { verifyReport } from './verify-report.ts';

/**
 * How long a message is tried at most, in milliseconds. A hook that nobody prolongs is over after its heartbeat timeout,
 * minutes as the module sets it, and the message is skipped then; an hour is for what others want to know.
 */
export const RETRY_FOR_MS = 3_600_000;

export type LifecycleDeps = {
  prefix: string;
  /** Name of the queue that runners report to. */
  reportsQueue: string;
  autoScaling: AutoScalingPort;
  bus: ReportBus;
  metrics: MetricSink;
  clock: Clock;
};

/** What Auto Scaling sends to a newly added notification target. */
const testNotification = v.object({ Event: v.literal('autoscaling:TEST_NOTIFICATION') });

/** Handles one message of either queue. */
export async function handleLifecycleMessage(message: Message, deps: LifecycleDeps): Promise<Outcome> {
  const context = { ...deps, ageMs: deps.clock.now().getTime() - message.sentAt.getTime() };
  if (message.queue === deps.reportsQueue) return handleReport(message, context);
  if (v.is(testNotification, message.body)) return skipped('test-notification');
  return handleAwsEvent(parseEnvelope(message.body), context);
}

/**
 * Acts first and tells the bus then: a report that is tried again because the bus refused it finds its hook completed,
 * and is published all the same.
 */
async function handleReport(message: Message, context: LifecycleDeps & { ageMs: number }): Promise<Outcome> {
  const report = verifyReport(message, context.prefix);
  const { outcome, confirmed } = await actOn(report, context);
  if (outcome.outcome === 'done') measure(report, context.metrics);
  if (confirmed && outcome.outcome !== 'retry') await context.bus.publish(report);
  return outcome;
}
