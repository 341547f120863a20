import * as v from 'valibot';
import { parseOrReject } from '../../shared/runtime/validate.ts';

/**
 * Schema of `infra/docs/iam/permissions.json`: the actions that `terraform apply` and `terraform destroy` need per resource type
 * of the module, and their resources. The policies for the applying role are derived from it.
 */
const action = v.pipe(v.string(), v.regex(/^[a-z0-9-]+:[A-Z][A-Za-z0-9]+$/));
const resources = v.pipe(v.array(v.string()), v.minLength(1));

const grant = v.strictObject({
  actions: v.pipe(v.array(action), v.minLength(1)),
  on: resources,
  condition: v.optional(
    v.record(v.string(), v.record(v.string(), v.union([v.string(), v.array(v.string())]))),
  ),
  /** `people`: for roles that are not of the module, in a policy of its own. */
  part: v.optional(v.literal('people')),
});

const permissions = v.strictObject({
  create: v.pipe(v.array(action), v.minLength(1)),
  read: v.pipe(v.array(action), v.minLength(1)),
  /** Empty if every change replaces the resource. */
  update: v.array(action),
  delete: v.pipe(v.array(action), v.minLength(1)),
  on: resources,
  /** Actions that are allowed only on roles with the permissions boundary. */
  bounded: v.optional(v.array(action), []),
  /** Actions on other resources, for example `iam:PassRole` on a role. */
  also: v.optional(v.array(grant), []),
});

type Grant = v.InferOutput<typeof grant>;
export type Permissions = v.InferOutput<typeof permissions>;

/** Actions without resource-level permissions (Service Authorization Reference). */
const WITHOUT_RESOURCE =
  /^(autoscaling:Describe|ec2:Describe|logs:DescribeLogGroups$|lambda:CreateEventSourceMapping$)/;

/** @param text of permissions.json */
export function parsePermissions(text: string): Record<string, Permissions> {
  return parseOrReject(v.record(v.string(), permissions), JSON.parse(text), 'permissions.json');
}

/** Every action that one resource type needs. */
export function actionsOf(type: Permissions): string[] {
  const own = [type.create, type.read, type.update, type.delete].flat();
  return [...new Set([...own, ...type.also.flatMap(({ actions }) => actions)])];
}

/** Maximum size of a managed policy without white space (IAM quotas). */
export const POLICY_CHARACTERS = 6144;

/**
 * The permissions boundary of every role that the module creates. Without it, whoever may create a role and write its policy may
 * do anything. An administrator creates it from `boundary.json`.
 */
export const BOUNDARY = 'arn:aws:iam::*:policy/hearth-boundary';

/** Files by service and part. One policy would exceed the size limit of IAM. */
const FILES: Record<string, (service: string, part: Grant['part']) => boolean> = {
  'apply-policy-fleet.json': (service, part) => !part && /^(autoscaling|ec2|iam)$/.test(service),
  'apply-policy-services.json': (service, part) => !part && !/^(autoscaling|ec2|iam)$/.test(service),
  'apply-policy-people.json': (_, part) => part === 'people',
};

/** The policies for the applying role, by file name. Each statement has all actions on the same resources. */
export function applyPolicies(types: Readonly<Record<string, Permissions>>): Record<string, object> {
  const grants = Object.values(types).flatMap(grantsOf);
  return Object.fromEntries(
    Object.entries(FILES).map(([file, isAbout]) => {
      const about = grants.map((one) => ({
        ...one,
        actions: one.actions.filter((name) => isAbout(name.split(':')[0] ?? '', one.part)),
      }));
      return [file, { Version: '2012-10-17', Statement: statements(about) }];
    }),
  );
}

function statements(grants: readonly Grant[]): object[] {
  const groups = new Map<string, Grant>();
  for (const { actions, on, condition } of grants.filter((one) => one.actions.length > 0)) {
    const key = JSON.stringify([on, condition]);
    const before = groups.get(key)?.actions ?? [];
    groups.set(key, { actions: [...before, ...actions], on, condition });
  }
  return [...groups.values()].map(({ actions, on, condition }) => ({
    Effect: 'Allow',
    Action: [...new Set(actions)].sort(),
    Resource: on,
    ...(condition && { Condition: condition }),
  }));
}

function grantsOf(type: Permissions): Grant[] {
  const own = [type.create, type.read, type.update, type.delete].flat();
  const bounded = own.filter((one) => type.bounded.includes(one));
  const free = own.filter((one) => !type.bounded.includes(one));
  const without = free.filter((one) => WITHOUT_RESOURCE.test(one));
  const within = free.filter((one) => !WITHOUT_RESOURCE.test(one));
  return [
    ...(without.length > 0 ? [{ actions: without, on: ['*'], condition: undefined }] : []),
    ...(within.length > 0 ? [{ actions: within, on: type.on, condition: undefined }] : []),
    ...(bounded.length > 0
      ? [{ actions: bounded, on: type.on, condition: { ArnLike: { 'iam:PermissionsBoundary': BOUNDARY } } }]
      : []),
    ...type.also,
  ];
}
