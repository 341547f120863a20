import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as v from 'valibot';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { GROUPS_KEY, groupsFileSchema } from '../../shared/fleet/group-settings.ts';
import { only, type Resource, resourcesOf, text } from './state.ts';
import { canApply, type Workspace, whyNot, workspace } from './terraform.ts';

const reason = whyNot() ?? (canApply ? undefined : 'an apply needs an offline terraform in HEARTH_TERRAFORM');
if (reason) console.warn(`a deployment with hundreds of groups is not tested: ${reason}`);

/** Groups of each provider, and warming sets: more than one dashboard shows, and more than policies could name. */
const PER_PROVIDER = 34;
const SETS = 20;

const many = <T>(count: number, one: (at: number) => [string, T]) =>
  Object.fromEntries(Array.from({ length: count }, (_, at) => one(at)));

/** Names of a usual length, which are no part of another name. */
const name = (at: number) => `team-of-services-${1000 + at}`;
const group = { max_runners: 4, resource_type: 'default', warming: true, warming_set: 'set-0' };

/** What all groups share, and one group. The others, and the alarms of all groups, would take most of the time. */
const TARGETS = [
  `module.runner_group["gha/${name(PER_PROVIDER - 1)}"]`,
  ...['function', 'support', 'warming', 'alarms.aws_cloudwatch_dashboard.this'].map((one) => `module.${one}`),
  ...['groups', 'parameters'].map((one) => `aws_s3_object.${one}`),
  ...['names', 'values', 'inputs', 'aws', 'cache_inputs'].map((rules) => `terraform_data.${rules}`),
];

const configuration = {
  provider: { aws: { region: 'us-west-2' } },
  module: {
    hearth: {
      source: '../',
      customer_id: 'large',
      vpc_id: 'vpc-00000000000000000',
      vpc_subnets: ['subnet-00000000000000001'],
      hosts: ['gha', 'cci', 'bk'],
      enable_webhooks: true,
      build_cache: {},
      resource_types: { default: { instance_types: ['c6id.4xlarge'], image_id: 'ami-00000000000000000' } },
      warming_sets: many(SETS, (at) => [`set-${at}`, { command: ['warm'] }]),
      // The first ones make the snapshots. All others have a cache, for the most graphs and scopes.
      gha_runner_groups: many(PER_PROVIDER, (at) => [
        name(at),
        {
          ...{ max_runners: 4, resource_type: 'default', gh_repo: 'acme/monorepo', queue: name(at) },
          ...(at < SETS
            ? { policies: { warming_manage: `set-${at}` } }
            : { cache: 'write', cache_scope: `scope-${at}` }),
        },
      ]),
      cci_runner_groups: many(PER_PROVIDER, (at) => [name(at), group]),
      bk_runner_groups: many(PER_PROVIDER, (at) => [
        name(at),
        { ...group, queue: name(at), cache: 'write', cache_scope: 'main' },
      ]),
    },
  },
};

const dashboardSchema = v.pipe(
  v.string(),
  v.parseJson(),
  v.object({
    widgets: v.array(
      v.object({
        properties: v.object({
          title: v.optional(v.string()),
          markdown: v.optional(v.string()),
          metrics: v.optional(v.array(v.array(v.string())), []),
        }),
      }),
    ),
  }),
);

