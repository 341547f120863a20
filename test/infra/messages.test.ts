import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readVariables } from '../../scripts/docs/hcl.ts';
import { canApply, type Workspace, whyNot, workspace } from './terraform.ts';

const infra = resolve(import.meta.dirname, '../../infra');
const reason =
  whyNot() ??
  (canApply ? undefined : 'a plan needs an AWS account, or an offline terraform in HEARTH_TERRAFORM');
if (reason) console.warn(`messages of refused inputs are not tested: ${reason}`);

const valid = {
  customer_id: 'acme',
  vpc_id: 'vpc-00000000000000000',
  vpc_subnets: ['subnet-00000000000000001'],
  hosts: ['gha'],
  resource_types: { default: { instance_types: ['c6id.4xlarge'], image_id: 'ami-00000000000000000' } },
};
const group = { max_runners: 2, queue: 'q', gh_repo: 'acme/monorepo', resource_type: 'default' };
const warms = { policies: { warming_manage: 'arn:aws:iam::123456789012:policy/made-up' } };
const key = '0123456789abcdef0123456789abcdef';

test('every rule about inputs has a test that violates it', () => {
  const runs = readFileSync(join(infra, 'tests/validation.tftest.hcl'), 'utf8');
  const breaking = (what: string) => runs.split(`expect_failures = [${what}]`).length - 1;
  const sources = readdirSync(infra).filter((file) => file.endsWith('.tf'));
  const variables = sources.flatMap((file) => readVariables(readFileSync(join(infra, file), 'utf8')));
  for (const { name, validations } of variables)
    expect(breaking(`var.${name}`), name).toBeGreaterThanOrEqual(validations);
  const rules = readFileSync(join(infra, 'checks.tf'), 'utf8').split('    precondition {').length - 1;
  expect(breaking('terraform_data.inputs')).toBeGreaterThanOrEqual(rules);
});

