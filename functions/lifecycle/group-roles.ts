import { DRAIN_TIMEOUT_TAG, ROLE_ID_TAG, WARMING_SET_TAG } from '../../shared/fleet/names.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { PermanentError, RetryableError } from '../../shared/runtime/errors.ts';
import type { AutoScalingPort } from './ports.ts';

/** Time for which a role id is used without another read, in milliseconds. */
const FRESH_MS = 300_000;

/**
 * Least time between two reads of one group for reports of another role, in milliseconds. It bounds the calls that a flood of
 * forged reports causes.
 */
const REREAD_MS = 10_000;

/** The group whose role the sender has. */
export type SenderGroup = {
  warmingSet: string | undefined;
  /** Undefined: a drain has no limit but that of Auto Scaling. */
  drainTimeoutSeconds: number | undefined;
};

/** The tags of a group, and when they were read. */
type Known = SenderGroup & { roleId: string | undefined; readAt: number };

/** `unknown-group`: no Auto Scaling group has that name. */
export type RoleCheck = SenderGroup | 'unknown-group';

/** The roles of the runner groups, as the tags of their Auto Scaling groups name them. */
export type GroupRoles = {
  /**
   * Checks the role of the sender of one report.
   *
   * @param sentAt time of the report, in milliseconds. Only a tag that was read after it refuses the report: the role of a
   *   group may have been replaced since an earlier read
   * @throws {PermanentError} `forged-role`
   * @throws {RetryableError} `role-unknown`
   */
  check(report: { autoScalingGroup: string; roleId: string; sentAt: number }): Promise<RoleCheck>;
};

/** One cache per execution environment. */
export function groupRoles(autoScaling: Pick<AutoScalingPort, 'describeGroup'>, clock: Clock): GroupRoles {
  const known = new Map<string, Known>();
  /** Reads that have begun. The records of one batch share them. */
  const reading = new Map<string, Promise<Known | undefined>>();

  async function read(group: string): Promise<Known | undefined> {
    const readAt = clock.now().getTime();
    const state = await autoScaling.describeGroup(group);
    if (!state) {
      known.delete(group);
      return undefined;
    }
    const { tags } = state;
    const drainTimeout = Number(tags.get(DRAIN_TIMEOUT_TAG));
    const entry: Known = {
      roleId: tags.get(ROLE_ID_TAG),
      warmingSet: tags.get(WARMING_SET_TAG),
      drainTimeoutSeconds: drainTimeout > 0 ? drainTimeout : undefined,
      readAt,
    };
    known.set(group, entry);
    return entry;
  }

  function readOnce(group: string): Promise<Known | undefined> {
    const begun = read(group).finally(() => reading.delete(group));
    reading.set(group, begun);
    return begun;
  }

  return {
    async check({ autoScalingGroup, roleId, sentAt }) {
      const now = clock.now().getTime();
      const cached = known.get(autoScalingGroup);
      if (cached?.roleId === roleId && now - cached.readAt < FRESH_MS) return cached;
      const isRecent = cached !== undefined && now - cached.readAt < REREAD_MS;
      const begun = isRecent ? cached : reading.get(autoScalingGroup);
      const entry = await (begun ?? readOnce(autoScalingGroup));
      if (!entry) return 'unknown-group';
      if (entry.roleId === roleId) return entry;
      if (entry.roleId === undefined) {
        throw new RetryableError(
          'role-unknown',
          `${autoScalingGroup} has no tag ${ROLE_ID_TAG}, so the sender of its reports cannot be checked: run terraform apply`,
        );
      }
      if (begun && entry.readAt <= sentAt) {
        throw new RetryableError('role-unknown', `the role of ${autoScalingGroup} is read again`, {
          afterSeconds: REREAD_MS / 1_000,
        });
      }
      throw new PermanentError(
        'forged-role',
        `role ${roleId} may not report for ${autoScalingGroup}, whose role is ${entry.roleId}`,
      );
    },
  };
}
