import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { alarmsEnv } from '../../functions/alarms/env.ts';
import { readLabels } from '../../functions/alarms/labels.ts';
import { lifecycleEnv } from '../../functions/lifecycle/env.ts';
import { parametersEnv } from '../../functions/parameters/env.ts';
import { warmingEnv } from '../../functions/warming/env.ts';
import { readFunctionSpecs } from '../../scripts/functions/spec.ts';
import { fill } from '../../scripts/local/deploy/names.ts';
import { parseConfig } from '../../scripts/runner/config.ts';
import { COMMON_ENV } from '../../shared/runtime/define-function.ts';
import { readEnv } from '../../shared/runtime/env.ts';
import { METRIC_NAMESPACE, METRICS } from '../../shared/runtime/metrics.ts';
import { matches } from './event-pattern.ts';
import { actionsOf, Lambda } from './iam-actions.ts';
import { type Resource, resourcesOf, statements, text } from './state.ts';
import { canApply, type Workspace, whyNot, workspace } from './terraform.ts';

const root = resolve(import.meta.dirname, '../..');
const specs = await readFunctionSpecs(root);
const envs: Record<string, Parameters<typeof readEnv>[0]> = {
  alarms: alarmsEnv,
  lifecycle: lifecycleEnv,
  parameters: parametersEnv,
  warming: warmingEnv,
};
const bucket = 'aw-snapshots-123456789012-us-west-2';

const reason =
  whyNot() ?? (canApply ? undefined : 'applying needs a terraform in HEARTH_TERRAFORM that only pretends');
if (reason) console.warn(`the tests of the applied example are skipped: ${reason}`);

