import * as v from 'valibot';
import type { Groups } from '../../shared/fleet/declared-groups.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { ownEvent, scheduleSource } from '../../shared/runtime/envelope.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { Message } from '../../shared/runtime/message.ts';
import type { MetricSink } from '../../shared/runtime/metrics.ts';
import { dead, type Outcome, skipped } from '../../shared/runtime/outcome.ts';
import { untilAborted } from '../../shared/runtime/until-aborted.ts';
import type { ObjectStore } from '../../shared/snapshot/store.ts';
import type { GroupRoles } from './group-roles.ts';
import { handleLaunchFailure } from './launch-failure.ts';
import type { AutoScalingPort, EventPublisher } from './ports.ts';
import { reconcileFleet } from './reconcile.ts';
import type { ReportLimits } from './report-limits.ts';
import { handleReport } from './runner-report.ts';
import { handleSpotInterruption } from './spot-interruption.ts';
import { STALE_MS } from './stale.ts';

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
  roles: GroupRoles;
  limits: ReportLimits;
  events: EventPublisher;
  /** The declared runner groups. */
  groups: Pick<Groups, 'all'>;
  /** The bucket of the deployment. */
  store: Pick<ObjectStore, 'read' | 'write'>;
  metrics: MetricSink;
  logger: Pick<Logger, 'warn'>;
  clock: Clock;
};

/** The message that Auto Scaling sends to a new notification target. */
const testNotification = v.object({ Event: v.literal('autoscaling:TEST_NOTIFICATION') });

/** Handles one message of either queue. */
export async function handleLifecycleMessage(message: Message, deps: LifecycleDeps): Promise<Outcome> {
  // An instance that was idle before the time limit can have a job since.
  const autoScaling = untilAborted(message.signal, deps.autoScaling, ['terminate']);
  const ageMs = deps.clock.now().getTime() - message.sentAt.getTime();
  const store = untilAborted(message.signal, deps.store, ['write']);
  const context = { ...deps, autoScaling, store, ageMs };
  if (message.queue === deps.reportsQueue) return handleReport(message, context);
  if (v.is(testNotification, message.body)) return skipped('test-notification');
  const event = ownEvent(message);
  switch (`${event.source} ${event.detailType}`) {
    case 'aws.autoscaling EC2 Instance Launch Unsuccessful':
      return handleLaunchFailure(event, context);
    case 'aws.ec2 EC2 Spot Instance Interruption Warning':
      return handleSpotInterruption(event, context);
    case `${scheduleSource(deps.prefix)} Fleet Reconcile`:
      // The next run replaces this one.
      return ageMs > STALE_MS ? skipped('stale') : reconcileFleet(context);
    default:
      return dead('unknown-event', { source: event.source, detailType: event.detailType });
  }
}
