import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { actionsOf, applyPolicies, POLICY_CHARACTERS, parsePermissions } from './apply-policy.ts';

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
