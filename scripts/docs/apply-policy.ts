import * as v from 'valibot';
import { parseOrReject } from '../../shared/runtime/validate.ts';

/**
 * `infra/docs/iam/permissions.json`: what `terraform apply` and `terraform destroy` ask of AWS for each resource type of the
 * module, and on which resources. The policy for whoever applies is made from it.
 */
const action = v.pipe(v.string(), v.regex(/^[a-z0-9-]+:[A-Z][A-Za-z0-9]+$/));
const resources = v.pipe(v.array(v.string()), v.minLength(1));

const grant = v.strictObject({
  actions: v.pipe(v.array(action), v.minLength(1)),
  on: resources,
  condition: v.optional(
    v.record(v.string(), v.record(v.string(), v.union([v.string(), v.array(v.string())]))),
  ),
});

const permissions = v.strictObject({
  create: v.pipe(v.array(action), v.minLength(1)),
  read: v.pipe(v.array(action), v.minLength(1)),
  /** Empty where every change replaces the resource. */
  update: v.array(action),
  delete: v.pipe(v.array(action), v.minLength(1)),
  on: resources,
  /** What is asked for on something else, such as a role that is passed on. */
  also: v.optional(v.array(grant), []),
});

type Grant = v.InferOutput<typeof grant>;
export type Permissions = v.InferOutput<typeof permissions>;

/** Actions that know no resource (Service Authorization Reference). */
const WITHOUT_RESOURCE =
  /^(autoscaling:Describe|ec2:Describe|logs:DescribeLogGroups$|lambda:CreateEventSourceMapping$)/;

/** @param text of permissions.json */
export function parsePermissions(text: string): Record<string, Permissions> {
  return parseOrReject(v.record(v.string(), permissions), JSON.parse(text), 'permissions.json');
}

/** Every action that is asked for on behalf of one resource type. */
export function actionsOf(type: Permissions): string[] {
  const own = [type.create, type.read, type.update, type.delete].flat();
  return [...new Set([...own, ...type.also.flatMap(({ actions }) => actions)])];
}

/** A managed policy holds no more than this, white space not counted (IAM quotas). */
export const POLICY_CHARACTERS = 6144;

/** One policy would be larger than IAM takes: files by the services that each is about. */
const FILES: Record<string, (service: string) => boolean> = {
  'apply-policy-fleet.json': (service) => /^(autoscaling|ec2|iam)$/.test(service),
  'apply-policy-services.json': (service) => !/^(autoscaling|ec2|iam)$/.test(service),
};

/** The policies for whoever applies, by file name: a statement for all that is asked of the same resources. */
export function applyPolicies(types: Readonly<Record<string, Permissions>>): Record<string, object> {
  const grants = Object.values(types).flatMap(grantsOf);
  return Object.fromEntries(
    Object.entries(FILES).map(([file, isAbout]) => {
      const about = grants.map((one) => ({
        ...one,
        actions: one.actions.filter((name) => isAbout(name.split(':')[0] ?? '')),
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
  const without = own.filter((one) => WITHOUT_RESOURCE.test(one));
  const within = own.filter((one) => !WITHOUT_RESOURCE.test(one));
  return [
    ...(without.length > 0 ? [{ actions: without, on: ['*'], condition: undefined }] : []),
    ...(within.length > 0 ? [{ actions: within, on: type.on, condition: undefined }] : []),
    ...type.also,
  ];
}
