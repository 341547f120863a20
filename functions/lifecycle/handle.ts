import * as v from 'valibot';
import type { Clock } from '../../shared/runtime/clock.ts';
import { type Ending, skipped } from '../../shared/runtime/ending.ts';
import { parseEnvelope } from '../../shared/runtime/envelope.ts';
import { endingOfError } from '../../shared/runtime/inbox.ts';
import type { Message } from '../../shared/runtime/message.ts';
import type { MetricSink } from '../../shared/runtime/metrics.ts';
import { handleAwsEvent } from './aws-event.ts';
import { measure } from './measure.ts';
import type { AutoScalingPort, ReportBus } from './ports.ts';
import { actOn } from './reports.ts';
import { verifyReport } from './verify-report.ts';

/**
 * How long a message is tried at most, in milliseconds. A hook that nobody prolongs is over after its heartbeat timeout,
 * minutes as the module sets it, and the message is skipped then; an hour is for what others want to know.
 */
const GIVE_UP_MS = 3_600_000;

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

/** Brings one message of either queue to its ending. */
export async function handleLifecycleMessage(message: Message, deps: LifecycleDeps): Promise<Ending> {
  const ending = await endingOf(message, deps);
  if (ending.ending !== 'retry') return ending;
  return { deadline: new Date(message.sentAt.getTime() + GIVE_UP_MS), ...ending };
}

async function endingOf(message: Message, deps: LifecycleDeps): Promise<Ending> {
  const context = { ...deps, ageMs: deps.clock.now().getTime() - message.sentAt.getTime() };
  try {
    if (message.queue === deps.reportsQueue) return await handleReport(message, context);
    if (v.is(testNotification, message.body)) return skipped('test-notification');
    return await handleAwsEvent(parseEnvelope(message.body), context);
  } catch (error) {
    return endingOfError(error);
  }
}

/**
 * Acts first and tells the bus then: a report that is tried again because the bus refused it finds its hook completed,
 * and is published all the same.
 */
async function handleReport(message: Message, context: LifecycleDeps & { ageMs: number }): Promise<Ending> {
  const report = verifyReport(message, context.prefix);
  const { ending, confirmed } = await actOn(report, context);
  if (ending.ending === 'done') measure(report, context.metrics);
  if (confirmed && ending.ending !== 'retry') await context.bus.publish(report);
  return ending;
}
