import { INSTANCE_ID } from '../../shared/fleet/names.ts';
import type { RegistrationDeps, RunnerGroup } from './ports.ts';

/** Who asks, as AWS verified it: the account, the name of the role, and the session, which is the instance id for an instance. */
export type Caller = { account: string; role: string; session: string };

/** An instance with its runner group. */
export type Runner = { instanceId: string; group: RunnerGroup };

/** `arn:aws:sts::<account>:assumed-role/<role>/<session>` (IAM User Guide, "IAM identifiers"). */
const ASSUMED_ROLE = /^arn:aws[a-z-]*:sts::(\d{12}):assumed-role\/([\w+=,.@-]{1,64})\/([\w+=,.@-]{2,64})$/;

/** The caller in the ARN of a session, or undefined: a user, the root user and a service are no sessions of a role. */
export function parseCaller(arn: string): Caller | undefined {
  const [, account, role, session] = ASSUMED_ROLE.exec(arn) ?? [];
  return account && role && session ? { account, role, session } : undefined;
}

/** The runner that calls, or why the caller is none. Whether Auto Scaling has the instance in that group is another question. */
export async function identify(
  caller: Caller,
  { account, groups }: Pick<RegistrationDeps, 'account' | 'groups'>,
): Promise<Runner | { denied: string }> {
  if (caller.account !== account) return { denied: 'foreign-account' };
  if (!INSTANCE_ID.test(caller.session)) return { denied: 'no-instance' };
  const group = await groups.byRole(caller.role);
  if (!group) return { denied: 'foreign-role' };
  // A warming group has no agent.
  if (!group.settings.takesJobs) return { denied: 'no-jobs' };
  return { instanceId: caller.session, group };
}
