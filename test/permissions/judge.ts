import { runSimulation } from '@cloud-copilot/iam-simulate';
import * as v from 'valibot';
import { text } from '../infra/state.ts';
import type { Deployed } from './deployment.ts';

/** One call as IAM sees it. `resource` is an ARN, or `*` for an action without resources. */
export type IamRequest = {
  /** `lifecycle` for the role of a function, `aw-gha-default` for the role of the instances of a group. */
  role: string;
  action: string;
  resource: string;
  context?: Record<string, string>;
  /** Tags of the resource; default: those that the module gives it. */
  tags?: Record<string, string>;
};

/** Names of roles end in the region, since they belong to the account. */
function roleName(role: string): string {
  return role.startsWith('aw-') ? `${role}-usw2` : `aw_${role}_usw2`;
}

type Policy = { name: string; policy: unknown };

/**
 * Evaluates calls against the policies of the applied module: those of the role, and that of the bucket or the queue. The evaluation is that of
 * a library, and not of this project.
 */
export function judge(made: Deployed) {
  /** The session of a role: an instance has its id. */
  function principal(role: string): string {
    const isInstance = role.startsWith('aw-');
    const name = roleName(role);
    return `arn:aws:sts::${made.account}:assumed-role/${name}/${isInstance ? 'i-0123456789abcdef0' : name}`;
  }

  function policiesOf(role: string): Policy[] {
    const name = roleName(role);
    const ids = made
      .of('aws_iam_role')
      .filter(({ values }) => values.name === name)
      .map(({ values }) => values.id);
    if (ids.length !== 1) throw new Error(`the module has ${ids.length} roles ${name}`);
    const inline = made
      .of('aws_iam_role_policy')
      .filter(({ values }) => values.role === ids[0] || values.role === name);
    const attached = made
      .of('aws_iam_role_policy_attachment')
      .filter(({ values }) => values.role === name)
      .map(({ values }) => values.policy_arn);
    const managed = made.of('aws_iam_policy').filter(({ values }) => attached.includes(values.arn));
    return [...inline, ...managed].map(({ address, values }) => ({
      name: address.replaceAll(/\W+/g, '-'),
      policy: JSON.parse(text(values.policy)),
    }));
  }

  function resourcePolicy(resource: string): unknown {
    if (resource.startsWith('arn:aws:s3:::'))
      return JSON.parse(text(made.of('aws_s3_bucket_policy')[0]?.values.policy));
    const queue = made.of('aws_sqs_queue').find(({ values }) => values.arn === resource);
    if (!queue) return undefined;
    const policy = made.of('aws_sqs_queue_policy').find(({ values }) => values.queue_url === queue.values.id);
    return JSON.parse(text(policy?.values.policy));
  }

  /** The tags that the module gives a group or a secret. */
  function tagsOf(resource: string): Record<string, string> {
    const name = /:autoScalingGroupName\/(.+)$/.exec(resource)?.[1];
    const group = made.of('aws_autoscaling_group').find(({ values }) => values.name === name);
    if (group) {
      const tags = v.parse(v.array(v.object({ key: v.string(), value: v.string() })), group.values.tag);
      return Object.fromEntries(tags.map(({ key, value }) => [key, value]));
    }
    const secret = made.of('aws_secretsmanager_secret').find(({ values }) => values.arn === resource);
    return v.parse(v.optional(v.record(v.string(), v.string()), {}), secret?.values.tags_all);
  }

  /**
   * @returns `Allowed`, `ImplicitlyDenied` or `ExplicitlyDenied`
   * @throws if the library cannot evaluate the call: the action, the form of the ARN or a context key does not exist
   */
  return async function resultOf(request: IamRequest): Promise<string> {
    const { role, action, resource, context = {}, tags = tagsOf(resource) } = request;
    const of = resourcePolicy(resource);
    const simulated = await runSimulation(
      {
        request: {
          principal: principal(role),
          action,
          resource: { resource, accountId: made.account },
          contextVariables: {
            'aws:SecureTransport': 'true',
            'aws:PrincipalIsAWSService': 'false',
            'aws:PrincipalArn': `arn:aws:iam::${made.account}:role/${roleName(role)}`,
            ...Object.fromEntries(
              Object.entries(tags).map(([key, value]) => [`aws:ResourceTag/${key}`, value]),
            ),
            ...context,
          },
        },
        identityPolicies: policiesOf(role) as { name: string; policy: object }[],
        serviceControlPolicies: [],
        resourceControlPolicies: [],
        ...(of !== undefined && { resourcePolicy: of }),
      },
      {},
    );
    const where = `${role}: ${action} on ${resource}`;
    if (simulated.resultType === 'error') throw new Error(`${where}: ${JSON.stringify(simulated.errors)}`);
    if (simulated.resultType === 'single') {
      const ignored = (simulated.result.ignoredContextKeys ?? []).filter((key) => key in context);
      if (ignored.length > 0) throw new Error(`${where}: AWS has no ${ignored.join(', ')} for this action`);
    }
    return simulated.overallResult;
  };
}
