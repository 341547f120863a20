import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { runSimulation } from '@cloud-copilot/iam-simulate';
import { describe, expect, test } from 'vitest';

/** What the role that runs `terraform apply` can do with the policies of infra/docs/iam, and what a role that it makes can do. */

const ACCOUNT = '123456789012';
const BOUNDARY = `arn:aws:iam::${ACCOUNT}:policy/hearth-boundary`;
const folder = resolve(import.meta.dirname, '../../infra/docs/iam');
const document = (name: string): object => JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8'));
const iam = (name: string) => `arn:aws:iam::${ACCOUNT}:${name}`;

type Call = { action: string; resource: string; context?: Record<string, string> };
type Policies = { name: string; policy: object }[];

async function resultOf(
  { action, resource, context = {} }: Call,
  identityPolicies: Policies,
  boundary?: Policies,
): Promise<string> {
  const simulated = await runSimulation(
    {
      request: {
        principal: iam('role/ci-deploy'),
        action,
        resource: { resource, accountId: ACCOUNT },
        contextVariables: context,
      },
      identityPolicies,
      serviceControlPolicies: [],
      resourceControlPolicies: [],
      ...(boundary && { permissionBoundaryPolicies: boundary }),
    },
    {},
  );
  if (simulated.resultType === 'error') throw new Error(`${action}: ${JSON.stringify(simulated.errors)}`);
  return simulated.overallResult;
}

const apply = ['apply-policy-services', 'apply-policy-fleet'].map((name) => ({
  name,
  policy: document(name),
}));
const bounded = { 'iam:PermissionsBoundary': BOUNDARY };
const ADMINISTRATOR = 'arn:aws:iam::aws:policy/AdministratorAccess';

describe('the role that applies', () => {
  test.each<[string, Call]>([
    [
      'creates a role with the boundary',
      { action: 'iam:CreateRole', resource: iam('role/aw-x'), context: bounded },
    ],
    ['writes its policy', { action: 'iam:PutRolePolicy', resource: iam('role/aw-x'), context: bounded }],
    [
      'passes it to Lambda',
      {
        action: 'iam:PassRole',
        resource: iam('role/aw_x'),
        context: { 'iam:PassedToService': 'lambda.amazonaws.com' },
      },
    ],
  ])('%s', async (_, call) => {
    expect(await resultOf(call, apply)).toBe('Allowed');
  });

  test.each<[string, Call]>([
    ['a role without a boundary', { action: 'iam:CreateRole', resource: iam('role/aw-x') }],
    [
      'a role with a boundary of its own',
      {
        action: 'iam:CreateRole',
        resource: iam('role/aw-x'),
        context: { 'iam:PermissionsBoundary': iam('policy/aw-boundary') },
      },
    ],
    ['a role of another name', { action: 'iam:CreateRole', resource: iam('role/admin'), context: bounded }],
    ['the policy of a role without a boundary', { action: 'iam:PutRolePolicy', resource: iam('role/aw-x') }],
    [
      'AdministratorAccess for a role without a boundary',
      {
        action: 'iam:AttachRolePolicy',
        resource: iam('role/aw-x'),
        context: { 'iam:PolicyARN': ADMINISTRATOR },
      },
    ],
    [
      'AdministratorAccess for itself',
      {
        action: 'iam:AttachRolePolicy',
        resource: iam('role/ci-deploy'),
        context: { 'iam:PolicyARN': ADMINISTRATOR },
      },
    ],
    [
      'a role without its boundary',
      { action: 'iam:DeleteRolePermissionsBoundary', resource: iam('role/aw-x') },
    ],
    ['another boundary', { action: 'iam:PutRolePermissionsBoundary', resource: iam('role/aw-x') }],
    ['the content of the boundary', { action: 'iam:CreatePolicyVersion', resource: BOUNDARY }],
    ['another trust for itself', { action: 'iam:UpdateAssumeRolePolicy', resource: iam('role/ci-deploy') }],
    [
      'another role for its function',
      {
        action: 'iam:PassRole',
        resource: iam('role/admin'),
        context: { 'iam:PassedToService': 'lambda.amazonaws.com' },
      },
    ],
    [
      'the code of another function',
      {
        action: 'lambda:UpdateFunctionCode',
        resource: `arn:aws:lambda:us-west-2:${ACCOUNT}:function:payments`,
      },
    ],
    ['a user', { action: 'iam:CreateUser', resource: iam('user/x') }],
    ['a key of a user', { action: 'iam:CreateAccessKey', resource: iam('user/admin') }],
    ['the session of another role', { action: 'sts:AssumeRole', resource: iam('role/admin') }],
  ])('does not get %s', async (_, call) => {
    expect(await resultOf(call, apply)).toMatch(/Denied$/);
  });
});

describe('a role that it has made, with every permission inside the boundary', () => {
  const all = [
    {
      name: 'all',
      policy: { Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action: '*', Resource: '*' }] },
    },
  ];
  const boundary = [{ name: 'boundary', policy: document('boundary') }];

  test('does what the module needs', async () => {
    const call = {
      action: 's3:GetObject',
      resource: 'arn:aws:s3:::aw-snapshots-x/sets/default/pointer.json',
    };
    expect(await resultOf(call, all, boundary)).toBe('Allowed');
  });

  test.each<[string, string]>([
    ['iam:CreateUser', iam('user/x')],
    ['iam:AttachRolePolicy', iam('role/aw-x')],
    ['iam:PassRole', iam('role/admin')],
    ['sts:AssumeRole', iam('role/admin')],
    ['s3:GetObject', 'arn:aws:s3:::payroll/x'],
    ['s3:PutBucketPolicy', 'arn:aws:s3:::aw-snapshots-x'],
    ['secretsmanager:GetSecretValue', `arn:aws:secretsmanager:us-west-2:${ACCOUNT}:secret:payroll-AbCdEf`],
    ['lambda:UpdateFunctionCode', `arn:aws:lambda:us-west-2:${ACCOUNT}:function:aw_lifecycle`],
    // Tags are conditions in the policies of functions.
    [
      'autoscaling:CreateOrUpdateTags',
      `arn:aws:autoscaling:us-west-2:${ACCOUNT}:autoScalingGroup:00000000-0000-0000-0000-000000000000:autoScalingGroupName/aw-x`,
    ],
    ['secretsmanager:TagResource', `arn:aws:secretsmanager:us-west-2:${ACCOUNT}:secret:aw_x-AbCdEf`],
    ['ec2:RunInstances', `arn:aws:ec2:us-west-2:${ACCOUNT}:instance/*`],
    ['ssm:StartSession', `arn:aws:ec2:us-west-2:${ACCOUNT}:instance/i-0123456789abcdef0`],
  ])('is no administrator: %s', async (action, resource) => {
    expect(await resultOf({ action, resource }, all, boundary)).toMatch(/Denied$/);
  });
});
