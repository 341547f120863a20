import * as v from 'valibot';
import { type Group, groupId, INSTANCE_ID, parseAutoScalingGroupName } from '../../shared/fleet/names.ts';
import type { Envelope } from '../../shared/runtime/envelope.ts';
import type { MetricSink } from '../../shared/runtime/metrics.ts';
import { dead, done, type Outcome, skipped } from '../../shared/runtime/outcome.ts';
import { parseOrReject } from '../../shared/runtime/validate.ts';
import { whileFresh } from './freshness.ts';
import { replace } from './let-go.ts';
import type { AutoScalingPort } from './ports.ts';

/** Auto Scaling's limit for names of groups and hooks. */
const name = v.pipe(v.string(), v.nonEmpty(), v.maxLength(255));

const lifecycleAction = v.object({
  AutoScalingGroupName: name,
  EC2InstanceId: v.pipe(v.string(), v.regex(INSTANCE_ID, 'must be an instance id')),
  LifecycleHookName: name,
  Destination: v.optional(v.string()),
  Action: v.optional(v.string()),
});

/** A failed launch has no instance, or an empty id. */
const activity = v.object({ AutoScalingGroupName: name, StatusMessage: v.optional(v.string(), '') });

const interruption = v.object({
  'instance-id': v.pipe(v.string(), v.regex(INSTANCE_ID, 'must be an instance id')),
});

/** Failed launches quote AWS's reason; this much of it goes to the log. */
const MAX_REASON = 500;

/**
 * How Auto Scaling words a launch that a hook gave up by request (elsewhere it says `Heartbeat Timeout`). Such a request is
 * the answer to a Runner Failed, which has been counted.
 */
const GIVEN_UP = /Completed with ABANDON Result/;

export type AwsEventContext = {
  prefix: string;
  autoScaling: AutoScalingPort;
  metrics: MetricSink;
  /** Of the message, in milliseconds. */
  ageMs: number;
};

/** Brings an event of AWS itself to its outcome. */
export async function handleAwsEvent(event: Envelope, context: AwsEventContext): Promise<Outcome> {
  switch (`${event.source} ${event.detailType}`) {
    case 'aws.autoscaling EC2 Instance-launch Lifecycle Action':
    case 'aws.autoscaling EC2 Instance-terminate Lifecycle Action':
      return lifecycle(event, context);
    case 'aws.autoscaling EC2 Instance Launch Unsuccessful':
      return launchFailed(event, context);
    case 'aws.autoscaling EC2 Instance Launch Successful':
    case 'aws.autoscaling EC2 Instance Terminate Successful':
    case 'aws.autoscaling EC2 Instance Terminate Unsuccessful':
      return ours(event, activity, context) ? skipped('nothing-to-do') : skipped('foreign-group');
    case 'aws.ec2 EC2 Spot Instance Interruption Warning':
      return reclaimed(event, context);
    case 'aws.ec2 EC2 Instance Rebalance Recommendation':
      // A warning that may never come true: the interruption itself, or the group's capacity rebalancing, acts.
      parseOrReject(interruption, event.detail, 'malformed-detail');
      return skipped('rebalance-is-advice');
    default:
      return dead('unknown-event', { source: event.source, detailType: event.detailType });
  }
}

/**
 * A hook has begun. The runner completes it by its own report, since only it knows when it is warm or idle, and learns
 * of the termination from its own metadata; so there is nothing to do but to say so.
 */
function lifecycle(event: Envelope, { prefix }: AwsEventContext): Outcome {
  const detail = parseOrReject(lifecycleAction, event.detail, 'malformed-detail');
  if (!parseAutoScalingGroupName(prefix, detail.AutoScalingGroupName)) return skipped('foreign-group');
  if (event.detailType.includes('-terminate')) {
    if (detail.Destination === 'WarmPool') return skipped('goes-to-warm-pool');
    if (detail.Action === 'ReplaceRootVolume') return skipped('replaces-root-volume');
  }
  return skipped('runner-reports-itself', {
    instanceId: detail.EC2InstanceId,
    hook: detail.LifecycleHookName,
  });
}

function launchFailed(event: Envelope, context: AwsEventContext): Outcome {
  const found = ours(event, activity, context);
  if (!found) return skipped('foreign-group');
  const group = groupId(found.group);
  if (GIVEN_UP.test(found.detail.StatusMessage)) return skipped('counted-by-report', { group });
  context.metrics.add('LaunchFailures', 1, { Group: group });
  return done({ group, reason: found.detail.StatusMessage.slice(0, MAX_REASON) });
}

/**
 * The runner sees the notice itself and stops taking jobs. Asking for its termination now starts the replacement two
 * minutes earlier, and the drain with it; the notice says nothing about groups, so Auto Scaling is asked.
 */
async function reclaimed(event: Envelope, { prefix, autoScaling, ageMs }: AwsEventContext): Promise<Outcome> {
  const { 'instance-id': instanceId } = parseOrReject(interruption, event.detail, 'malformed-detail');
  return whileFresh(ageMs, async () => {
    const instance = await autoScaling.describeInstance(instanceId);
    if (!instance) return skipped('not-in-group');
    if (!parseAutoScalingGroupName(prefix, instance.autoScalingGroup)) return skipped('foreign-group');
    return replace(instanceId, instance.lifecycleState, autoScaling);
  });
}

function ours(
  event: Envelope,
  schema: typeof activity,
  { prefix }: AwsEventContext,
): { group: Group; detail: v.InferOutput<typeof activity> } | undefined {
  const detail = parseOrReject(schema, event.detail, 'malformed-detail');
  const group = parseAutoScalingGroupName(prefix, detail.AutoScalingGroupName);
  return group && { group, detail };
}
