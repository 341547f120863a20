import { autoScalingGroupName, parseGroupId } from '../../shared/fleet/names.ts';
import { type Report, reportSchema } from '../../shared/fleet/report.ts';
import { PermanentError } from '../../shared/runtime/errors.ts';
import type { Message } from '../../shared/runtime/message.ts';
import { parseOrReject } from '../../shared/runtime/validate.ts';

/**
 * The report in a message of the `reports` queue, if its sender may say it. The only proof of who speaks is what SQS
 * itself stamps: `<role id>:<session>`, where an instance role's session is the instance id. A job that has stolen the
 * role of its machine can therefore speak for that machine, and for no other.
 *
 * @throws {PermanentError} `malformed-report`, `forged-instance` or `forged-group`
 */
export function verifyReport(message: Message, prefix: string): Report {
  const report = parseOrReject(reportSchema, message.body, 'malformed-report');
  const session = message.senderId.slice(message.senderId.indexOf(':') + 1);
  if (!message.senderId.includes(':') || session !== report.instanceId) {
    throw new PermanentError(
      'forged-instance',
      `${message.senderId} may not report for instance ${report.instanceId}`,
    );
  }
  const group = parseGroupId(report.group);
  if (!group || autoScalingGroupName(prefix, group) !== report.autoScalingGroup) {
    throw new PermanentError(
      'forged-group',
      `group ${report.group} has no Auto Scaling group ${report.autoScalingGroup}`,
    );
  }
  return report;
}
