import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { alarmsEnv } from '../../../functions/alarms/env.ts';
import { lifecycleEnv } from '../../../functions/lifecycle/env.ts';
import { parametersEnv } from '../../../functions/parameters/env.ts';
import { registrationEnv } from '../../../functions/registration/env.ts';
import { scalingEnv } from '../../../functions/scaling/env.ts';
import { warmingEnv } from '../../../functions/warming/env.ts';
import { webhooksEnv } from '../../../functions/webhooks/env.ts';
import { fill } from '../../../scripts/local/deploy/names.ts';
import { COMMON_ENV } from '../../../shared/runtime/define-function.ts';
import { readEnv } from '../../../shared/runtime/env.ts';
import { hasInbox, readFunctionSpecs, visibilitySeconds } from '../../../shared/runtime/function-spec.ts';
import { actionsOf, Lambda } from '../iam-actions.ts';
import { only, statements, text } from '../state.ts';
import { type Applied, bucket } from './applied.ts';

const root = resolve(import.meta.dirname, '../../..');
const specs = await readFunctionSpecs(root);
const envs: Record<string, Parameters<typeof readEnv>[0]> = {
  alarms: alarmsEnv,
  lifecycle: lifecycleEnv,
  parameters: parametersEnv,
  registration: registrationEnv,
  scaling: scalingEnv,
  warming: warmingEnv,
  webhooks: webhooksEnv,
};

