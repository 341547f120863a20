import { resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { actionsOfRunner } from '../iam-actions.ts';
import { only, statements } from '../state.ts';
import { type Applied, bucket } from './applied.ts';

const root = resolve(import.meta.dirname, '../../..');

export function aboutPermissions(made: Applied): void {
  const { of } = made;
  describe('permissions', () => {
    test('a resource is * only where AWS has no resource-level permission', () => {
      const withoutResources = [
        /^autoscaling:Describe/,
        /^cloudwatch:(DescribeAlarms|DescribeAlarmHistory|GetMetricData)$/,
        /^ec2:Describe/,
        /^logs:(DescribeLogGroups|GetQueryResults)$/,
        /^ssmmessages:/,
        /^ssm:UpdateInstanceInformation$/,
      ];
      const policies = [...of('aws_iam_role_policy'), ...of('aws_iam_policy')];
      for (const { address, values } of policies) {
        for (const { Action, Resource: on } of statements(values.policy)) {
          for (const action of Action) {
            expect(action, address).not.toContain('*');
            if (on.includes('*'))
              expect(
                withoutResources.some((known) => known.test(action)),
                `${address}: ${action}`,
              ).toBe(true);
          }
        }
      }
    });

    test('every resource of a policy has the prefix of the deployment', () => {
      const own = /[:/]aw[-_]|:parameter\/aw(\/|$)|:event-bus\/default$/;
      // ARNs of instances and sessions have no prefix; conditions limit them. The documents belong to Session Manager.
      const support =
        /:instance\/\*$|:session\/|:document\/(SSM-SessionManagerRunShell|AWS-StartPortForwardingSession)$/;
      for (const { address, values } of [...of('aws_iam_role_policy'), ...of('aws_iam_policy')]) {
        for (const name of statements(values.policy).flatMap(({ Resource: on }) => on)) {
          const known = address.includes('module.support')
            ? own.test(name) || support.test(name)
            : own.test(name);
          expect(name === '*' || known, `${address}: ${name}`).toBe(true);
        }
      }
    });

    test('every name has the prefix, so that one account can have two deployments', () => {
      // An inline policy belongs to its role, so its name needs no prefix.
      const outer = made.all.filter(({ type }) => type !== 'aws_iam_role_policy');
      const named = outer.flatMap(({ address, values }) =>
        [values.name, values.alarm_name, values.function_name, values.bucket, values.dashboard_name]
          .filter((name) => typeof name === 'string' && !name.startsWith('arn:'))
          .map((name) => ({ address, name })),
      );
      expect(named.length).toBeGreaterThan(100);
      for (const { address, name } of named) expect(name, address).toMatch(/^aw[-_]/);
    });

    test('every role has the permissions boundary', () => {
      for (const { address, values } of of('aws_iam_role')) {
        expect(values.permissions_boundary, address).toBe('arn:aws:iam::123456789012:policy/acme-boundary');
      }
    });

    test('the function warming scales warming groups only', () => {
      const policy = of('aws_iam_role_policy').find(({ address }) =>
        address.includes('module.function["warming"].aws_iam_role_policy.own'),
      );
      const scaling = statements(policy?.values.policy).find(({ Action }) =>
        Action.includes('autoscaling:SetDesiredCapacity'),
      );
      expect(scaling?.Resource.map((arn) => arn.split('/').at(-1)).sort()).toEqual([
        'aw-bk-warm-ios',
        'aw-gha-warming',
      ]);
    });

    test('runners can read their own set and send reports; only warming groups can write snapshots', async () => {
      const roles = of('aws_iam_role_policy').filter(({ address }) =>
        address.includes('module.runner_group'),
      );
      const about = (id: string) =>
        statements(roles.find(({ address }) => address.includes(`"${id}"`))?.values.policy);
      for (const { address } of roles) {
        const id = /runner_group\["(.+?)"\]/.exec(address)?.[1] ?? '';
        const actions = about(id)
          .flatMap(({ Action }) => Action)
          .filter((action) => !/^(ssm|ssmmessages|logs):/.test(action));
        expect(actions.sort(), id).toEqual([
          's3:GetObject',
          ...(id === 'bk/default' || id === 'gha/small-jobs' ? [] : ['s3:ListBucket']),
          'secretsmanager:GetSecretValue',
          'sqs:SendMessage',
        ]);
      }
      const tokens: Record<string, string> = {
        gha: 'aw_gha_token_',
        bk: 'aw_bk_agent_token_',
        cci: 'aw_cci_default_',
      };
      for (const id of ['gha/default', 'bk/default', 'cci/default']) {
        const secret = only(
          of('aws_secretsmanager_secret').filter(
            ({ values }) => values.name_prefix === tokens[id.split('/')[0] ?? ''],
          ),
        );
        expect(about(id).find(({ Sid }) => Sid === 'ReadOwnToken')?.Resource, id).toEqual([
          secret.values.arn,
        ]);
      }
      const arn = `arn:aws:s3:::${bucket}`;
      expect(
        about('cci/default')
          .find(({ Sid }) => Sid === 'ReadOwnSetAndTools')
          ?.Resource.sort(),
      ).toEqual([
        `${arn}/sets/ios/layers/*`,
        `${arn}/sets/ios/pointer.json`,
        `${arn}/sets/ios/snapshots/*`,
        `${arn}/tools/*`,
      ]);
      expect(about('bk/default').find(({ Sid }) => Sid === 'ReadOwnSetAndTools')?.Resource).toEqual([
        `${arn}/tools/*`,
      ]);
      // The CloudWatch agent writes logs of an instance below the name of its group.
      expect(about('cci/default').find(({ Sid }) => Sid === 'WriteOwnLog')).toMatchObject({
        Action: expect.arrayContaining(['logs:CreateLogStream', 'logs:PutLogEvents']),
        Resource: ['arn:aws:logs:us-west-2:123456789012:log-group:aw_runners:log-stream:aw-cci-default/*'],
      });
      const manage = of('aws_iam_policy').find(({ values }) => values.name === 'aw-warming-manage-ios');
      expect(
        statements(manage?.values.policy)
          .flatMap(({ Resource: on }) => on)
          .sort(),
      ).toEqual([`${arn}/sets/ios/layers/*`, `${arn}/sets/ios/snapshots/*`]);
      const program = await actionsOfRunner(root);
      const toWarm = statements(manage?.values.policy).flatMap(({ Action }) => Action);
      const warms = [...about('bk/warm-ios').flatMap(({ Action }) => Action), ...toWarm];
      // The agent of the CI provider needs the token.
      expect([...new Set(warms.filter((action) => !/^(ssm|ssmmessages|logs):/.test(action)))].sort()).toEqual(
        [...program, 'secretsmanager:GetSecretValue'].sort(),
      );
      const attached = of('aws_iam_role_policy_attachment').filter(({ name }) => name === 'further');
      expect(attached.map(({ values }) => values.role).sort()).toEqual(['aw-bk-warm-ios', 'aw-gha-warming']);
    });
  });
}
