import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { actionKey, CACHE_TOOLS, epochKey, outputKey, toolKey } from '../../shared/fleet/build-cache.ts';
import { text } from '../infra/state.ts';
import { type Deployed, deployed, noDeployment, reportBus } from './deployment.ts';
import { type IamRequest, judge } from './judge.ts';

/** The table of principals in SECURITY.md: each of its lines is a call that IAM allows or denies. */

type Call = Omit<IamRequest, 'role'>;
type Row = { may: string[]; mayNot: string[] };

const page = readFileSync(resolve(import.meta.dirname, '../../SECURITY.md'), 'utf8');

/** The rows below the heading "Principals". */
function table(): Map<string, Row> {
  const [, section = ''] = page.split('\n## Principals\n');
  const rows = [...section.matchAll(/^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$/gm)].slice(1);
  const cell = (content = '') => content.split(';').map((item) => item.trim());
  return new Map(
    rows.map(([, name = '', may, mayNot]) => [name.trim(), { may: cell(may), mayNot: cell(mayNot) }]),
  );
}

/** Roles of a principal. */
const ROLES: Record<string, readonly string[]> = {
  'instances of a group': ['aw-gha-default', 'aw-gha-warming'],
  'instances of a warming group': ['aw-gha-warming'],
  'instances of a group with `cache = "read"`': ['aw-bk-pulls'],
  'instances of a group with `cache = "write"`': ['aw-bk-main', 'aw-bk-forks'],
  ...Object.fromEntries(
    ['registration', 'scaling', 'lifecycle', 'warming', 'alarms', 'parameters', 'webhooks'].map((name) => [
      `\`${name}\``,
      [name],
    ]),
  ),
};

/** The scope that a group writes. */
const OWN_SCOPE: Record<string, string> = { 'aw-bk-main': 'main', 'aw-bk-forks': 'forks' };

/** What functions do with groups. */
const GROUP_ACTIONS = [
  'SetDesiredCapacity',
  'TerminateInstanceInAutoScalingGroup',
  'CompleteLifecycleAction',
  'RecordLifecycleActionHeartbeat',
];

/** The name of an action or an output. */
const HEX = 'a'.repeat(64);

/** Lines that a role of its row has no part in: a warming group has no agent. */
const EXCEPTIONS = [
  'aw-gha-warming: ask `registration` through its URL',
  'aw-gha-warming: create an object of a snapshot',
];

