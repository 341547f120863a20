import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { METRIC_NAMESPACE } from '../../shared/runtime/metrics.ts';
import { type Resource, resourcesOf, statements, text } from './state.ts';
import { canApply, terraformIn, type Workspace, whyNot, workspace } from './terraform.ts';

const reason = whyNot() ?? (canApply ? undefined : 'an apply needs an offline terraform in HEARTH_TERRAFORM');
if (reason) console.warn(`deployments beside each other are not tested: ${reason}`);

const KEY = 'arn:aws:kms:us-west-2:123456789012:key/00000000-0000-0000-0000-000000000000';

/** A call with one warming group and one group that restores its snapshots. */
const call = (name: string, source: string, more: string) => `module "${name}" {
  source = "${source}"
${more}
  customer_id    = "acme"
  vpc_id         = "vpc-00000000000000000"
  vpc_subnets    = ["subnet-00000000000000001"]
  hosts          = ["bk"]
  tags           = { owner = "deployment" }
  warming_sets   = { default = { command = ["warm"], user = "ci" } }
  resource_types = { default = { instance_types = ["m6id.xlarge"], image_id = "ami-00000000000000000" } }
  bk_runner_groups = {
    default = { max_runners = 4, resource_type = "default", queue = "q", warming = true, tags = { owner = "group", team = "build" } }
    warming = { max_runners = 1, resource_type = "default", queue = "w", policies = { warming_manage = "default" } }
  }
}
`;

/** Every way to call the module, in one configuration beside the module: with for_each, with count, and with an absolute source. */
const configuration = (absolute: string) =>
  [
    'provider "aws" {\n  region = "us-west-2"\n}\n',
    `provider "aws" {
  alias  = "eu"
  region = "eu-central-1"

  default_tags {
    tags = {
      (module.europe[0].cost_allocation_tag) = module.europe[0].cost_allocation_tag_value
    }
  }
}
`,
    call('each', '../infra', '  for_each    = toset(["red", "blue"])\n  name_prefix = each.key'),
    // A prefix of the other region, with a provider whose default_tags come from the module.
    call('europe', '../infra', '  count       = 1\n  providers   = { aws = aws.eu }\n  name_prefix = "red"'),
    call('absolute', absolute, `  name_prefix = "abs"\n  kms_key_arn = "${KEY}"`),
  ].join('\n');

/** The calls, with their prefixes. */
const calls = { 'each["red"]': 'red', 'each["blue"]': 'blue', 'europe[0]': 'red', absolute: 'abs' };
const names = Object.keys(calls) as (keyof typeof calls)[];

