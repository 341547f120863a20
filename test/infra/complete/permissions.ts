import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import * as v from 'valibot';
import { describe, expect, test } from 'vitest';
import { actionKey, epochKey, outputKey, toolKey } from '../../../shared/fleet/build-cache.ts';
import { actionsOfRunner } from '../iam-actions.ts';
import { covers, only, statements, text } from '../state.ts';
import { type Applied, bucket } from './applied.ts';

const root = resolve(import.meta.dirname, '../../..');

export function aboutPermissions(made: Applied): void {
  const { of } = made;
  /** The inline policies of the instance roles. */
  const runnerPolicies = () =>
    of('aws_iam_role_policy').filter(({ address }) => address.includes('module.runner_group'));
  const idOf = (address: string) => /runner_group\["(.+?)"\]/.exec(address)?.[1] ?? '';

  describe('permissions', () => {
    test('a resource is * only where AWS has no resource-level permission', () => {
      const withoutResources = [
        /^autoscaling:Describe/,
        /^cloudwatch:(DescribeAlarms|DescribeAlarmHistory|GetMetricData)$/,
        /^ec2:Describe/,
        /^logs:DescribeLogGroups$/,
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
      const own = /[:/]aw[-_]|:parameter\/aw(\/|$)|:event-bus\/aw-reports$/;
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

    // A name that Terraform composes can be wrong, and then a Deny of all others closes what it protects.
    test('every role, queue, function, topic and bus that a policy names exists', () => {
      const existing = made.all.map(({ values }) => values.arn);
      const ofInputs = ['arn:aws:iam::123456789012:role/acme-operator'];
      const named = made.all.flatMap(({ address, values }) =>
        ['policy', 'redrive_allow_policy', 'redrive_policy'].flatMap((name) =>
          typeof values[name] === 'string'
            ? [
                ...values[name].matchAll(/"(arn:aws:(?:iam|sqs|lambda|sns|events|secretsmanager):[^"*]+)"/g),
              ].map(([, arn = '']) => ({ address, arn }))
            : [],
        ),
      );
      expect(named.length).toBeGreaterThan(80);
      for (const { address, arn } of named) expect([...existing, ...ofInputs], address).toContain(arn);
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

    test('the boundary of the setup page allows all that the roles have', () => {
      const boundary = statements(readFileSync(join(root, 'infra/docs/iam/boundary.json'), 'utf8'));
      const attached = of('aws_iam_policy').filter(({ values }) =>
        text(values.name).startsWith('aw-warming-manage-'),
      );
      const policies = [...of('aws_iam_role_policy'), ...attached];
      expect(policies.length).toBeGreaterThan(15);
      const beyond = policies.flatMap(({ address, values }) =>
        statements(values.policy).flatMap(({ Action, Resource: on }) =>
          Action.flatMap((action) =>
            on
              .filter(
                (arn) =>
                  !boundary.some(
                    (one) =>
                      one.Action.includes(action) && one.Resource.some((pattern) => covers(pattern, arn)),
                  ),
              )
              .map((arn) => `${address}: ${action} on ${arn}`),
          ),
        ),
      );
      expect(beyond).toEqual([]);
      // Neither the boundary nor what it allows can change permissions.
      for (const { Action } of boundary)
        for (const action of Action) expect(action).not.toMatch(/^(iam|sts|organizations):|\*/);
    });

    test('every role has the permissions boundary', () => {
      for (const { address, values } of of('aws_iam_role')) {
        expect(values.permissions_boundary, address).toBe('arn:aws:iam::123456789012:policy/acme-boundary');
      }
    });

    test('a role can be assumed by the service that uses it only', () => {
      for (const { address, values } of of('aws_iam_role')) {
        const [one, ...others] = statements(values.assume_role_policy);
        expect(others, address).toEqual([]);
        const service = address.includes('module.runner_group')
          ? 'ec2'
          : address.includes('aws_iam_role.scheduler')
            ? 'scheduler'
            : 'lambda';
        expect(one, address).toMatchObject({
          Effect: 'Allow',
          Action: ['sts:AssumeRole'],
          Principal: { Service: `${service}.amazonaws.com` },
        });
        // A schedule of another account could name the role.
        if (service === 'scheduler')
          expect(one?.Condition, address).toEqual({
            StringEquals: { 'aws:SourceAccount': '123456789012' },
            ArnEquals: {
              'aws:SourceArn': 'arn:aws:scheduler:us-west-2:123456789012:schedule-group/default',
            },
          });
      }
    });

    test('the function lifecycle publishes reports of its own source only', () => {
      const policy = of('aws_iam_role_policy').find(({ address }) =>
        address.includes('module.function["lifecycle"].aws_iam_role_policy.own'),
      );
      const publishing = statements(policy?.values.policy).filter(({ Action }) =>
        Action.includes('events:PutEvents'),
      );
      expect(publishing).toMatchObject([
        {
          Condition: {
            'ForAllValues:StringEquals': { 'events:source': 'aw.lifecycle' },
            Null: { 'events:source': 'false' },
          },
        },
      ]);
    });

    /** The names of the groups that a statement of a function covers: by pattern, and by the tags of the groups. */
    const groupsOf = (name: string, action: string) => {
      const policy = of('aws_iam_role_policy').find(({ address }) =>
        address.includes(`module.function["${name}"].aws_iam_role_policy.own`),
      );
      const found = statements(policy?.values.policy).filter(({ Action }) => Action.includes(action));
      expect(found, name).toHaveLength(1);
      const [{ Resource: on, Condition } = { Resource: [], Condition: undefined }] = found;
      const { StringEquals } = v.parse(
        v.strictObject({ StringEquals: v.record(v.string(), v.string()) }),
        Condition,
      );
      expect(StringEquals['aws:ResourceTag/hearth:deployment'], name).toBe('aw');
      return of('aws_autoscaling_group')
        .filter(({ values }) => {
          const tags = new Map(
            (values.tag as { key: string; value: string }[]).map(({ key, value }) => [
              `aws:ResourceTag/${key}`,
              value,
            ]),
          );
          return (
            on.some((pattern) => covers(pattern, text(values.arn))) &&
            Object.entries(StringEquals).every(([key, value]) => tags.get(key) === value)
          );
        })
        .map(({ values }) => text(values.name))
        .sort();
    };
    const WARMING = ['aw-bk-warm-ios', 'aw-gha-warming'];
    const TAKE_JOBS = [
      'aw-bk-default',
      'aw-cci-default',
      'aw-gha-default',
      'aw-gha-org',
      'aw-gha-small-jobs',
    ];

    test('the function warming scales warming groups only', () => {
      expect(groupsOf('warming', 'autoscaling:SetDesiredCapacity')).toEqual(WARMING);
    });

    test('the function lifecycle terminates instances of the groups of the deployment', () => {
      for (const action of ['TerminateInstanceInAutoScalingGroup', 'CompleteLifecycleAction'])
        expect(groupsOf('lifecycle', `autoscaling:${action}`)).toEqual([...WARMING, ...TAKE_JOBS].sort());
    });

    test('the function scaling scales the groups that take jobs, and changes no registration', () => {
      const policy = of('aws_iam_role_policy').find(({ address }) =>
        address.includes('module.function["scaling"].aws_iam_role_policy.own'),
      );
      const own = statements(policy?.values.policy);
      expect(groupsOf('scaling', 'autoscaling:SetDesiredCapacity')).toEqual(TAKE_JOBS);
      const written = own
        .filter(({ Action }) => Action.includes('s3:PutObject'))
        .flatMap(({ Resource: on }) => on);
      expect(written.map((arn) => arn.slice(arn.indexOf('/'))).sort()).toEqual([
        '/backlog/*',
        '/registrations/budgets/*',
      ]);
    });

    test('no instance role, and no policy that the module attaches to one, has an action of Secrets Manager', () => {
      const attachable = of('aws_iam_policy').filter(({ values }) =>
        text(values.name).startsWith('aw-warming-manage-'),
      );
      const policies = [...runnerPolicies(), ...attachable];
      expect(policies.length).toBeGreaterThan(8);
      for (const { address, values } of policies) {
        // The whole text: a condition or a resource must not name a secret either.
        expect(text(values.policy), address).not.toMatch(/secretsmanager/i);
        for (const { Action } of statements(values.policy))
          for (const action of Action) expect(action, address).not.toContain('*');
      }
    });

    test('an instance invokes registration through its URL only, and only in groups that take jobs', () => {
      const registration = 'arn:aws:lambda:us-west-2:123456789012:function:aw_registration';
      const invoking = runnerPolicies().flatMap(({ address, values }) =>
        statements(values.policy)
          .filter(({ Action }) => Action.some((action) => action.startsWith('lambda:')))
          .map((statement) => ({ id: idOf(address), ...statement })),
      );
      const ids = ['bk/default', 'cci/default', 'gha/default', 'gha/org', 'gha/small-jobs'];
      expect([...new Set(invoking.map(({ id }) => id))].sort()).toEqual(ids);
      for (const { id, Sid, Effect, Action, Resource: on, Condition } of invoking) {
        expect(Effect, id).toBe('Allow');
        expect(on, id).toEqual([registration]);
        // Without this condition a job could invoke the function directly and write the identity of the caller itself.
        if (Action.includes('lambda:InvokeFunction')) {
          expect(Action, id).toEqual(['lambda:InvokeFunction']);
          expect(Condition, id).toEqual({ Bool: { 'lambda:InvokedViaFunctionUrl': 'true' } });
        } else {
          expect({ Sid, Action }, id).toEqual({
            Sid: 'RequestRegistrations',
            Action: ['lambda:InvokeFunctionUrl'],
          });
        }
      }
      expect(invoking).toHaveLength(2 * ids.length);
    });

    test('only registration and scaling read the credentials of the CI providers and the declared groups', () => {
      const reading = (pattern: RegExp, secret?: string) =>
        of('aws_iam_role_policy')
          .filter(({ values }) =>
            statements(values.policy).some(
              ({ Action, Resource: on }) =>
                Action.some((action) => /GetSecretValue|GetObject/.test(action)) &&
                on.some((arn) => pattern.test(arn) || (secret !== undefined && covers(arn, secret))),
            ),
          )
          .map(({ address }) => address);
      const own = (name: string) =>
        expect.stringMatching(new RegExp(`module\\.function\\["${name}"\\]\\.aws_iam_role_policy\\.own$`));
      const both = ['registration', 'scaling'].map(own);
      const secrets = of('aws_secretsmanager_secret').filter(({ name }) => name === 'agent');
      expect(secrets).toHaveLength(4);
      for (const { values } of secrets) {
        const arn = text(values.arn);
        expect(reading(new RegExp(`^${arn}$`), arn), arn).toEqual(both);
      }
      const lifecycle = expect.stringContaining('module.function["lifecycle"]');
      // The function webhooks reads the names of repositories, and keys of its own.
      expect(reading(/config\/groups\.json$/)).toEqual([lifecycle, ...both, own('webhooks')]);
      const keys = of('aws_secretsmanager_secret').filter(({ name }) => name === 'webhook');
      expect(keys).toHaveLength(2);
      for (const { values } of keys)
        expect(reading(new RegExp(`^${text(values.arn)}$`), text(values.arn))).toEqual([own('webhooks')]);
      expect(reading(/\/registrations\/\*$/)).toEqual(both);
      // Only which instances have no registration.
      expect(reading(/\/registrations\/sweep\.json$/)).toEqual([lifecycle]);
    });

    test('the function that answers the Internet may read three things and send to one queue', () => {
      const policy = of('aws_iam_role_policy').find(({ address }) =>
        address.includes('module.function["webhooks"].aws_iam_role_policy.own'),
      );
      const allowed = statements(policy?.values.policy).map(({ Action, Resource: on }) => [Action, on]);
      expect(allowed).toEqual([
        [
          ['secretsmanager:GetSecretValue'],
          [expect.stringMatching(/:aw_gha_webhook_/), expect.stringMatching(/:aw_bk_webhook_/)],
        ],
        [['s3:GetObject'], [`arn:aws:s3:::${bucket}/config/groups.json`]],
        [['sqs:SendMessage'], ['arn:aws:sqs:us-west-2:123456789012:aw-scaling-inbox']],
      ]);
    });

    test('the agent secrets are those that operators may write', () => {
      const operator = only(of('aws_iam_policy').filter(({ values }) => values.name === 'aw-operator-usw2'));
      const writable = statements(operator.values.policy).find(({ Sid }) => Sid === 'WriteSecrets');
      const [pattern = ''] = writable?.Resource ?? [];
      expect(writable).toMatchObject({
        Resource: ['arn:aws:secretsmanager:us-west-2:123456789012:secret:aw_*'],
        Condition: { StringEquals: { 'aws:ResourceTag/hearth:deployment': 'aw' } },
      });
      const secrets = of('aws_secretsmanager_secret');
      expect(secrets.length).toBeGreaterThan(5);
      for (const { values } of secrets) {
        expect(covers(pattern, text(values.arn)), text(values.arn)).toBe(true);
        expect(values.tags).toMatchObject({ 'hearth:deployment': 'aw' });
      }
    });

    test('operators raise the epoch of each scope of the build cache, and write nothing else in the bucket', () => {
      const operator = only(of('aws_iam_policy').filter(({ values }) => values.name === 'aw-operator-usw2'));
      const ofBucket = statements(operator.values.policy)
        .filter(({ Action }) => [Action].flat().some((action) => action.startsWith('s3:')))
        .map(({ Action, Resource: on }) => [[Action].flat().sort(), on]);
      const arn = `arn:aws:s3:::${bucket}`;
      expect(ofBucket).toEqual([
        [['s3:GetObject', 's3:PutObject'], [`${arn}/${epochKey('*')}`]],
        [['s3:ListBucket'], [arn]],
      ]);
    });

    test('runners can read their own set and send reports; only warming groups can write snapshots', async () => {
      const roles = runnerPolicies();
      const about = (id: string) =>
        statements(roles.find(({ address }) => address.includes(`"${id}"`))?.values.policy);
      for (const { address } of roles) {
        const id = idOf(address);
        const actions = about(id)
          .flatMap(({ Action }) => Action)
          .filter((action) => !/^(ssm|ssmmessages|logs):/.test(action));
        expect(actions.sort(), id).toEqual([
          ...(/warm/.test(id) ? [] : ['lambda:InvokeFunction', 'lambda:InvokeFunctionUrl']),
          's3:GetObject',
          ...(['gha/default', 'gha/org'].includes(id) ? ['s3:GetObject'] : []),
          ...(['bk/default', 'gha/small-jobs'].includes(id) ? [] : ['s3:ListBucket']),
          ...(id === 'gha/default' ? ['s3:PutObject'] : []),
          'sqs:SendMessage',
        ]);
      }
      const arn = `arn:aws:s3:::${bucket}`;
      expect(
        about('cci/default')
          .find(({ Sid }) => Sid === 'ReadOwnSetAndTools')
          ?.Resource.sort(),
      ).toEqual([
        `${arn}/sets/ios/frames/*`,
        `${arn}/sets/ios/pointer.json`,
        `${arn}/sets/ios/snapshots/*`,
        `${arn}/tools/*`,
      ]);
      expect(about('bk/default').find(({ Sid }) => Sid === 'ReadOwnSetAndTools')?.Resource).toEqual([
        `${arn}/tools/*`,
      ]);
      // The build cache: who may only read has no way to claim anything.
      const reads = about('gha/org').find(({ Sid }) => Sid === 'ReadBuildCache')?.Resource ?? [];
      expect([...reads].sort()).toEqual([`${arn}/cache/main/*`, `${arn}/config/cache/main.json`]);
      expect(about('gha/org').find(({ Sid }) => Sid === 'WriteBuildCache')).toBeUndefined();
      const writes = about('gha/default').find(({ Sid }) => Sid === 'WriteBuildCache')?.Resource ?? [];
      expect(writes).toEqual([`${arn}/cache/main/*`]);
      const [place, sha256] = [{ scope: 'main', epoch: 0 }, 'a'.repeat(64)];
      for (const key of [actionKey(place, sha256), outputKey(place, sha256), toolKey(place, 'nx', 'key')])
        expect(covers(writes[0] ?? '', `${arn}/${key}`), key).toBe(true);
      for (const key of [epochKey('main'), actionKey({ ...place, scope: 'main-2' }, sha256)])
        expect(covers(writes[0] ?? '', `${arn}/${key}`), key).toBe(false);
      // The CloudWatch agent writes logs of an instance below the name of its group.
      expect(about('cci/default').find(({ Sid }) => Sid === 'WriteOwnLog')).toMatchObject({
        Action: expect.arrayContaining(['logs:CreateLogStream', 'logs:PutLogEvents']),
        Resource: ['arn:aws:logs:us-west-2:123456789012:log-group:aw_runners:log-stream:aw-cci-default/*'],
      });
      const manage = of('aws_iam_policy').find(({ values }) => values.name === 'aw-warming-manage-ios-usw2');
      expect(
        statements(manage?.values.policy)
          .flatMap(({ Resource: on }) => on)
          .sort(),
      ).toEqual([`${arn}/sets/ios/frames/*`, `${arn}/sets/ios/snapshots/*`]);
      // To create and to read, and nothing else: neither a removal nor another version.
      expect(statements(manage?.values.policy).flatMap(({ Action }) => Action)).toEqual([
        's3:PutObject',
        's3:GetObject',
        's3:AbortMultipartUpload',
      ]);
      const program = await actionsOfRunner(root);
      const toWarm = statements(manage?.values.policy).flatMap(({ Action }) => Action);
      const warms = [...about('bk/warm-ios').flatMap(({ Action }) => Action), ...toWarm];
      expect([...new Set(warms.filter((action) => !/^(ssm|ssmmessages|logs):/.test(action)))].sort()).toEqual(
        program.sort(),
      );
      const attached = of('aws_iam_role_policy_attachment').filter(({ name }) => name === 'further');
      expect(attached.map(({ values }) => values.role).sort()).toEqual([
        'aw-bk-warm-ios-usw2',
        'aw-gha-warming-usw2',
      ]);
    });
  });
}
