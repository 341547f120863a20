/**
 * How the parts of a fleet are called. Everything follows from a deployment's prefix, a CI provider and a group's name, so
 * that no part needs a table to find another. Terraform writes the same names (a test compares them).
 */

/** The CI providers. */
export const CI_PROVIDERS = ['gha', 'cci', 'bk'] as const;
export type CiProvider = (typeof CI_PROVIDERS)[number];

/** A runner group, by CI provider and name. */
export type Group = { provider: CiProvider; name: string };

/** Lower case, digits and inner dashes: safe in ARNs, bucket keys, parameter names and metric dimensions. */
export const GROUP_NAME = /^[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?$/;

/** The same for a warming set, which becomes a folder in the bucket: no dots, no slashes. */
export const SET_NAME = /^[a-z0-9](?:[a-z0-9_-]{0,46}[a-z0-9])?$/;

/** EC2 instance ids: `i-` and 8 or 17 hexadecimal digits (EC2 User Guide, "Resource IDs"). */
export const INSTANCE_ID = /^i-(?:[0-9a-f]{8}|[0-9a-f]{17})$/;

/**
 * Tag of an Auto Scaling group: the unique id of the role of its instances. It is the first half of the `SenderId` of their
 * messages in SQS (IAM User Guide, "Unique identifiers"). IAM never uses an id again.
 */
export const ROLE_ID_TAG = 'hearth:role-id';

/** Tag of an Auto Scaling group: the warming set that its instances restore; absent if they restore none. */
export const WARMING_SET_TAG = 'hearth:warming-set';

/** Tag of an Auto Scaling group: the limit of a drain in seconds; absent if drains have none but that of Auto Scaling. */
export const DRAIN_TIMEOUT_TAG = 'hearth:drain-timeout';

/** Both hooks of every group, without the prefix. */
export type HookPhase = 'boot' | 'drain';

/** `gha/default`: a group in reports, parameters and metrics. */
export function groupId(group: Group): string {
  return `${group.provider}/${group.name}`;
}

/** The group that `<provider>/<name>` names, or undefined if it names none. */
export function parseGroupId(id: string): Group | undefined {
  const slash = id.indexOf('/');
  return toGroup(id.slice(0, slash), id.slice(slash + 1));
}

/** `aw-gha-default`: the Auto Scaling group of a runner group. */
export function autoScalingGroupName(prefix: string, group: Group): string {
  return `${prefix}-${group.provider}-${group.name}`;
}

/** The runner group behind an Auto Scaling group's name, or undefined if it is not one of this deployment. */
export function parseAutoScalingGroupName(prefix: string, name: string): Group | undefined {
  if (!name.startsWith(`${prefix}-`)) return undefined;
  const rest = name.slice(prefix.length + 1);
  const dash = rest.indexOf('-');
  return dash < 0 ? undefined : toGroup(rest.slice(0, dash), rest.slice(dash + 1));
}

/** `aw-boot`, `aw-drain`: the launch and the terminate hook of every group. */
export function hookName(prefix: string, phase: HookPhase): string {
  return `${prefix}-${phase}`;
}

function toGroup(provider: string, name: string): Group | undefined {
  if (!isCiProvider(provider) || !GROUP_NAME.test(name)) return undefined;
  return { provider, name };
}

function isCiProvider(value: string): value is CiProvider {
  return (CI_PROVIDERS as readonly string[]).includes(value);
}