describe.skipIf(reason !== undefined)('deployments beside each other', () => {
  let space: Workspace;
  let folder: string;
  let all: Resource[];
  const must = (...args: string[]): string => {
    const { status, stdout, stderr } = terraformIn(folder, ...args);
    expect(status, `terraform ${args[0]}: ${stdout}\n${stderr}`).toBe(0);
    return stdout;
  };
  /** Resources of one call. */
  const of = (name: string, type: string) =>
    all.filter((one) => one.type === type && one.address.startsWith(`module.${name}`));

  beforeAll(() => {
    space = workspace();
    folder = join(space.path, 'calls');
    mkdirSync(folder);
    writeFileSync(join(folder, 'main.tf'), configuration(join(space.path, 'infra')));
    must('init', '-backend=false', '-input=false');
    must('apply', '-auto-approve', '-input=false');
    all = resourcesOf(must('show', '-json'));
  });
  afterAll(() => space.remove());

  test('every way to call the module makes the same resources', () => {
    const made = names.map((name) =>
      all
        .filter(({ address }) => address.startsWith(`module.${name}.`))
        .map(({ address }) => address.slice(`module.${name}.`.length).replace(`-${calls[name]}-`, '-'))
        .sort(),
    );
    expect(made[0]?.length).toBeGreaterThan(150);
    for (const addresses of made) expect(addresses).toEqual(made[0]);
  });

  test('a second plan is empty, also in another checkout with the same state', () => {
    const other = mkdtempSync(join(tmpdir(), 'hearth-elsewhere-'));
    try {
      // The absolute source is the path of one computer, so it is the same here.
      cpSync(space.path, other, { recursive: true, verbatimSymlinks: true });
      const { status, stdout } = terraformIn(
        join(other, 'calls'),
        'plan',
        '-input=false',
        '-detailed-exitcode',
        '-no-color',
      );
      expect(status, stdout).toBe(0);
    } finally {
      rmSync(other, { recursive: true, force: true });
    }
  });

  test('no path of a relative call depends on the place of the checkout', () => {
    for (const name of names.filter((one) => one !== 'absolute'))
      for (const { address, values } of all.filter((one) => one.address.startsWith(`module.${name}.`)))
        expect(JSON.stringify(values), address).not.toContain(space.path);
  });

  test('no alarm of one deployment watches a metric of another', () => {
    const watched = (name: string) =>
      of(name, 'aws_cloudwatch_metric_alarm').map(({ values }) =>
        JSON.stringify([values.namespace, values.metric_name, values.dimensions]),
      );
    // Metrics belong to a region.
    const oneRegion = names.filter((one) => one !== 'europe[0]');
    for (const name of oneRegion) {
      const others = new Set(oneRegion.filter((one) => one !== name).flatMap(watched));
      expect(watched(name).length).toBeGreaterThan(30);
      expect(watched(name).filter((metric) => others.has(metric))).toEqual([]);
    }
    const graphs = of('each["red"]', 'aws_cloudwatch_dashboard').map(({ values }) =>
      text(values.dashboard_body),
    );
    const rows = JSON.parse(graphs[0] ?? '').widgets.flatMap(
      ({ properties }: { properties: { metrics?: string[][] } }) => properties.metrics ?? [],
    );
    const own = rows.filter(([namespace]: string[]) => namespace === METRIC_NAMESPACE);
    expect(own.length).toBeGreaterThan(20);
    for (const row of own) expect(row).toContain('red');
  });

  test('no rule of one deployment matches an event of another', () => {
    const patterns = of('each["red"]', 'aws_cloudwatch_event_rule').map(({ values }) => ({
      name: text(values.name),
      pattern: text(values.event_pattern),
    }));
    expect(patterns.length).toBeGreaterThan(8);
    for (const { name, pattern } of patterns) {
      const { source } = JSON.parse(pattern) as { source: string[] };
      const ofAws = source.every((one) => one.startsWith('aws.'));
      // Spot notices name an instance only; the function drops those of other groups.
      if (ofAws && !name.endsWith('spot-interruptions')) expect(pattern, name).toMatch(/\bred\b/);
      if (!ofAws) expect(source, name).toEqual(['red.lifecycle']);
    }
  });

  test('no name of the account is used twice, in one region or in two', () => {
    const used = [
      ...['aws_iam_role', 'aws_iam_policy', 'aws_iam_instance_profile'].flatMap((type) =>
        all.filter((one) => one.type === type).map(({ values }) => `${type} ${text(values.name)}`),
      ),
      ...all
        .filter(({ type }) => type === 'aws_cloudwatch_dashboard')
        .map(({ values }) => `dashboard ${text(values.dashboard_name)}`),
      ...all
        .filter(({ type }) => type === 'aws_s3_bucket')
        .map(({ values }) => `bucket ${text(values.bucket)}`),
    ];
    expect(used.length).toBeGreaterThan(60);
    expect(used.filter((name, index) => used.indexOf(name) !== index)).toEqual([]);
    for (const { values } of of('europe[0]', 'aws_iam_role')) expect(values.name).toMatch(/euc1/);
  });

  test('a warming group has the policy of its own deployment', () => {
    for (const name of names) {
      const attached = of(name, 'aws_iam_role_policy_attachment').filter((one) => one.name === 'further');
      const policies = of(name, 'aws_iam_policy').map(({ values }) => values.arn);
      expect(attached).toHaveLength(1);
      expect(policies).toContain(attached[0]?.values.policy_arn);
    }
  });

  test('the key of kms_key_arn encrypts all that can have a key', () => {
    const encrypted = [
      'aws_cloudwatch_log_group',
      'aws_lambda_function',
      'aws_launch_template',
      'aws_s3_bucket_server_side_encryption_configuration',
      'aws_scheduler_schedule',
      'aws_secretsmanager_secret',
      'aws_sns_topic',
      'aws_sqs_queue',
    ];
    const has = ({ values }: Resource) => JSON.stringify(values).includes(KEY);
    for (const type of encrypted) expect(of('absolute', type).length, type).toBeGreaterThan(0);
    const plain = encrypted.flatMap((type) => of('absolute', type)).filter((one) => !has(one));
    expect(plain.map(({ address }) => address)).toEqual([]);
    const unasked = encrypted.flatMap((type) => of('each["red"]', type)).filter(has);
    expect(unasked.map(({ address }) => address)).toEqual([]);
    // A key is of use through the services of the deployment only.
    const used = [...of('absolute', 'aws_iam_role_policy'), ...of('absolute', 'aws_iam_policy')].flatMap(
      ({ address, values }) =>
        statements(values.policy)
          .filter(({ Action }) => Action.some((action) => action.startsWith('kms:')))
          .map((statement) => ({ address, ...statement })),
    );
    expect(used.length).toBeGreaterThan(15);
    for (const { address, Action, Resource: on, Condition } of used) {
      expect(Action, address).toEqual(expect.arrayContaining(['kms:Decrypt']));
      expect(on, address).toEqual([KEY]);
      expect(JSON.stringify(Condition), address).toMatch(
        /^\{"StringEquals":\{"kms:ViaService":(\["|")(s3|sqs|secretsmanager)\.us-west-2\.amazonaws\.com/,
      );
    }
    // Those who send to a queue or read from it.
    for (const { address, values } of of('absolute', 'aws_iam_role_policy')) {
      const all = statements(values.policy);
      if (all.some(({ Action }) => Action.some((action) => /^sqs:(Send|Receive)Message$/.test(action))))
        expect(
          all.some(({ Condition }) => JSON.stringify(Condition ?? '').includes('sqs.us-west-2')),
          address,
        ).toBe(true);
    }
  });

  test('nothing is public without webhooks', () => {
    for (const name of names) {
      const urls = of(name, 'aws_lambda_function_url').map(({ values }) => values);
      expect(urls).toMatchObject([
        { function_name: `${calls[name]}_registration`, authorization_type: 'AWS_IAM' },
      ]);
    }
  });

  test('tags of the deployment override those of a group', () => {
    const tagsOf = (group: string) =>
      of('absolute', 'aws_launch_template').find(({ values }) => values.name === `abs-bk-${group}`)?.values
        .tags;
    expect(tagsOf('default')).toMatchObject({ owner: 'deployment', team: 'build' });
    expect(tagsOf('warming')).toMatchObject({ owner: 'deployment' });
  });

  test('tags of the provider come from the module', () => {
    expect(of('europe[0]', 'aws_sns_topic')[0]?.values.tags_all).toMatchObject({
      'hearth-deployment': 'acme',
    });
  });
});

describe.skipIf(reason !== undefined)('a module without the folders beside it', () => {
  test('is refused, instead of a plan without functions', () => {
    const space = workspace();
    try {
      rmSync(join(space.path, 'functions'), { recursive: true });
      const folder = join(space.path, 'vendored');
      mkdirSync(folder);
      writeFileSync(
        join(folder, 'main.tf'),
        `provider "aws" {\n  region = "us-west-2"\n}\n${call('hearth', '../infra', '')}`,
      );
      expect(terraformIn(folder, 'init', '-backend=false', '-input=false').status).toBe(0);
      const { status, stderr } = terraformIn(folder, 'plan', '-input=false', '-no-color');
      expect(status).toBe(1);
      expect(stderr.replaceAll(/[\s│]+/g, ' ')).toContain(
        'has no function.json of alarms, lifecycle, parameters, registration, scaling, warming. The folders infra and functions of one release belong together',
      );
      expect(stderr.match(/^Error:/gm)).toHaveLength(1);
    } finally {
      space.remove();
    }
  });
});