/** The calls behind the words of the table. */
function calls(made: Deployed): Record<string, readonly Call[]> {
  const arn = (service: string, name: string) => `arn:aws:${service}:${made.region}:${made.account}:${name}`;
  const object = (key: string) => `arn:aws:s3:::${made.bucket}/${key}`;
  const queue = (name: string) => arn('sqs', `aw-${name}`);
  const group = (name: string) =>
    arn(
      'autoscaling',
      `autoScalingGroup:00000000-0000-0000-0000-000000000000:autoScalingGroupName/aw-${name}`,
    );
  const secrets = (pattern: RegExp) =>
    made
      .of('aws_secretsmanager_secret')
      .filter(({ values }) => pattern.test(text(values.name_prefix)))
      .map(({ values }) => text(values.arn));
  const read = (resources: readonly string[]) =>
    resources.map((resource) => ({ action: 'secretsmanager:GetSecretValue', resource }));
  const on = (action: string, ...resources: string[]) => resources.map((resource) => ({ action, resource }));
  const put = (key: string, context: Record<string, string>) => ({
    action: 's3:PutObject',
    resource: object(key),
    context,
  });
  const creates = { 's3:ObjectCreationOperation': 'true', 's3:if-none-match': '*' };
  const replaces = { 's3:ObjectCreationOperation': 'true' };
  const part = { 's3:ObjectCreationOperation': 'false' };
  const SNAPSHOT = [
    'snapshots/20261123T030000Z-1f2e3d4c/manifest.json',
    'snapshots/20261123T030000Z-1f2e3d4c/index',
    'frames/1',
  ];
  const ofSet = (set: string) => SNAPSHOT.map((key) => `sets/${set}/${key}`);
  const bus = reportBus(made);
  const registration = arn('lambda', 'function:aw_registration');
  const provider = secrets(/^aw_(gha_app|gha_token|bk_agent|cci)_/);
  const routing = secrets(/^aw_pd_routing_key_/);
  const keys = secrets(/^aw_(gha|bk)_webhook_/);
  /** What permissions could confuse with a group of the deployment: a longer prefix, and the names of the deployment with no tag or another one. */
  const own = { 'hearth:deployment': 'aw' };
  const foreign = { 'hearth:deployment': 'awx' };
  const foreignGroups = ['false', 'true'].flatMap((makes) => {
    const kind = { 'hearth:writes-snapshots': makes };
    return [
      { name: 'x-gha-default', tags: { ...foreign, ...kind } },
      { name: '-x-gha-default', tags: { ...foreign, ...kind } },
      { name: '-gha-foreign', tags: { ...foreign, ...kind } },
      { name: '-gha-foreign', tags: { 'hearth:deployment': 'a*', ...kind } },
      { name: '-gha-foreign', tags: kind },
      { name: '-gha-foreign', tags: {} },
      { name: 'x-gha-default', tags: { ...own, ...kind } },
    ].map(({ name, tags }) => ({ resource: group('').replace(/-$/, name), tags }));
  });
  const foreignSecrets = [
    { name: 'awx_cci_default_1-AbCdEf', tags: foreign },
    { name: 'awx_cci_default_1-AbCdEf', tags: own },
    { name: 'aw-x_cci_default_1-AbCdEf', tags: own },
    { name: 'aw_cci_foreign_1-AbCdEf', tags: foreign },
    { name: 'aw_cci_foreign_1-AbCdEf', tags: {} },
    { name: 'aw_foreign_1-AbCdEf', tags: own },
  ].map(({ name, tags }) => ({ resource: arn('secretsmanager', `secret:${name}`), tags }));
  const log = (name: string) => arn('logs', `log-group:aw_runners:log-stream:${name}/i-0123456789abcdef0`);
  /** Entries of a scope of the build cache: claims, and the large outputs, which prove themselves. */
  const place = (scope: string) => ({ scope, epoch: 0 });
  const claims = (scope: string) => [
    actionKey(place(scope), HEX),
    ...CACHE_TOOLS.map((tool) => toolKey(place(scope), tool, 'key')),
  ];
  const outputs = (scope: string) => [outputKey(place(scope), HEX)];
  const entries = (scope: string) => [...claims(scope), ...outputs(scope)];
  const everyScope = ['main', 'forks', 'none'];
  return {
    'read the build cache of `main`': on(
      's3:GetObject',
      ...[...entries('main'), epochKey('main')].map(object),
    ),
    'create an entry of its own scope': entries('OWN').map((key) => put(key, creates)),
    'store a large output of its own scope again': outputs('OWN').map((key) => put(key, replaces)),
    'create an entry of the build cache': everyScope.flatMap(entries).map((key) => put(key, creates)),
    'create an entry of another scope': entries('OTHER').map((key) => put(key, creates)),
    'upload a part of an entry': entries('main').map((key) => put(key, part)),
    'replace a claim': everyScope.flatMap(claims).map((key) => put(key, replaces)),
    'delete an entry': [
      ...on('s3:DeleteObject', ...everyScope.flatMap(entries).map(object)),
      ...on('s3:DeleteObjectVersion', ...everyScope.flatMap(entries).map(object)),
    ],
    'read a scope that it does not name': on(
      's3:GetObject',
      ...[...entries('none'), epochKey('none')].map(object),
    ),
    'raise the epoch of a scope': everyScope.flatMap((scope) => [
      put(epochKey(scope), creates),
      put(epochKey(scope), replaces),
    ]),
    'read the runner program': on('s3:GetObject', object('tools/aw-runner-0123456789abcdef.mjs')),
    'read the snapshots of its own set': on(
      's3:GetObject',
      object('sets/default/pointer.json'),
      ...ofSet('default').map(object),
    ),
    'send a report': on('sqs:SendMessage', queue('reports')),
    'ask `registration` through its URL': [
      {
        action: 'lambda:InvokeFunctionUrl',
        resource: registration,
        context: { 'lambda:FunctionUrlAuthType': 'AWS_IAM' },
      },
      {
        action: 'lambda:InvokeFunction',
        resource: registration,
        context: { 'lambda:InvokedViaFunctionUrl': 'true' },
      },
    ],
    'write its own log': on('logs:PutLogEvents', log('OWN')),
    'read another set': on('s3:GetObject', object('sets/other/pointer.json'), ...ofSet('other').map(object)),
    'create an object of a snapshot': ofSet('default').map((key) => put(key, creates)),
    'delete an object': on('s3:DeleteObject', ...ofSet('default').map(object), object('config/groups.json')),
    'read a secret': read([...provider, ...routing, ...keys]),
    'invoke `registration` without its URL': [
      { action: 'lambda:InvokeFunction', resource: registration },
      {
        action: 'lambda:InvokeFunction',
        resource: registration,
        context: { 'lambda:InvokedViaFunctionUrl': 'false' },
      },
    ],
    'send to an inbox of a function': on(
      'sqs:SendMessage',
      ...['lifecycle', 'warming', 'alarms', 'parameters', 'scaling', 'registration'].flatMap((name) => [
        queue(`${name}-inbox`),
        queue(`${name}-dead`),
      ]),
    ),
    'receive reports': [
      ...on('sqs:ReceiveMessage', queue('reports')),
      ...on('sqs:PurgeQueue', queue('reports')),
    ],
    'write the log of another group': on('logs:PutLogEvents', log('aw-bk-default')),
    'change a group': [
      ...on('autoscaling:SetDesiredCapacity', group('gha-default'), group('gha-warming')),
      ...on('autoscaling:TerminateInstanceInAutoScalingGroup', group('gha-default')),
      ...on('autoscaling:CompleteLifecycleAction', group('gha-default')),
    ],
    'change a group of another deployment': foreignGroups.flatMap(({ resource, tags }) =>
      GROUP_ACTIONS.map((action) => ({ action: `autoscaling:${action}`, resource, tags })),
    ),
    'read a secret of another deployment': foreignSecrets.map((secret) => ({
      action: 'secretsmanager:GetSecretValue',
      ...secret,
    })),
    'change a tag': [
      ...['CreateOrUpdateTags', 'DeleteTags'].flatMap((name) =>
        on(`autoscaling:${name}`, group('gha-default'), group('gha-warming'), group('gha-foreign')),
      ),
      ...['TagResource', 'UntagResource'].flatMap((name) => on(`secretsmanager:${name}`, ...provider)),
    ],
    'write a parameter': on('ssm:PutParameter', arn('ssm', 'parameter/aw/deployment')),
    'put an event': [
      {
        action: 'events:PutEvents',
        resource: bus,
        context: { 'events:source': 'aw.lifecycle' },
      },
    ],
    'create an object of a snapshot of its own set': ofSet('default').map((key) => put(key, creates)),
    'upload a part': [put('sets/default/frames/1', part)],
    'replace an object of a snapshot': ofSet('default').map((key) => put(key, replaces)),
    'delete an object of a snapshot': [
      ...on('s3:DeleteObject', ...ofSet('default').map(object)),
      ...on('s3:DeleteObjectVersion', ...ofSet('default').map(object)),
    ],
    'complete an upload over an object': [put('sets/default/frames/1', replaces)],
    'create an object of another set': ofSet('other').map((key) => put(key, creates)),
    'promote a snapshot': [put('sets/default/pointer.json', replaces)],
    'ask `registration`': [
      {
        action: 'lambda:InvokeFunctionUrl',
        resource: registration,
        context: { 'lambda:FunctionUrlAuthType': 'AWS_IAM' },
      },
      {
        action: 'lambda:InvokeFunction',
        resource: registration,
        context: { 'lambda:InvokedViaFunctionUrl': 'true' },
      },
    ],
    'read the credentials of a CI provider': read(provider),
    'write a record of an instance': [put('registrations/i-0123456789abcdef0.json', replaces)],
    'write a record of a group': [put('lifecycle/gha/default.json', replaces)],
    'read the routing key': read(routing),
    'read a key of webhooks': read(keys),
    'write a snapshot': ofSet('default').map((key) => put(key, creates)),
    'raise a group that takes jobs': on(
      'autoscaling:SetDesiredCapacity',
      group('gha-default'),
      group('cci-other'),
    ),
    'write a budget': [put('registrations/budgets/0123.json', replaces)],
    'scale a warming group': on('autoscaling:SetDesiredCapacity', group('gha-warming')),
    'scale a group that takes jobs': on('autoscaling:SetDesiredCapacity', group('gha-default')),
    'scale a group': on('autoscaling:SetDesiredCapacity', group('gha-default'), group('gha-warming')),
    'terminate an instance': on('autoscaling:TerminateInstanceInAutoScalingGroup', group('gha-default')),
    'complete a hook': on('autoscaling:CompleteLifecycleAction', group('gha-default')),
    'put a report': [
      {
        action: 'events:PutEvents',
        resource: bus,
        context: { 'events:source': 'aw.lifecycle' },
      },
    ],
    'put an event of another source': ['aw.schedule', 'bb.lifecycle', 'aws.autoscaling'].map((source) => ({
      action: 'events:PutEvents',
      resource: bus,
      context: { 'events:source': source },
    })),
    'read a snapshot': on(
      's3:GetObject',
      object('sets/default/pointer.json'),
      ...ofSet('default').map(object),
    ),
    'delete a snapshot': on('s3:DeleteObject', ...ofSet('default').map(object)),
    'write the runner program': [put('tools/aw-runner-0123456789abcdef.mjs', replaces)],
    'describe alarms': on('cloudwatch:DescribeAlarms', arn('cloudwatch', 'alarm:aw-backlog')),
    'change an alarm': [
      ...on('cloudwatch:PutMetricAlarm', arn('cloudwatch', 'alarm:aw-backlog')),
      ...on('cloudwatch:DisableAlarmActions', arn('cloudwatch', 'alarm:aw-backlog')),
    ],
    'write an object': [
      'config/groups.json',
      'backlog/state.json',
      'sets/default/pointer.json',
      'tools/x',
    ].map((key) => put(key, replaces)),
    'write a parameter of the tree': on('ssm:PutParameter', arn('ssm', 'parameter/aw/deployment')),
    'read a pointer': on('s3:GetObject', object('sets/default/pointer.json')),
    'write a parameter outside the tree': on(
      'ssm:PutParameter',
      arn('ssm', 'parameter/other'),
      arn('ssm', 'parameter/awx/deployment'),
      arn('ssm', 'parameter/aw'),
    ),
    'read the declared groups': on('s3:GetObject', object('config/groups.json')),
    'leave a hint': on('sqs:SendMessage', queue('scaling-inbox')),
    'read a record of an instance': on('s3:GetObject', object('registrations/i-0123456789abcdef0.json')),
    'send to another inbox': on(
      'sqs:SendMessage',
      ...['reports', 'lifecycle-inbox', 'warming-inbox', 'registration-inbox', 'scaling-dead'].map(queue),
    ),
  };
}

