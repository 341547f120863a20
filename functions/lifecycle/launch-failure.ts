import * as v from 'valibot';
import { groupId, parseAutoScalingGroupName } from '../../shared/fleet/names.ts';
import type { Envelope } from '../../shared/runtime/envelope.ts';
import type { MetricSink } from '../../shared/runtime/metrics.ts';
import { done, type Outcome, skipped } from '../../shared/runtime/outcome.ts';
import { parseOrReject } from '../../shared/runtime/validate.ts';

/** Most characters of Auto Scaling's reason in the log. */
const MAX_REASON = 500;

/** A launch without capacity has no instance. Auto Scaling limits the name of a group to 255 characters. */
const activity = v.object({
  AutoScalingGroupName: v.pipe(v.string(), v.nonEmpty(), v.maxLength(255)),
  StatusMessage: v.nullish(v.string(), ''),
});

/**
 * Auto Scaling's text for a launch that a completed hook abandoned; a hook that timed out has another one. The completion is
 * the answer to a Runner Failed, which is counted.
 */
const ABANDONED_BY_REPORT = /Completed with ABANDON Result/;

/** `EC2 Instance Launch Unsuccessful`: counts the failed launch of a runner group. */
export function handleLaunchFailure(
  event: Envelope,
  { prefix, metrics }: { prefix: string; metrics: MetricSink },
): Outcome {
  const detail = parseOrReject(activity, event.detail, 'malformed-detail');
  const group = parseAutoScalingGroupName(prefix, detail.AutoScalingGroupName);
  if (!group) return skipped('foreign-group');
  const id = groupId(group);
  const reason = detail.StatusMessage ?? '';
  if (ABANDONED_BY_REPORT.test(reason)) return skipped('counted-by-report', { group: id });
  metrics.add('LaunchFailures', 1, { Group: id });
  return done({ group: id, reason: reason.slice(0, MAX_REASON) });
}
