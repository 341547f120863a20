import { autoScalingGroupName, parseGroupId } from '../../shared/fleet/names.ts';
import { type Report, reportSchema } from '../../shared/fleet/report.ts';
import { PermanentError } from '../../shared/runtime/errors.ts';
import type { Message } from '../../shared/runtime/message.ts';
import { parseOrReject } from '../../shared/runtime/validate.ts';

/** A report, and the unique id of the role that sent it. */
export type SentReport = { report: Report; roleId: string };

/**
 * The report in a message of the queue `reports`, if its sender may send it. SQS stamps the sender, `<role id>:<session>`, and
 * the session of an instance role is the instance id. A job that uses the role of its instance can therefore report for that
 * instance only. Whether the role belongs to the group is for `groupRoles` to check: a principal of the account can choose the
 * session of a role that it may assume.
 *
 * @throws {PermanentError} `malformed-report`, `forged-instance` or `forged-group`
 */
export function verifyReport(message: Message, prefix: string): SentReport {
  const report = parseOrReject(reportSchema, message.body, 'malformed-report');
  const colon = message.senderId.indexOf(':');
  if (colon < 0 || message.senderId.slice(colon + 1) !== report.instanceId) {
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
  return { report, roleId: message.senderId.slice(0, colon) };
}