describe.skipIf(noDeployment !== undefined)('the table of principals in SECURITY.md', () => {
  const made = deployed();
  const rows = table();

  test('names every role of the module that code runs with', () => {
    expect([...rows.keys()].sort()).toEqual(Object.keys(ROLES).sort());
    const functions = made
      .of('aws_lambda_function')
      .map(({ values }) => `\`${text(values.function_name).replace('aw_', '')}\``);
    expect([...rows.keys()]).toEqual(expect.arrayContaining(functions));
  });

  test('uses words that stand for calls, and every call is in it', () => {
    const words = [...rows.values()].flatMap(({ may, mayNot }) => [...may, ...mayNot]);
    expect([...new Set(words)].sort()).toEqual(Object.keys(calls(made)).sort());
    for (const [word, behind] of Object.entries(calls(made))) expect(behind.length, word).toBeGreaterThan(0);
  });

  test.each([...rows].flatMap(([name]) => (ROLES[name] ?? []).map((role) => [name, role] as const)))(
    '%s: IAM judges %s as it says',
    async (name, role) => {
      const resultOf = judge(made);
      const row = rows.get(name) ?? { may: [], mayNot: [] };
      const own = (call: Call) => ({
        ...call,
        role,
        resource: call.resource
          .replace('stream:OWN/', `stream:${role}/`)
          .replace('cache/OWN/', `cache/${OWN_SCOPE[role]}/`)
          .replace('cache/OTHER/', `cache/${OWN_SCOPE[role] === 'main' ? 'forks' : 'main'}/`),
      });
      const wrong: string[] = [];
      for (const [words, isAllowed] of [
        [row.may, true],
        [row.mayNot, false],
      ] as const) {
        for (const word of words.filter((one) => !EXCEPTIONS.includes(`${role}: ${one}`))) {
          for (const call of calls(made)[word] ?? []) {
            const result = await resultOf(own(call));
            if ((result === 'Allowed') !== isAllowed)
              wrong.push(`${word}: ${result}: ${JSON.stringify(own(call))}`);
          }
        }
      }
      expect(wrong).toEqual([]);
    },
  );

  test('the queue of reports denies every role that is none of the deployment, whatever it may do elsewhere', async () => {
    const { runSimulation } = await import('@cloud-copilot/iam-simulate');
    const queue = made.of('aws_sqs_queue').find(({ values }) => values.name === 'aw-reports')?.values;
    const policy = made.of('aws_sqs_queue_policy').find(({ values }) => values.queue_url === queue?.id)
      ?.values.policy;
    const result = async (role: string) => {
      const simulated = await runSimulation(
        {
          request: {
            principal: `arn:aws:sts::${made.account}:assumed-role/${role}/i-0123456789abcdef0`,
            action: 'sqs:SendMessage',
            resource: { resource: text(queue?.arn), accountId: made.account },
            contextVariables: {
              'aws:SecureTransport': 'true',
              'aws:PrincipalArn': `arn:aws:iam::${made.account}:role/${role}`,
            },
          },
          identityPolicies: [
            {
              name: 'all',
              policy: {
                Version: '2012-10-17',
                Statement: [{ Effect: 'Allow', Action: 'sqs:*', Resource: '*' }],
              },
            },
          ],
          serviceControlPolicies: [],
          resourceControlPolicies: [],
          resourcePolicy: JSON.parse(text(policy)),
        },
        {},
      );
      return simulated.resultType === 'error' ? JSON.stringify(simulated.errors) : simulated.overallResult;
    };
    expect(await result('aw-gha-default')).toBe('Allowed');
    expect(await result('administrator')).toBe('ExplicitlyDenied');
    expect(await result('bb-gha-default')).toBe('ExplicitlyDenied');
  });
});