describe.skipIf(reason !== undefined)('refused inputs', () => {
  let space: Workspace;
  beforeAll(() => {
    space = workspace();
    space.must('.', 'init', '-backend=false', '-input=false');
  });
  afterAll(() => space.remove());

  /** Terraform's error messages for these inputs, on one line. */
  const refusal = (inputs: object): string => {
    writeFileSync(
      join(space.path, 'infra/wrong.tfvars.json'),
      JSON.stringify({ ...valid, ...inputs }, null, 2),
    );
    const { status, stderr } = space.run(
      '.',
      'plan',
      '-input=false',
      '-no-color',
      '-var-file=wrong.tfvars.json',
    );
    expect(status).toBe(1);
    return stderr.replaceAll(/[\s│]+/g, ' ');
  };

  test('each message names the input and the correction', () => {
    const message = refusal({
      customer_id: '',
      name_prefix: 'awsome',
      vpc_id: 'subnet-1',
      vpc_subnets: [],
      hosts: ['gitlab'],
      warming_sets: {
        both: { command: ['warm'], bazel: { directory: 'work' }, user: 'a b' },
        'a/b': { schedule: 'daily', deadline_minutes: 0, keep: 0, command: [] },
      },
      resource_types: { huge: { image_id: 'ami-0', root_volume_size_gb: 4 } },
      tags: { 'created-by': 'me' },
      pagerduty_url: 'http://events.example.com',
      runbooks_url: 'https://example.com/#x',
      replica_regions: ['europe'],
      log_retention_days: 2,
      bundles: { bucket: 'b', prefix: 'p' },
      remote_cache: {},
      delivery_enabled: true,
      agents: { github: {} },
      ghes_url: 'https://github.com',
      circleci_api_url: 'circleci.example.com',
    });
    const sentences = [
      'customer_id becomes the value of a tag',
      'name_prefix "awsome" is not valid in all AWS names',
      'vpc_id must be the id of a VPC',
      'Name at least one subnet',
      'nothing else. Present value: [gitlab]',
      'inner - or _. Wrong: a/b.',
      'Wrong in: a/b.',
      'deadline_minutes of a warming set must be a whole number from 1 to 1440. Wrong in: a/b.',
      'keep of a warming set must be a whole number of snapshots from 1 to 100. Wrong in: a/b.',
      'Empty in: a/b.',
      'must not have both command and bazel. Both in: both.',
      'do not begin with -. Wrong in: both.',
      'a user name that exists in the AMI. Wrong in: both.',
      'instance_type (a string, the older form). Wrong in: huge.',
      'root_volume_size_gb must be from 8 to 16384 (the limit of gp3 volumes). Wrong in: huge.',
      'created-by, which the module sets to hearth',
      'pagerduty_url must be https://',
      'runbooks_url must begin with https://',
      'Present value: [europe]',
      'log_retention_days must be a retention time that CloudWatch Logs supports',
      'bundles.prefix must be empty or end with a slash',
      'remote_cache is not supported: this module has no remote cache. Remove it, and point --remote_cache',
      'delivery_enabled is not supported: this module has no delivery. Remove it',
      'agents must have no other keys than gha, cci and bk. Wrong: github.',
      'ghes_url must be https:// and the host name of your GitHub Enterprise Server or ghe.com tenant, without a path. For github.com remove it.',
      'circleci_api_url must be https:// and a host name, without a path.',
    ];
    for (const sentence of sentences) expect(message).toContain(sentence);
  });

  test('one plan reports all wrong groups', () => {
    const message = refusal({
      warming_sets: { default: {} },
      enable_ssm_access: true,
      support: { enable_ssm_access: false },
      gha_runner_groups: {
        'a.b': group,
        a_b: group,
        'A-b': group,
        huge: { ...group, resource_type: 'huge' },
        nightly: { ...group, warming: true, warming_set: 'nightly' },
        one: { ...group, ...warms },
        two: { ...group, ...warms, min_runners: 2 },
        small: { ...group, min_runners: 3 },
        idle: { ...group, agent_idle_timeout_min: 721 },
        polled: { ...group, scaling_polling_frequency: 4 },
        scaled: { ...group, scale_out_factor: 0 },
        drained: { ...group, drain_timeout_min: 0 },
        url: { ...group, gh_repo: 'https://github.com/acme/monorepo' },
        level: { ...group, level: 'enterprise' },
        member: { ...group, runner_group: 'release' },
        labelled: { ...group, labels: ['linux', 'Linux'] },
        agent: { ...group, agent: { user: 'Jobs', directory: 'opt' } },
      },
      bk_runner_groups: {
        foreign: { max_runners: 1, queue: 'q', resource_type: 'default', git_clone_depth: 0.5 },
      },
    });
    const sentences = [
      'Runner groups whose host is not in hosts: bk/foreign. Add the host to hosts, or remove the groups.',
      'inner - or _. Wrong: gha/a.b.',
      'gha/A-b and gha/a_b both become gha/a-b. Rename one of them.',
      'Unknown resource_type: huge of gha/huge. Known resource_types: default.',
      'gha/nightly uses nightly. warming_sets has [default]. Add the set there',
      'default has gha/one and gha/two. Keep policies.warming_manage in one of these groups.',
      'gha/two has min_runners 2 and max_runners 2. Raise max_runners',
      'min_runners must be from 0 to max_runners: gha/small has 3 and 2.',
      'agent_idle_timeout_min must be from 1 to 720: gha/idle has 721.',
      'must be 1, 2 or 3. Wrong in gha/polled.',
      'scale_out_factor must be above 0. Wrong in gha/scaled.',
      'drain_timeout_min must be from 1 to 2880 (48 hours, the limit of Auto Scaling): gha/drained has 0.',
      'must be a whole number from 1: bk/foreign has 0.5. Remove it for complete clones.',
      'gh_repo must be owner/name, such as acme/monorepo, without a URL: gha/url has https://github.com/acme/monorepo.',
      'organization (they belong to the owner of gh_repo). Wrong in gha/level.',
      'needs level = "organization". Wrong in gha/member.',
      'Wrong in gha/labelled. Remove labels for the label queue alone.',
      'agent of gha/agent: directory must be an absolute path; agent of gha/agent: user must be a user name.',
      'enable_ssm_access and support.enable_ssm_access contradict each other. Keep only support.enable_ssm_access.',
    ];
    for (const sentence of sentences) expect(message).toContain(sentence);
  });

  test('a PagerDuty key in plain text is refused, with the correct way, and the message does not contain it', () => {
    for (const inputs of [
      { support: { pagerduty_integration_key: key } },
      { pagerduty_integration_key: key },
    ]) {
      const message = refusal(inputs);
      expect(message).toMatch(
        /pagerduty_integration_key.*would store the PagerDuty key in plain text in the Terraform state/,
      );
      expect(message).toContain('the secret that the output pagerduty_routing_secret_id names');
      expect(message).not.toContain(key);
    }
  });

  test('user data above the limit of EC2 is refused in the plan', () => {
    const message = refusal({
      warming_sets: { default: { command: ['warm', 'x'.repeat(16_000)] } },
      gha_runner_groups: { warming: { ...group, ...warms } },
    });
    expect(message).toContain(
      'User data of gha/warming is larger than 16 KB, the limit of EC2. Shorten the command of the warming set.',
    );
  });
});
