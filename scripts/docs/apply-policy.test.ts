import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { actionsOf, applyPolicies, BOUNDARY, POLICY_CHARACTERS, parsePermissions } from './apply-policy.ts';

const file = resolve(import.meta.dirname, '../../infra/docs/iam/permissions.json');
const types = parsePermissions(readFileSync(file, 'utf8'));
const documents = Object.entries(applyPolicies(types));

type Statement = { Action: string[]; Resource: string[]; Condition?: unknown };
const statements = documents.flatMap(([, document]) => (document as { Statement: Statement[] }).Statement);

describe('the policies for the principal that applies', () => {
  test('allow exactly the actions that the resource types need', () => {
    const needed = new Set(Object.values(types).flatMap(actionsOf));
    const allowed = new Set(statements.flatMap(({ Action }) => Action));
    expect([...allowed].sort()).toEqual([...needed].sort());
  });

  test.each(documents)('%s fits into a managed policy', (_, document) => {
    expect(JSON.stringify(document).length).toBeLessThanOrEqual(POLICY_CHARACTERS);
  });

  test('name resources of the deployment, except where AWS has no resource-level permission', () => {
    const everywhere = statements.filter(({ Resource }) => Resource.includes('*'));
    // Auto Scaling checks that the caller may run instances of the template, with any AMI and subnet.
    const known =
      /^(autoscaling:Describe|ec2:Describe|ec2:RunInstances$|logs:DescribeLogGroups$|lambda:CreateEventSourceMapping$)/;
    for (const action of everywhere.flatMap(({ Action }) => Action)) expect(action).toMatch(known);
  });

  test('pass roles only to the services that use them', () => {
    const passing = statements.filter(({ Action }) => Action.includes('iam:PassRole'));
    expect(passing.map(({ Condition }) => Condition)).toEqual(
      ['ec2', 'lambda', 'scheduler'].map((service) => ({
        StringEquals: { 'iam:PassedToService': `${service}.amazonaws.com` },
      })),
    );
  });
});

describe('nobody becomes administrator with the policies', () => {
  const own = Object.entries(applyPolicies(types)).flatMap(([file, document]) =>
    file === 'apply-policy-people.json' ? [] : (document as { Statement: Statement[] }).Statement,
  );
  const grants = own.flatMap(({ Action, Resource, Condition }) =>
    Action.map((action) => ({ action, Resource, Condition })),
  );

  test('roles are created, and get policies, only with the boundary', () => {
    const escalating = grants.filter(({ action }) =>
      /^iam:(CreateRole|(Put|Attach|Delete|Detach)RolePolicy)$/.test(action),
    );
    expect(escalating).toHaveLength(5);
    for (const { action, Condition } of escalating)
      expect(Condition, action).toEqual({ ArnLike: { 'iam:PermissionsBoundary': BOUNDARY } });
  });

  test('the boundary stays, and is not of the names that the policies may change', () => {
    const actions = grants.map(({ action }) => action);
    for (const action of ['iam:PutRolePermissionsBoundary', 'iam:DeleteRolePermissionsBoundary'])
      expect(actions).not.toContain(action);
    expect(
      actions.filter((action) => /:(Create|Update)(User|Group|LoginProfile|AccessKey)/.test(action)),
    ).toEqual([]);
    const policies = grants.filter(({ action }) => action.startsWith('iam:CreatePolicy'));
    for (const { Resource } of policies) expect(Resource).toEqual(['arn:aws:iam::*:policy/aw-*']);
    expect(BOUNDARY).not.toMatch(/policy\/aw/);
  });
});

test('a list with invalid permissions is refused', () => {
  const type = {
    create: ['sqs:CreateQueue'],
    read: ['sqs:GetQueueAttributes'],
    update: [],
    delete: ['sqs:*'],
  };
  expect(() => parsePermissions(JSON.stringify({ aws_sqs_queue: { ...type, on: ['*'] } }))).toThrow(
    /aws_sqs_queue.delete/,
  );
});