describe.skipIf(reason !== undefined)(`a deployment with ${3 * PER_PROVIDER} groups`, () => {
  let space: Workspace;
  let all: Resource[];
  const of = (type: string) => all.filter((one) => one.type === type);
  const lengthOf = (policy: unknown) => text(policy).replaceAll(/\s/g, '').length;

  beforeAll(() => {
    space = workspace();
    const folder = join(space.path, 'infra/large');
    mkdirSync(folder);
    writeFileSync(join(folder, 'main.tf.json'), JSON.stringify(configuration));
    space.must('large', 'init', '-backend=false', '-input=false');
    space.must(
      'large',
      'apply',
      '-auto-approve',
      '-input=false',
      ...TARGETS.map((one) => `-target=module.hearth.${one}`),
    );
    all = resourcesOf(space.must('large', 'show', '-json'));
  });
  afterAll(() => space?.remove());

  test('has all of its groups', () => {
    expect(of('aws_autoscaling_group')).toHaveLength(1);
    expect(of('aws_secretsmanager_secret').length).toBeGreaterThan(PER_PROVIDER);
    const object = only(of('aws_s3_object').filter(({ values }) => values.key === GROUPS_KEY));
    const { groups } = v.parse(groupsFileSchema, JSON.parse(text(object.values.content)));
    expect(Object.keys(groups)).toHaveLength(3 * PER_PROVIDER);
  });

  test('has policies within the limits of IAM, of which none but those of a group name one', () => {
    // IAM User Guide, "IAM and AWS STS quotas": without white space.
    for (const role of of('aws_iam_role')) {
      const inline = of('aws_iam_role_policy').filter(({ values }) => values.role === role.values.id);
      const sum = inline.reduce((total, { values }) => total + lengthOf(values.policy), 0);
      expect(sum, role.address).toBeGreaterThan(0);
      expect(sum, role.address).toBeLessThan(10_240);
    }
    for (const { address, values } of of('aws_iam_policy'))
      expect(lengthOf(values.policy), address).toBeLessThan(6_144);
    const ofDeployment = [...of('aws_iam_role_policy'), ...of('aws_iam_policy')].filter(
      ({ address }) => !address.includes('.module.runner_group['),
    );
    expect(ofDeployment.length).toBeGreaterThan(10);
    for (const { address, values } of ofDeployment)
      expect(text(values.policy), address).not.toMatch(/team.of.services/);
    // S3 User Guide, "Bucket policies"; SQS API Reference, "SetQueueAttributes" has no limit below that.
    for (const type of ['aws_s3_bucket_policy', 'aws_sqs_queue_policy'])
      for (const { address, values } of of(type))
        expect(lengthOf(values.policy), address).toBeLessThan(20_480);
  });

  test('has variables of functions within the limit of Lambda', () => {
    for (const { address, values } of of('aws_lambda_function')) {
      const [environment] = v.parse(
        v.array(v.object({ variables: v.record(v.string(), v.string()) })),
        values.environment,
      );
      // As Lambda measures them: as JSON.
      const variables = JSON.stringify(environment?.variables);
      expect(variables.length, address).toBeLessThanOrEqual(4_096);
      // The warming group of each set is on GitHub, and no other group is named.
      expect(variables, address).not.toMatch(/(bk|cci)[-_/]team/);
    }
  });

  test('shows each group in one of several dashboards, each within the limits of CloudWatch', () => {
    const dashboards = of('aws_cloudwatch_dashboard').map(({ values }) => ({
      name: text(values.dashboard_name),
      widgets: v.parse(dashboardSchema, values.dashboard_body).widgets,
    }));
    const pages = Array.from({ length: Math.ceil((3 * PER_PROVIDER) / 80) }, (_, at) => at + 1);
    expect(pages.length).toBeGreaterThan(1);
    expect(dashboards.map((one) => one.name)).toEqual(
      pages.map((page) => `aw-fleet-usw2${page === 1 ? '' : `-${page}`}`),
    );
    const shown: string[] = [];
    for (const { name, widgets } of dashboards) {
      expect(widgets.length, name).toBeLessThanOrEqual(500);
      const rows = widgets.map(({ properties }) => properties.metrics.length);
      expect(Math.max(...rows), name).toBeLessThanOrEqual(500);
      expect(
        rows.reduce((total, count) => total + count, 0),
        name,
      ).toBeLessThanOrEqual(2_500);
      const boots = widgets.find(({ properties }) => properties.title === 'Boot time (p90)');
      for (const row of boots?.properties.metrics ?? []) shown.push(row.at(-1) ?? '');
      // Who opens one finds the others.
      for (const other of dashboards)
        expect(widgets[0]?.properties.markdown).toContain(`#dashboards/dashboard/${other.name})`);
    }
    const ids = ['bk', 'cci', 'gha'].flatMap((provider) =>
      Array.from({ length: PER_PROVIDER }, (_, at) => `${provider}/${name(at)}`),
    );
    expect(shown).toEqual(ids);
    const titles = dashboards.flatMap(({ widgets }) => widgets.map(({ properties }) => properties.title));
    expect(titles.filter((title) => title === 'Messages in dead-letter queues')).toHaveLength(1);
  });

  // A plan of as many groups would take minutes. A quota of sets is a condition of the same list.
  test('is warned about, where it needs more than the default quotas of AWS', () => {
    const inputs = {
      customer_id: 'a',
      hosts: ['bk'],
      vpc_id: 'vpc-0',
      vpc_subnets: ['subnet-0'],
      resource_types: {},
    };
    const sets = many(1_499, (at) => [`set-${at}`, { command: ['warm'] }]);
    const file = join(space.path, 'infra/quotas.auto.tfvars.json');
    writeFileSync(file, JSON.stringify({ ...inputs, warming_sets: sets }));
    space.must('.', 'init', '-backend=false', '-input=false');
    expect(space.asked('.', 'jsonencode(local.exceeded_quotas)')).toContain(
      '1501 customer managed policies of IAM per account (default 1500)',
    );
    const rules = readFileSync(join(space.path, 'infra/checks-aws.tf'), 'utf8');
    expect(rules).toMatch(
      /check "default_quotas" \{\n +assert \{\n +condition += length\(local\.exceeded_quotas\) == 0\n/,
    );
  });

  test('has rules, tags and parameters within the limits of EventBridge, S3, Auto Scaling and Parameter Store', () => {
    // EventBridge User Guide, "Amazon EventBridge quotas".
    for (const { address, values } of of('aws_cloudwatch_event_rule'))
      expect(text(values.event_pattern).length, address).toBeLessThan(2_048);
    const [lifecycle] = of('aws_s3_bucket_lifecycle_configuration');
    expect(v.parse(v.array(v.unknown()), lifecycle?.values.rule).length).toBeLessThan(1_000);
    for (const { address, values } of of('aws_autoscaling_group'))
      expect(v.parse(v.array(v.unknown()), values.tag).length, address).toBeLessThanOrEqual(10);
    const declared = only(
      of('aws_s3_object').filter(({ values }) => values.key === 'config/parameters.json'),
    );
    const { parameters } = v.parse(
      v.object({ parameters: v.record(v.string(), v.string()) }),
      JSON.parse(text(declared.values.content)),
    );
    expect(Object.keys(parameters)).toHaveLength(3 * PER_PROVIDER + 1);
    for (const [path, value] of Object.entries(parameters))
      expect(value.length, path).toBeLessThanOrEqual(4_096);
  });
});
