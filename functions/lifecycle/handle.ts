import * as v from 'valibot';
import type { Clock } from '../../shared/runtime/clock.ts';
import { parseEnvelope } from '../../shared/runtime/envelope.ts';
import type { Message } from '../../shared/runtime/message.ts';
import type { MetricSink } from '../../shared/runtime/metrics.ts';
import { dead, type Outcome, skipped } from '../../shared/runtime/outcome.ts';
import { handleLaunchFailure } from './launch-failure.ts';
import type { AutoScalingPort, EventPublisher } from './ports.ts';
import { handleReport } from './runner-report.ts';
import { handleSpotInterruption } from './spot-interruption.ts';

/**
 * Retry time of a message, in milliseconds. A hook without heartbeats ends after its heartbeat timeout of minutes, and its
 * message is skipped then. The hour is for what other functions subscribe to.
 */
export const RETRY_FOR_MS = 3_600_000;

export type LifecycleDeps = {
  prefix: string;
  /** Name of the queue that runners send reports to. */
  reportsQueue: string;
  autoScaling: AutoScalingPort;
  events: EventPublisher;
  metrics: MetricSink;
  clock: Clock;
};

/** The message that Auto Scaling sends to a new notification target. */
const testNotification = v.object({ Event: v.literal('autoscaling:TEST_NOTIFICATION') });

/** Handles one message of either queue. */
export async function handleLifecycleMessage(message: Message, deps: LifecycleDeps): Promise<Outcome> {
  const autoScaling = untilAborted(message.signal, deps.autoScaling);
  const ageMs = deps.clock.now().getTime() - message.sentAt.getTime();
  const context = { ...deps, autoScaling, ageMs };
  if (message.queue === deps.reportsQueue) return handleReport(message, context);
  if (v.is(testNotification, message.body)) return skipped('test-notification');
  const event = parseEnvelope(message.body);
  switch (`${event.source} ${event.detailType}`) {
    case 'aws.autoscaling EC2 Instance Launch Unsuccessful':
      return handleLaunchFailure(event, context);
    case 'aws.ec2 EC2 Spot Instance Interruption Warning':
      return handleSpotInterruption(event, context);
    default:
      return dead('unknown-event', { source: event.source, detailType: event.detailType });
  }
}

/**
 * Auto Scaling for one message, without terminations after its time limit. Lambda freezes the work that is left then and resumes
 * it at a later event of the same environment. An instance that was idle can have a job by then.
 */
function untilAborted(signal: AbortSignal, autoScaling: AutoScalingPort): AutoScalingPort {
  return {
    complete: (action, result) => autoScaling.complete(action, result),
    heartbeat: (action) => autoScaling.heartbeat(action),
    describeInstance: (instanceId) => autoScaling.describeInstance(instanceId),
    describeGroup: (name) => autoScaling.describeGroup(name),
    async terminate(instanceId, decrement) {
      signal.throwIfAborted();
      return autoScaling.terminate(instanceId, decrement);
    },
  };
}
