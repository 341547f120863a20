import * as v from 'valibot';
import { describe, expect, test } from 'vitest';
import { statements } from '../state.ts';
import type { Applied } from './applied.ts';
import { bucket } from './applied.ts';

const queues = v.object({ inbox: v.string(), dead: v.string(), extra: v.record(v.string(), v.string()) });

/** The public outputs of the module. */
const outputs = v.strictObject({
  agent_secret_ids: v.record(v.string(), v.string()),
  alarms_sns_topic_arn: v.string(),
  bucket: v.string(),
  cost_allocation_tag: v.string(),
  cost_allocation_tag_value: v.string(),
  dashboard_url: v.string(),
  function_urls: v.record(v.string(), v.string()),
  gha_token_secret_id: v.string(),
  grafana_dashboard: v.string(),
  kms_key_statements: v.string(),
  groups: v.record(
    v.string(),
    v.object({ auto_scaling_group: v.string(), role: v.string(), security_group_id: v.string() }),
  ),
  pagerduty_routing_secret_id: v.string(),
  queues: v.record(v.string(), queues),
  support_policy: v.object({ arn: v.string(), json: v.string() }),
  webhook_secret_ids: v.record(v.string(), v.string()),
  warming_management_policies: v.record(v.string(), v.object({ arn: v.string(), name: v.string() })),
});

export function aboutOutputs(made: Applied): void {
  const shown = () =>
    v.parse(
      v.object({ values: v.object({ outputs: v.object({ hearth: v.object({ value: outputs }) }) }) }),
      JSON.parse(made.state),
    ).values.outputs.hearth.value;

  describe('outputs', () => {
    test('name the deployed resources', () => {
      const found = shown();
      expect(found).toMatchObject({
        bucket,
        cost_allocation_tag: 'hearth-deployment',
        cost_allocation_tag_value: 'acme/monorepo',
        alarms_sns_topic_arn: 'arn:aws:sns:us-west-2:123456789012:aw-alarms',
      });
      expect(found.dashboard_url).toMatch(
        /^https:\/\/us-west-2\.console\.aws\.amazon\.com\/.*aw-fleet-usw2$/,
      );
      expect(Object.keys(found.groups).sort()).toEqual([
        'bk/default',
        'bk/warm-ios',
        'cci/default',
        'gha/default',
        'gha/org',
        'gha/small-jobs',
        'gha/warming',
      ]);
      expect(found.groups['gha/small-jobs']?.auto_scaling_group).toBe('aw-gha-small-jobs');
      expect(found.agent_secret_ids['gha/default']).toMatch(/:aw_gha_app_/);
      expect(found.gha_token_secret_id).toMatch(/:aw_gha_token_/);
      expect(found.webhook_secret_ids).toEqual({
        gha: expect.stringMatching(/:aw_gha_webhook_/),
        bk: expect.stringMatching(/:aw_bk_webhook_/),
      });
      expect(found.function_urls).toEqual({
        registration: expect.stringMatching(/^https:\/\/[a-z0-9]+\.lambda-url\.us-west-2\.on\.aws\/$/),
        webhooks: expect.stringMatching(/^https:\/\/[a-z0-9]+\.lambda-url\.us-west-2\.on\.aws\/$/),
      });
      expect(found.queues.lifecycle?.extra.reports).toMatch(/aw-reports$/);
      const secrets = made.of('aws_secretsmanager_secret').map(({ values }) => values.id);
      const ids = [
        found.pagerduty_routing_secret_id,
        found.gha_token_secret_id,
        ...Object.values(found.agent_secret_ids),
        ...Object.values(found.webhook_secret_ids),
      ];
      expect([...new Set(ids)].sort()).toEqual(secrets.sort());
    });

    test('have a management policy for every set, with or without a group', () => {
      const policies = shown().warming_management_policies;
      expect(Object.keys(policies).sort()).toEqual(['default', 'ios', 'later']);
      expect(policies.ios?.arn).toBe('arn:aws:iam::123456789012:policy/aw-warming-manage-ios-usw2');
    });

    test('have a read-only support policy, with sessions on instances of the deployment only', () => {
      const rules = statements(shown().support_policy.json);
      const changing = rules
        .flatMap(({ Action }) => Action)
        .filter((action) => !/:(Describe|Get|List|Filter)|logs:StartQuery/.test(action));
      expect([...new Set(changing)].sort()).toEqual([
        'ssm:ResumeSession',
        'ssm:StartSession',
        'ssm:TerminateSession',
      ]);
      expect(rules.find(({ Sid }) => Sid === 'StartSessionsOnRunners')?.Condition).toEqual({
        StringLike: { 'ssm:resourceTag/Name': 'aw-*' },
        StringEquals: { 'ssm:resourceTag/created-by': 'hearth' },
        // A session is root, and these instances write what all runners of a set mount.
        StringNotEquals: { 'ssm:resourceTag/hearth:writes-snapshots': 'true' },
      });
      const writers = made
        .of('aws_launch_template')
        .filter(({ values }) =>
          JSON.stringify(values.tag_specifications).includes('"hearth:writes-snapshots":"true"'),
        );
      expect(writers.map(({ values }) => values.name).sort()).toEqual(['aw-bk-warm-ios', 'aw-gha-warming']);
    });
  });
}