describe.skipIf(reason !== undefined)('the complete example, applied', () => {
  let space: Workspace;
  let all: Resource[] = [];
  let state = '';
  const folder = 'examples/complete';
  const of = (type: string) => all.filter((resource) => resource.type === type);
  const inFunction = (type: string, name: string) =>
    of(type).filter(({ address }) => address.includes(`module.function["${name}"]`));

  beforeAll(() => {
    space = workspace();
    space.must(folder, 'init', '-backend=false', '-input=false');
    space.must(folder, 'apply', '-auto-approve', '-input=false');
    state = space.must(folder, 'show', '-json');
    all = resourcesOf(state);
  });
  afterAll(() => space.remove());

  test('needs no second apply', () => {
    expect(space.run(folder, 'plan', '-input=false', '-detailed-exitcode').status).toBe(0);
  });

  describe.each(specs)('function $name', (spec) => {
    test('listens to the patterns of its function.json', () => {
      const wanted = spec.listensTo.flatMap((one) =>
        one.kind === 'events'
          ? [[`aw-${spec.name}-${one.name}`, fill(one.pattern, { prefix: 'aw', bucket })] as const]
          : [],
      );
      const made = inFunction('aws_cloudwatch_event_rule', spec.name).map(
        ({ values }) => [text(values.name), JSON.parse(text(values.event_pattern))] as const,
      );
      expect(Object.fromEntries(made)).toEqual(Object.fromEntries(wanted));
    });

    test('is sent each event with a dead-letter queue behind the rule', () => {
      const dead = `arn:aws:sqs:us-west-2:123456789012:aw-${spec.name}-dead`;
      for (const { values } of inFunction('aws_cloudwatch_event_target', spec.name)) {
        expect(values).toMatchObject({
          arn: `arn:aws:sqs:us-west-2:123456789012:aw-${spec.name}-inbox`,
          dead_letter_config: [{ arn: dead }],
        });
      }
    });

    test('has the environment that its code requires, and no more', () => {
      const [lambda] = inFunction('aws_lambda_function', spec.name);
      const [{ variables }] = lambda?.values.environment as [{ variables: Record<string, string> }];
      const env = envs[spec.name];
      if (!env) throw new Error(`${spec.name} has an env.ts that this test does not know`);
      expect(Object.keys(env).sort()).toEqual([...spec.environment].sort());
      expect(Object.keys(variables).sort()).toEqual([...spec.environment, ...Object.keys(COMMON_ENV)].sort());
      expect(() => readEnv({ ...env, ...COMMON_ENV }, variables)).not.toThrow();
    });

    test('is sized and polled as function.json says', () => {
      const [lambda] = inFunction('aws_lambda_function', spec.name);
      expect(lambda?.values).toMatchObject({
        function_name: `aw_${spec.name}`,
        memory_size: spec.memoryMb,
        timeout: spec.timeoutSeconds,
        runtime: 'nodejs24.x',
        handler: 'index.handler',
        logging_config: [{ log_group: `aw_${spec.name}` }],
      });
      const mappings = inFunction('aws_lambda_event_source_mapping', spec.name);
      expect(mappings.map(({ values }) => text(values.event_source_arn).split(':').at(-1)).sort()).toEqual(
        [`aw-${spec.name}-inbox`, ...spec.extraInboxes.map((queue) => `aw-${queue}`)].sort(),
      );
      for (const { values } of mappings) {
        expect(values).toMatchObject({
          batch_size: spec.batchSize,
          function_response_types: ['ReportBatchItemFailures'],
          scaling_config: [{ maximum_concurrency: spec.concurrency }],
        });
      }
      const queues = inFunction('aws_sqs_queue', spec.name).filter(({ name }) => name !== 'dead');
      for (const { values } of queues) {
        expect(values.visibility_timeout_seconds).toBeGreaterThanOrEqual(6 * spec.timeoutSeconds);
        expect(values.sqs_managed_sse_enabled).toBe(true);
        expect(JSON.parse(text(values.redrive_policy)).maxReceiveCount).toBe(spec.receiveLimit);
      }
    });

    test('may do what its bundle can call, and nothing else', () => {
      const meta = JSON.parse(readFileSync(join(root, `dist/functions/${spec.name}.meta.json`), 'utf8'));
      const allowed = inFunction('aws_iam_role_policy', spec.name)
        .filter(({ name }) => name !== 'scheduler')
        .flatMap(({ values }) => statements(values.policy))
        .flatMap(({ Action }) => Action);
      expect([...new Set(allowed)].sort()).toEqual([...actionsOf(spec.name, meta), ...Lambda].sort());
    });
  });

  test('a star stands only where AWS knows no resource', () => {
    const withoutResources = [
      /^autoscaling:Describe/,
      /^cloudwatch:(DescribeAlarms|GetMetricData)$/,
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

  test('schedules carry the envelope that the functions read, with places that the Scheduler fills', () => {
    const names = of('aws_scheduler_schedule').map(({ values }) => values.name);
    expect(names.sort()).toEqual([
      'aw-parameters-reconcile',
      'aw-warming-check-default',
      'aw-warming-check-ios',
      'aw-warming-run-default',
      'aw-warming-run-ios',
    ]);
    const run = of('aws_scheduler_schedule').find(({ values }) => values.name === 'aw-warming-run-ios');
    expect(run?.values.schedule_expression).toBe('cron(30 2 * * ? *)');
    const [target] = run?.values.target as [{ input: string; arn: string }];
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

  test("queues take messages from the function's own rules alone", () => {
    for (const { address, values } of of('aws_sqs_queue_policy')) {
      const rules = statements(values.policy).filter(({ Effect }) => Effect === 'Allow');
      for (const { Action, Condition } of rules) {
        expect(Action, address).toEqual(['sqs:SendMessage']);
        expect(JSON.stringify(Condition), address).toMatch(/rule\/aw-/);
      }
      expect(statements(values.policy).map(({ Sid }) => Sid)).toContain('TlsOnly');
    }
    const reports = of('aws_sqs_queue_policy').find(({ address }) => address.includes('"reports"'));
    expect(statements(reports?.values.policy).map(({ Sid }) => Sid)).toEqual(['TlsOnly']);
  });

  test('alarms watch metrics that exist, under dimensions that exist', () => {
    const elsewhere: Record<string, string[]> = {
      'AWS/SQS ApproximateNumberOfMessagesVisible': ['QueueName'],
      'AWS/SQS ApproximateAgeOfOldestMessage': ['QueueName'],
      'AWS/Lambda Errors': ['FunctionName'],
      'AWS/Lambda Throttles': ['FunctionName'],
    };
    const watched = new Set<string>();
    for (const { address, values } of of('aws_cloudwatch_metric_alarm')) {
      const name = text(values.metric_name);
      const dimensions = Object.keys(values.dimensions ?? {}).sort();
      if (values.namespace === METRIC_NAMESPACE) {
        const known: Record<string, { dimensions: readonly (readonly string[])[] }> = METRICS;
        expect(
          known[name]?.dimensions.map((set) => [...set].sort()),
          address,
        ).toContainEqual(dimensions);
        watched.add(name);
      } else {
        expect(elsewhere[`${values.namespace} ${name}`], address).toEqual(dimensions);
      }
    }
    expect([...watched].sort()).toEqual(Object.keys(METRICS).sort());
  });

  test('the dashboard shows metrics that exist', () => {
    const [dashboard] = of('aws_cloudwatch_dashboard');
    const { widgets } = JSON.parse(text(dashboard?.values.dashboard_body));
    const shown: string[][] = widgets.flatMap(
      ({ properties }: { properties: { metrics?: string[][] } }) => properties.metrics ?? [],
    );
    const ours = shown.filter(([namespace]) => namespace === METRIC_NAMESPACE);
    for (const [, name = '', ...dimensions] of ours) {
      const known: Record<string, { dimensions: readonly (readonly string[])[] }> = METRICS;
      expect(known[name]?.dimensions, name).toContainEqual(dimensions.filter((_, index) => index % 2 === 0));
    }
    expect([...new Set(ours.map(([, name]) => name))].sort()).toEqual(Object.keys(METRICS).sort());
  });

  test('each alarm says how to page, in the words that the function reads, and has a runbook', () => {
    for (const { values } of of('aws_cloudwatch_metric_alarm')) {
      const tags = values.tags as Record<string, string>;
      expect(Object.keys(tags)).toEqual(
        expect.arrayContaining(['hearth:severity', 'hearth:runbook', 'hearth:route']),
      );
      const labels = readLabels(
        { description: text(values.alarm_description), dimensions: {} } as Parameters<typeof readLabels>[0],
        tags,
      );
      expect(labels.severity).toBe(tags['hearth:severity']);
      expect(labels.runbook).toBe(tags['hearth:runbook']);
      const page = labels.runbook?.replace('https://wiki.example.com/hearth/runbooks/', '') ?? '';
      expect(readdirSync(join(root, 'docs/runbooks'))).toContain(page);
      expect(text(values.alarm_name)).toMatch(/^aw-/);
    }
    const muted = of('aws_cloudwatch_metric_alarm').filter(({ values }) => values.actions_enabled === false);
    expect(muted.length).toBeGreaterThan(0);
    for (const { values } of muted)
      expect((values.dimensions as { Group: string }).Group).toBe('gha/small-jobs');
  });

  test('user data is cloud-init below 16 KB, with a configuration that aw-runner reads', () => {
    const templates = of('aws_launch_template');
    expect(templates.length).toBe(6);
    for (const { values } of templates) {
      const userData = Buffer.from(text(values.user_data), 'base64');
      expect(userData.length).toBeLessThan(16_384);
      expect(userData.toString('utf8')).toMatch(/^#cloud-config\n/);
      const { write_files: files } = parse(userData.toString('utf8')) as {
        write_files: { path: string; content: string }[];
      };
      const config = JSON.parse(
        files.find(({ path }) => path === '/etc/aw-runner/config.json')?.content ?? '',
      );
      expect(['gha', 'cci', 'bk']).toContain(config.agent.driver);
      // The drivers of the real hosts are not there yet: the rest has to be right without them.
      const agent = { driver: 'simulated', url: 'http://127.0.0.1:1', queue: 'q', command: ['x'] };
      const parsed = parseConfig(JSON.stringify({ ...config, agent }), text(values.name));
      expect(parsed.autoScalingGroup).toBe(values.name);
      expect(files.find(({ path }) => path.endsWith('bootstrap.sh'))?.content).toBe(
        readFileSync(join(root, 'infra/modules/runner-group/bootstrap.sh'), 'utf8'),
      );
      expect(userData.toString('utf8')).not.toMatch(/token"\s*:/i);
    }
    const ios = templates.find(({ values }) => values.name === 'aw-bk-warm-ios');
    expect(Buffer.from(text(ios?.values.user_data), 'base64').toString()).toContain('/opt/acme/warm.sh');
  });

  test('machines demand IMDSv2 of one hop, encrypted volumes, and let nothing in', () => {
    for (const { values } of of('aws_launch_template')) {
      expect(values).toMatchObject({
        metadata_options: [{ http_tokens: 'required', http_put_response_hop_limit: 1 }],
        network_interfaces: [{ associate_public_ip_address: 'false' }],
      });
      const [{ ebs }] = values.block_device_mappings as [{ ebs: [{ encrypted: unknown }] }];
      expect(String(ebs[0].encrypted)).toBe('true');
    }
    expect(of('aws_vpc_security_group_ingress_rule')).toEqual([]);
    for (const { values } of of('aws_security_group')) expect(values.ingress ?? []).toEqual([]);
  });

  test('groups have both hooks from the start, under the names that lifecycle completes', () => {
    for (const { values } of of('aws_autoscaling_group')) {
      expect(values.initial_lifecycle_hook).toEqual(
        expect.arrayContaining([
          expect.objectContaining({
            name: 'aw-boot',
            lifecycle_transition: 'autoscaling:EC2_INSTANCE_LAUNCHING',
            default_result: 'ABANDON',
          }),
          expect.objectContaining({
            name: 'aw-drain',
            lifecycle_transition: 'autoscaling:EC2_INSTANCE_TERMINATING',
            default_result: 'CONTINUE',
          }),
        ]),
      );
      expect(values).toMatchObject({ suspended_processes: ['AZRebalance'], force_delete: false });
    }
    const small = of('aws_autoscaling_group').find(({ values }) => values.name === 'aw-gha-small-jobs');
    expect(small?.values.mixed_instances_policy).toMatchObject([
      { instances_distribution: [{ on_demand_percentage_above_base_capacity: 0 }] },
    ]);
  });

  test('runners read what they need and report; warming groups alone get what writes', () => {
    const roles = of('aws_iam_role_policy').filter(({ address }) => address.includes('module.runner_group'));
    const about = (id: string) =>
      statements(roles.find(({ address }) => address.includes(`"${id}"`))?.values.policy);
    for (const { address } of roles) {
      const id = /runner_group\["(.+?)"\]/.exec(address)?.[1] ?? '';
      const actions = about(id)
        .flatMap(({ Action }) => Action)
        .filter((action) => !action.startsWith('ssm'));
      expect(actions.sort(), id).toEqual([
        's3:GetObject',
        'secretsmanager:GetSecretValue',
        'sqs:SendMessage',
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
    const manage = of('aws_iam_policy').find(({ values }) => values.name === 'aw-warming-manage-ios');
    expect(
      statements(manage?.values.policy)
        .flatMap(({ Resource: on }) => on)
        .sort(),
    ).toEqual([`${arn}/sets/ios/layers/*`, `${arn}/sets/ios/snapshots/*`]);
    const attached = of('aws_iam_role_policy_attachment').filter(({ name }) => name === 'further');
    expect(attached.map(({ values }) => values.role).sort()).toEqual(['aw-bk-warm-ios', 'aw-gha-warming']);
  });

  test('tags of cost, deployment, type and group reach instances and volumes', () => {
    const template = of('aws_launch_template').find(({ values }) => values.name === 'aw-gha-default');
    const wanted = {
      'created-by': 'hearth',
      'hearth-deployment': 'acme/monorepo',
      environment: 'ci',
      machine: 'large',
      team: 'build',
    };
    const specifications = template?.values.tag_specifications as {
      resource_type: string;
      tags: Record<string, string>;
    }[];
    expect(specifications.map(({ resource_type }) => resource_type).sort()).toEqual([
      'instance',
      'network-interface',
      'volume',
    ]);
    for (const { tags } of specifications) expect(tags).toMatchObject(wanted);
    const group = of('aws_autoscaling_group').find(({ values }) => values.name === 'aw-gha-default');
    const tags = group?.values.tag as { key: string; value: string; propagate_at_launch: boolean }[];
    expect(Object.fromEntries(tags.map(({ key, value }) => [key, value]))).toMatchObject(wanted);
    expect(tags.every(({ propagate_at_launch }) => propagate_at_launch)).toBe(true);
    for (const { address, values } of all) {
      if ('tags' in values)
        expect(values.tags, address).toMatchObject({ 'created-by': 'hearth', environment: 'ci' });
    }
  });

  test('secrets are made empty, under their names', () => {
    const prefixes = of('aws_secretsmanager_secret').map(({ values }) => values.name_prefix);
    expect(prefixes.sort()).toEqual([
      'aw_bk_agent_token_',
      'aw_cci_default_',
      'aw_gha_token_',
      'aw_pd_routing_key_',
    ]);
    expect(of('aws_secretsmanager_secret_version')).toEqual([]);
    expect(state).not.toContain('secret_string');
  });

  test('the bucket is versioned, encrypted, private, cleaned up and heard of', () => {
    expect(of('aws_s3_bucket_versioning')[0]?.values.versioning_configuration).toMatchObject([
      { status: 'Enabled' },
    ]);
    expect(of('aws_s3_bucket_server_side_encryption_configuration')).toHaveLength(1);
    expect(of('aws_s3_bucket_public_access_block')[0]?.values).toMatchObject({
      block_public_acls: true,
      block_public_policy: true,
      ignore_public_acls: true,
      restrict_public_buckets: true,
    });
    expect(of('aws_s3_bucket_notification')[0]?.values.eventbridge).toBe(true);
    const [policy] = statements(of('aws_s3_bucket_policy')[0]?.values.policy);
    expect(policy).toMatchObject({ Effect: 'Deny', Condition: { Bool: { 'aws:SecureTransport': 'false' } } });
    expect(of('aws_s3_bucket_lifecycle_configuration')[0]?.values.rule).toMatchObject([
      {
        abort_incomplete_multipart_upload: [{ days_after_initiation: 1 }],
        noncurrent_version_expiration: [{ noncurrent_days: 7 }],
      },
    ]);
  });

  test('sample events reach the functions that they are for', () => {
    const samples = join(root, 'test/fixtures/events');
    const rules = of('aws_cloudwatch_event_rule').map(({ values }) => ({
      name: text(values.name),
      pattern: JSON.parse(text(values.event_pattern)),
    }));
    const heardBy = (
      file: string,
      change: (event: Record<string, Record<string, unknown>>) => void = () => {},
    ) => {
      const event = JSON.parse(readFileSync(join(samples, file), 'utf8'));
      change(event);
      return rules
        .filter(({ pattern }) => matches(pattern, event))
        .map(({ name }) => name)
        .sort();
    };
    const ours = (event: Record<string, Record<string, unknown>>) => {
      event.detail = { ...event.detail, AutoScalingGroupName: 'aw-gha-default' };
    };
    expect(heardBy('autoscaling-launch-lifecycle-action.json', ours)).toEqual([
      'aw-lifecycle-lifecycle-actions',
    ]);
    expect(heardBy('autoscaling-terminate-lifecycle-action.json', ours)).toEqual([
      'aw-lifecycle-lifecycle-actions',
    ]);
    expect(heardBy('autoscaling-launch-successful.json', ours)).toEqual([
      'aw-lifecycle-lifecycle-actions',
      'aw-parameters-capacity',
    ]);
    expect(heardBy('autoscaling-launch-lifecycle-action.json')).toEqual([]);
    expect(heardBy('ec2-spot-interruption-warning-terminate.json')).toEqual(['aw-lifecycle-interruptions']);
    expect(heardBy('ec2-rebalance-recommendation.json')).toEqual(['aw-lifecycle-interruptions']);
    expect(heardBy('ec2-state-change-running.json')).toEqual([]);
    expect(heardBy('autoscaling-instance-refresh-started.json', ours)).toEqual([]);
    const alarm = (event: Record<string, Record<string, unknown>>) => {
      event.detail = { ...event.detail, alarmName: 'aw-backlog-gha-default' };
    };
    expect(heardBy('cloudwatch-alarm-state-change-metric-ok-to-alarm.json', alarm)).toEqual([
      'aw-alarms-alarm-state',
    ]);
    expect(heardBy('cloudwatch-alarm-state-change-metric-ok-to-alarm.json')).toEqual([]);
    expect(heardBy('cloudwatch-alarm-configuration-change-delete.json', alarm)).toEqual([
      'aw-alarms-alarm-deleted',
    ]);
    expect(heardBy('cloudwatch-alarm-configuration-change-update.json', alarm)).toEqual([]);
    const parameter = (name: string) => (event: Record<string, Record<string, unknown>>) => {
      event.detail = { ...event.detail, name };
    };
    expect(heardBy('ssm-parameter-store-change-update.json', parameter('/aw/deployment'))).toEqual([
      'aw-parameters-edits',
    ]);
    expect(heardBy('ssm-parameter-store-change-update.json', parameter('/awesome/x'))).toEqual([]);
    const object = (name: string, key: string) => (event: Record<string, Record<string, unknown>>) => {
      event.detail = { ...event.detail, bucket: { name }, object: { key } };
    };
    const manifest = 'sets/default/snapshots/20261123T030000Z-1f2e3d4c/manifest.json';
    expect(heardBy('s3-object-created-put.json', object(bucket, manifest))).toEqual(['aw-warming-manifests']);
    expect(heardBy('s3-object-created-put.json', object(bucket, 'sets/default/pointer.json'))).toEqual([
      'aw-parameters-declared',
    ]);
    expect(heardBy('s3-object-created-put.json', object(bucket, 'config/parameters.json'))).toEqual([
      'aw-parameters-declared',
    ]);
    expect(heardBy('s3-object-created-put.json', object('other', manifest))).toEqual([]);
    expect(heardBy('s3-object-deleted.json', object(bucket, manifest))).toEqual([]);
  });

  test('the permissions that docs/iam lists cover every type that is made', () => {
    const listed = JSON.parse(readFileSync(join(root, 'infra/docs/iam/permissions.json'), 'utf8'));
    const made = [...new Set(all.map(({ type }) => type))].filter((type) => type.startsWith('aws_'));
    expect(Object.keys(listed).sort()).toEqual([...made, 'aws_s3_object_copy'].sort());
  });
});