export function aboutFunctions(made: Applied): void {
  const { of, inFunction } = made;
  describe('functions', () => {
    test('a second apply changes nothing', () => {
      expect(made.run('plan', '-input=false', '-detailed-exitcode').status).toBe(0);
    });

    describe.each(specs)('function $name', (spec) => {
      test('subscribes to the patterns of its function.json', () => {
        const expected = spec.subscriptions.flatMap((one) =>
          one.kind === 'events'
            ? [[`aw-${spec.name}-${one.name}`, fill(one.pattern, { prefix: 'aw', bucket })] as const]
            : [],
        );
        const made = inFunction('aws_cloudwatch_event_rule', spec.name).map(
          ({ values }) => [text(values.name), JSON.parse(text(values.event_pattern))] as const,
        );
        expect(Object.fromEntries(made)).toEqual(Object.fromEntries(expected));
      });

      test('every rule has the inbox as target and a dead-letter queue', () => {
        const dead = `arn:aws:sqs:us-west-2:123456789012:aw-${spec.name}-dead`;
        for (const { values } of inFunction('aws_cloudwatch_event_target', spec.name)) {
          expect(values).toMatchObject({
            arn: `arn:aws:sqs:us-west-2:123456789012:aw-${spec.name}-inbox`,
            dead_letter_config: [{ arn: dead }],
          });
        }
      });

      test('has exactly the environment that its code requires', () => {
        const { environment } = only(inFunction('aws_lambda_function', spec.name)).values;
        const [{ variables }] = environment as [{ variables: Record<string, string> }];
        const env = envs[spec.name];
        if (!env) throw new Error(`${spec.name} has an env.ts that is missing in this test`);
        expect(Object.keys(env).sort()).toEqual([...spec.environment].sort());
        const common = hasInbox(spec) ? COMMON_ENV : {};
        expect(Object.keys(variables).sort()).toEqual([...spec.environment, ...Object.keys(common)].sort());
        expect(() => readEnv({ ...env, ...common }, variables)).not.toThrow();
        const queue = (name: string) => `https://sqs.us-west-2.amazonaws.com/123456789012/aw-${name}`;
        const secret = (name: string) => expect.stringMatching(new RegExp(`:secret:aw_${name}_`));
        const stated: Record<string, unknown> = {
          NAME_PREFIX: 'aw',
          BUCKET: bucket,
          ACCOUNT_ID: '123456789012',
          REPORTS_URL: queue('reports'),
          EVENT_BUS: 'aw-reports',
          ROUTING_SECRET_ID: secret('pd_routing_key'),
          SCALING_INBOX_URL: queue('scaling-inbox'),
          PAGERDUTY_URL: 'https://events.pagerduty.com',
          PARAMETER_ROOT: '/aw',
          REPLICA_REGIONS: '["eu-west-1"]',
        };
        for (const [name, value] of Object.entries(variables))
          if (name in stated) expect(value, name).toEqual(stated[name]);
        const unstated = Object.keys(variables).filter((name) => !(name in stated));
        const elsewhere = ['DEAD_LETTER_URL', 'INBOX_URL', 'WARMING_SETS', 'WEBHOOK_SECRETS'];
        for (const name of unstated) expect(elsewhere).toContain(name);
        if (variables.WEBHOOK_SECRETS !== undefined)
          expect(JSON.parse(variables.WEBHOOK_SECRETS)).toEqual({
            gha: secret('gha_webhook'),
            bk: secret('bk_webhook'),
          });
        if (variables.INBOX_URL !== undefined)
          expect([variables.INBOX_URL, variables.DEAD_LETTER_URL]).toEqual(
            ['inbox', 'dead'].map(
              (kind) => inFunction('aws_sqs_queue', spec.name).find(({ name }) => name === kind)?.values.url,
            ),
          );
      });

      test('has the size and the polling of its function.json', () => {
        const [lambda] = inFunction('aws_lambda_function', spec.name);
        expect(lambda?.values).toMatchObject({
          function_name: `aw_${spec.name}`,
          memory_size: spec.memoryMb,
          timeout: spec.timeoutSeconds,
          runtime: 'nodejs24.x',
          handler: 'index.handler',
          // Lambda's JSON format would wrap embedded metrics.
          logging_config: [{ log_format: 'Text', log_group: `aw_${spec.name}` }],
        });
        const mappings = inFunction('aws_lambda_event_source_mapping', spec.name);
        expect(mappings.map(({ values }) => text(values.event_source_arn).split(':').at(-1)).sort()).toEqual(
          [
            ...(hasInbox(spec) ? [`aw-${spec.name}-inbox`] : []),
            ...spec.extraInboxes.map((queue) => `aw-${queue}`),
          ].sort(),
        );
        for (const { values } of mappings) {
          expect(values).toMatchObject({
            batch_size: spec.batchSize,
            function_response_types: ['ReportBatchItemFailures'],
            scaling_config: [{ maximum_concurrency: spec.concurrency }],
          });
        }
        for (const { values } of inFunction('aws_sqs_queue', spec.name)) {
          // 14 days, the maximum of SQS.
          expect(values.message_retention_seconds).toBe(1_209_600);
        }
        const queues = inFunction('aws_sqs_queue', spec.name).filter(({ name }) => name !== 'dead');
        for (const { values } of queues) {
          expect(values.visibility_timeout_seconds).toBe(visibilitySeconds(spec));
          expect(values.sqs_managed_sse_enabled).toBe(true);
          expect(JSON.parse(text(values.redrive_policy)).maxReceiveCount).toBe(spec.receiveLimit);
          const isExtra = spec.extraInboxes.some((queue) => values.name === `aw-${queue}`);
          if (isExtra) expect(values.max_message_size).toBe(spec.extraInboxBytes);
        }
      });

      test('has the URL of its function.json, with its authorization and a reserved concurrency', () => {
        const urls = spec.subscriptions.flatMap((one) => (one.kind === 'url' ? [one] : []));
        const made = inFunction('aws_lambda_function_url', spec.name).map(({ values }) => values);
        expect(made).toHaveLength(urls.length);
        const auth = { iam: 'AWS_IAM', none: 'NONE' };
        for (const [index, url] of urls.entries())
          expect(made[index]).toMatchObject({
            function_name: `aw_${spec.name}`,
            authorization_type: auth[url.auth],
          });
        const [lambda] = inFunction('aws_lambda_function', spec.name);
        expect(lambda?.values.reserved_concurrent_executions).toBe(spec.reservedConcurrency ?? -1);
        // No policy of a function admits others; the roles of its callers do.
        expect(inFunction('aws_lambda_permission', spec.name)).toEqual([]);
      });

      test('has exactly the permissions that its bundle uses', () => {
        const meta = JSON.parse(readFileSync(join(root, `dist/functions/${spec.name}.meta.json`), 'utf8'));
        const allowed = inFunction('aws_iam_role_policy', spec.name)
          .filter(({ name }) => name !== 'scheduler')
          .flatMap(({ values }) => statements(values.policy))
          .flatMap(({ Action }) => Action);
        const byLambda = hasInbox(spec) ? Lambda : Lambda.filter((action) => !action.startsWith('sqs:'));
        // It reads one object, which exists, so it needs no answer that tells "not found" from "denied".
        const needed = actionsOf(root, meta).filter(
          (action) => spec.name !== 'webhooks' || action !== 's3:ListBucket',
        );
        expect([...new Set(allowed)].sort()).toEqual([...needed, ...byLambda].sort());
      });
    });

    test('schedules send to the inbox of their function, with its dead-letter queue', () => {
      for (const { values } of of('aws_scheduler_schedule')) {
        const [, name] = /^aw-([a-z]+)-/.exec(text(values.name)) ?? [];
        expect(values.target).toMatchObject([
          {
            arn: `arn:aws:sqs:us-west-2:123456789012:aw-${name}-inbox`,
            role_arn: `arn:aws:iam::123456789012:role/aw_${name}_usw2_schedules`,
            dead_letter_config: [{ arn: `arn:aws:sqs:us-west-2:123456789012:aw-${name}-dead` }],
          },
        ]);
      }
    });

    test('log groups of functions and runners have the retention of the input', () => {
      const kept = of('aws_cloudwatch_log_group').map(({ values }) => [
        values.name,
        values.retention_in_days,
      ]);
      expect(Object.fromEntries(kept)).toEqual({
        aw_runners: 90,
        ...Object.fromEntries(specs.map(({ name }) => [`aw_${name}`, 90])),
      });
    });

    test('the logs of runners, which jobs can write, are of the class without metrics', () => {
      for (const { values } of of('aws_cloudwatch_log_group')) {
        const isOfRunners = values.name === 'aw_runners';
        expect(values.log_group_class === 'INFREQUENT_ACCESS', text(values.name)).toBe(isOfRunners);
      }
      const metrics = of('aws_cloudwatch_log_metric_filter');
      expect(metrics).toEqual([]);
    });

    test('schedules send the envelope of EventBridge, with placeholders for the Scheduler', () => {
      const names = of('aws_scheduler_schedule').map(({ values }) => values.name);
      expect(names.sort()).toEqual([
        'aw-lifecycle-reconcile',
        'aw-parameters-reconcile',
        'aw-registration-sweep',
        'aw-scaling-poll',
        'aw-warming-check-default',
        'aw-warming-check-ios',
        'aw-warming-run-default',
        'aw-warming-run-ios',
      ]);
      const run = only(
        of('aws_scheduler_schedule').filter(({ values }) => values.name === 'aw-warming-run-ios'),
      );
      expect(run.values.schedule_expression).toBe('cron(30 2 * * ? *)');
      const [target] = run.values.target as [{ input: string; arn: string }];
      expect(target.arn).toBe('arn:aws:sqs:us-west-2:123456789012:aw-warming-inbox');
      expect(target.input).toContain('"<aws.scheduler.execution-id>"');
      expect(JSON.parse(target.input)).toEqual({
        version: '0',
        id: '<aws.scheduler.execution-id>',
        account: '123456789012',
        region: 'us-west-2',
        time: '<aws.scheduler.scheduled-time>',
        resources: ['arn:aws:scheduler:us-west-2:123456789012:schedule/default/aw-warming-run-ios'],
        source: 'aw.schedule',
        'detail-type': 'Warming Run Due',
        detail: { set: 'ios' },
      });
    });

    test("queues accept messages from the function's own rules only", () => {
      for (const { address, values } of of('aws_sqs_queue_policy')) {
        const rules = statements(values.policy).filter(({ Effect }) => Effect === 'Allow');
        for (const { Action, Condition } of rules) {
          expect(Action, address).toEqual(['sqs:SendMessage']);
          expect(JSON.stringify(Condition), address).toMatch(/rule\/(aws\.partner\/[\w./-]+\/)?aw-/);
        }
        expect(statements(values.policy).find(({ Sid }) => Sid === 'DenyWithoutTls')).toMatchObject({
          Effect: 'Deny',
          Principal: '*',
          Action: ['sqs:*'],
          Condition: { Bool: { 'aws:SecureTransport': 'false' } },
        });
      }
      // Only the queues of the function move messages to its dead-letter queue.
      const allowed = of('aws_sqs_queue_redrive_allow_policy');
      expect(allowed).toHaveLength(specs.filter((spec) => hasInbox(spec)).length);
      for (const { address, values } of allowed)
        expect(JSON.parse(text(values.redrive_allow_policy)), address).toMatchObject({
          redrivePermission: 'byQueue',
          sourceQueueArns: expect.arrayContaining([expect.stringMatching(/:aw-[a-z]+-inbox$/)]),
        });
    });

    const denials = (queue: string) =>
      of('aws_sqs_queue_policy')
        .filter(({ address }) => address.endsWith(`["${queue}"]`))
        .flatMap(({ values }) => statements(values.policy));

    test('only functions, their rules and schedules, and operators send to inboxes and dead-letter queues', () => {
      for (const queue of ['inbox', 'dead']) {
        const found = denials(queue).filter(({ Sid }) => Sid === 'DenyOtherSenders');
        expect(found).toHaveLength(specs.filter((spec) => hasInbox(spec)).length);
        for (const { Effect, Principal, Action, Condition } of found) {
          expect({ Effect, Principal, Action }).toEqual({
            Effect: 'Deny',
            Principal: '*',
            Action: ['sqs:SendMessage'],
          });
          expect(Condition).toEqual({
            ArnNotLike: {
              'aws:PrincipalArn': [
                'arn:aws:iam::123456789012:role/aw_*',
                'arn:aws:iam::123456789012:role/acme-operator',
              ],
            },
            // The rules of the function are admitted by their ARNs.
            Bool: { 'aws:PrincipalIsAWSService': 'false' },
          });
        }
      }
      // Neither a runner nor another deployment has such a role.
      const roles = of('aws_iam_role').map(({ values }) => text(values.name));
      const senders = roles.filter((name) => /^aw_/.test(name));
      expect(senders.length).toBeGreaterThan(0);
      for (const name of senders) expect(name).toMatch(/^aw_[a-z]+_usw2(_schedules)?$/);
    });

    test('only roles with the prefix, which runners have, send to the queue of reports', () => {
      expect(denials('reports')).toMatchObject([
        {
          Sid: 'DenyOtherSenders',
          Effect: 'Deny',
          Principal: '*',
          Action: ['sqs:SendMessage'],
          Resource: ['arn:aws:sqs:us-west-2:123456789012:aw-reports'],
          Condition: { ArnNotLike: { 'aws:PrincipalArn': 'arn:aws:iam::123456789012:role/aw-*' } },
        },
        { Sid: 'DenyWithoutTls' },
      ]);
      const senders = of('aws_iam_role_policy')
        .filter(({ values }) => statements(values.policy).some(({ Sid }) => Sid === 'SendReports'))
        .map(({ values }) => text(values.role));
      expect(senders).toHaveLength(7);
      for (const role of senders) expect(role).toMatch(/^aw-/);
    });
  });
}
