import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readVariables } from '../../scripts/docs/hcl.ts';
import { type Workspace, whyNot, workspace } from './terraform.ts';

const infra = resolve(import.meta.dirname, '../../infra');
const reason = whyNot();
if (reason) console.warn(`refused inputs are not tested: ${reason}`);

const valid = {
  customer_id: 'acme',
  vpc_id: 'vpc-00000000000000000',
  vpc_subnets: ['subnet-00000000000000001'],
  hosts: ['gha'],
  warming_sets: { default: { command: ['warm'] } },
  resource_types: { default: { instance_types: ['c6id.4xlarge'], image_id: 'ami-00000000000000000' } },
  gha_runner_groups: {},
};
const group = { max_runners: 2, queue: 'q', gh_repo: 'acme/monorepo', resource_type: 'default' };
const warms = { policies: { warming_manage: 'default' } };
const type = { instance_types: ['c6id.4xlarge'], image_id: 'ami-0' };
const key = '0123456789abcdef0123456789abcdef';
const program = { version: '2.336.0', url: 'https://example.com/r.tar.gz', sha256: 'a'.repeat(64) };

/** Inputs of the module for Google Cloud. One message refuses all of them. */
const OF_GCP = [
  'project',
  'region',
  'network',
  'subnetwork',
  'zones',
  'cluster_standard_node_count',
  'cluster_standard_node_machine_type',
];

/** A plan, and parts of its messages. One plan reports all of its wrong inputs, so each message must name its own. */
type Refused = {
  inputs: Record<string, unknown>;
  messages: readonly string[];
  /** The rules are not those of terraform_data, so that the plan needs every resource and variable. */
  whole?: true;
};

const plans: Record<string, Refused> = {
  variables: {
    whole: true,
    inputs: {
      customer_id: '',
      name_prefix: 'Aw',
      vpc_id: 'subnet-1',
      vpc_subnets: [],
      hosts: ['gitea'],
      tags: { 'created-by': 'me' },
      pagerduty_url: 'http://events.example.com',
      runbooks_url: 'https://example.com/#x',
      inbox_senders: ['*'],
      replica_regions: ['europe'],
      log_retention_days: 2,
      ghes_url: 'https://github.com',
      circleci_api_url: 'circleci.example.com',
      buildkite_event_bus: 'default',
    },
    messages: [
      'customer_id becomes the value of a tag',
      'name_prefix "Aw" is not valid in all AWS names',
      'vpc_id must be the id of a VPC',
      'Name at least one subnet',
      'nothing else. Present value: [gitea]',
      'created-by, which the module sets to hearth',
      'pagerduty_url must be https://',
      'runbooks_url must begin with https://',
      'inbox_senders must contain ARNs of IAM roles or users',
      'Present value: [europe]',
      'log_retention_days must be a retention time that CloudWatch Logs supports',
      'ghes_url must be https:// and the host name of your GitHub Enterprise Server or ghe.com tenant, without a path. For github.com remove it.',
      'circleci_api_url must be https:// and a host name, without a path.',
      'buildkite_event_bus must be the name of a partner event bus and begin with aws.partner/buildkite.com/',
    ],
  },
  // Terraform evaluates the rules about names and values of objects in one plan.
  objects: {
    inputs: {
      warming_sets: {
        'a/b': {},
        daily: { schedule: 'daily' },
        never: { schedule: 'rate(0 hours)' },
        unix: { schedule: 'cron(0 3 * * *)' },
        endless: { deadline_minutes: 1441 },
        instant: { deadline_minutes: 0 },
        none: { keep: 0 },
        lazy: { lazy: 'always' },
        empty: { command: [] },
        blank: { command: [''] },
        both: { command: ['warm'], bazel: { directory: '/work' } },
        relative: { bazel: { directory: 'work' } },
        option: { bazel: { directory: '/work', repository: '--upload-pack=x' } },
        user: { user: 'a b' },
        rebuilt: { rebuild: 0.5 },
        rebuilds: { rebuild: -1 },
      },
      resource_types: {
        neither: { image_id: 'ami-0' },
        both: { ...type, instance_type: 't3a.small' },
        tiny: { ...type, root_volume_size_gb: 4 },
      },
      bundles: { bucket: 'b', prefix: 'p' },
      build_cache: { disk_percent: 51 },
      agents: { github: {} },
    },
    messages: [
      'inner - or _. Wrong: a/b.',
      'rate(…) with minutes, hours or days. Wrong in: daily, never, unix.',
      'deadline_minutes of a warming set must be a whole number from 1 to 1440. Wrong in: endless, instant.',
      'keep of a warming set must be a whole number of snapshots from 1 to 100. Wrong in: none.',
      'rebuild of a warming set is a number of runs and must be a whole number from 0 to 1000. Wrong in: rebuilds, rebuilt.',
      'lazy of a warming set must be never or auto. Wrong in: lazy.',
      'Empty in: blank, empty.',
      'must not have both command and bazel. Both in: both.',
      'do not begin with -. Wrong in: option, relative.',
      'user of a warming set must be a user name, such as that of jobs. Wrong in: user.',
      'instance_type (a string, the older form). Wrong in: both, neither.',
      'root_volume_size_gb must be from 8 to 16384 (the limit of gp3 volumes). Wrong in: tiny.',
      'bundles.prefix must be empty or end with a slash',
      'build_cache.disk_percent must be from 1 to 50.',
      'agents must have no other keys than gha, cci and bk. Wrong: github.',
    ],
  },
  // Second wrong forms of the inputs that have one value.
  forms: {
    whole: true,
    inputs: {
      name_prefix: 'a-w',
      hosts: [],
      tags: { 'aws:x': 'y' },
      pagerduty_url: 'https://events.example.com/v2',
      replica_regions: ['eu-west-1', 'eu-west-1'],
      ghes_url: 'https://github.example.com/api/v3',
      circleci_api_url: 'http://circleci.example.com',
    },
    messages: [
      'name_prefix "a-w" is not valid',
      'nothing else. Present value: []',
      'keys that begin with aws:, which AWS reserves',
      'pagerduty_url must be https://',
      'Present value: [eu-west-1, eu-west-1]',
      'ghes_url must be https://',
      'circleci_api_url must be https://',
    ],
  },
  maps: {
    whole: true,
    inputs: {
      warming_sets: { default: null },
      resource_types: [type],
      gha_runner_groups: { default: 'x' },
      cci_runner_groups: ['default'],
      bk_runner_groups: { default: null },
      agents: { gha: 'runner' },
    },
    messages: [
      'warming_sets must be a map from names to objects: warming_sets = { default = {',
      'resource_types must be a map from names to objects',
      'gha_runner_groups must be a map from names to objects',
      'cci_runner_groups must be a map from names to objects',
      'bk_runner_groups must be a map from names to objects',
      'agents must be a map from CI providers to objects',
    ],
  },
  // What an apply would refuse midway.
  aws: {
    inputs: {
      hosts: ['gha', 'bk'],
      vpc_subnets: ['sub-1'],
      cost_allocation_tag_value: 'a*b',
      permissions_boundary: 'boundary',
      kms_key_arn: 'arn:aws:kms:us-west-2:123456789012:alias/hearth',
      tags: { 'a<b': 'c', Name: 'x' },
      alarm_thresholds: { boot_seconds: -1, backlog_minutes: 1441 },
      resource_types: {
        default: type,
        image: { ...type, image_id: 'ubuntu' },
        blank: { ...type, instance_types: ['large'] },
        twice: { ...type, instance_types: ['c6id.4xlarge', 'c6id.4xlarge'] },
        mixed: { ...type, instance_types: ['c6id.4xlarge', 'c7gd.4xlarge'] },
        half: { ...type, root_volume_size_gb: 8.5 },
        device: { ...type, root_device_name: 'sda1' },
        tagged: { ...type, tags: { 'aws:x': 'y', 'hearth-deployment': 'z' } },
      },
      gha_runner_groups: {
        half: { ...group, max_runners: 1.5 },
        less: { ...group, min_runners: -1 },
        comma: { ...group, queue: 'a,b' },
        git: { ...group, gh_repo: 'acme/monorepo.git' },
        open: { ...group, security_groups: { a: 'default' } },
        may: { ...group, policies: { a: 'AdministratorAccess' } },
        tagged: { ...group, tags: { 'hearth:role-id': 'AROA', long: 'x'.repeat(257) } },
        many: { ...group, tags: Object.fromEntries(Array.from({ length: 41 }, (_, at) => [`k${at}`, ''])) },
      },
      bk_runner_groups: { empty: { max_runners: 1, queue: '', resource_type: 'default' } },
    },
    messages: [
      'vpc_subnets must have different ids of subnets',
      'cost_allocation_tag_value must be a value of a tag',
      'permissions_boundary must be the ARN of an IAM policy',
      'kms_key_arn must be the ARN of a KMS key',
      'max_runners of gha/half is 1.5 and must be a whole number from 0',
      'min_runners of gha/less is -1 and must be a whole number from 0',
      'image: image_id must be the id of an AMI',
      'blank: instance_types must be names of EC2',
      'twice: instance_types must have at most 40 different types',
      'mixed: instance_types has types of Arm and of x86',
      'half: root_volume_size_gb must be a whole number',
      'device: root_device_name must be a device',
      'gha/comma: queue must not be empty, nor have commas',
      'bk/empty: queue must not be empty',
      'gha/git: gh_repo ends in .git',
      'gha/open: security_groups must have ids',
      'gha/may: policies must have ARNs of IAM policies',
      'tags has Name: the module sets these keys itself',
      'tags has a<b: keys and values have letters',
      'tags of resource_types.tagged has aws:x: AWS reserves keys',
      'tags of resource_types.tagged has hearth-deployment: the module sets these keys itself',
      'tags of gha/tagged has hearth:role-id: the module sets these keys itself',
      'tags of gha/tagged has long: keys and values have',
      'gha/many has 43 tags, and a resource has at most 40 beside those of the module',
      'boot_seconds is -1 and must not be negative',
      'backlog_minutes is 1441 and must be a whole number from 1 to 1440',
    ],
  },
  'cost-tag': {
    inputs: { cost_allocation_tag: 'created-by' },
    messages: ['cost_allocation_tag must be a key of a tag, and no key of another tag'],
  },
  many: {
    inputs: {
      hosts: ['gha', 'cci'],
      warming_sets: Object.fromEntries(
        Array.from({ length: 60 }, (_, at) => [`set-${at}`, { command: ['x'] }]),
      ),
      gha_runner_groups: Object.fromEntries(
        Array.from({ length: 60 }, (_, at) => [
          `warming-${at}`,
          { ...group, policies: { warming_manage: `set-${at}` } },
        ]),
      ),
      cci_runner_groups: Object.fromEntries(
        Array.from({ length: 170 }, (_, at) => [
          `g${at}`,
          { max_runners: 1, resource_type: 'default', cache: 'write', cache_scope: `s${at}` },
        ]),
      ),
      build_cache: {},
    },
    messages: [
      'the 60 warming sets with a warming group are a variable of the function warming, and its variables would have',
      'of the 4,096 that Lambda allows. About 50 sets of such names fit',
      'the 170 scopes of the build cache need 1022 lifecycle rules of the 1,000 that a bucket has. 166 scopes fit',
      'Divide them among two deployments with different name_prefix.',
    ],
  },
  unencrypted: {
    whole: true,
    inputs: { name_prefix: 'awsci', ghes_url: 'http://github.example.com' },
    messages: ['name_prefix "awsci" is not valid', 'ghes_url must be https://'],
  },
  ...Object.fromEntries(
    ['ssm1', 'abcdefghijkl', '1aw'].map((prefix) => [
      `prefix-${prefix}`,
      {
        whole: true as const,
        inputs: { name_prefix: prefix },
        messages: [`name_prefix "${prefix}" is not valid in all AWS names`],
      },
    ]),
  ),
  names: {
    inputs: {
      ...Object.fromEntries(refusedInputs().map((name) => [name, {}])),
      hosts: ['gha', 'bk', 'gl'],
      remote: { remote_execution: {} },
      build_cache: { disk_precent: 5 },
      ...Object.fromEntries(OF_GCP.map((name) => [name, null])),
      pagerduty_integration_key: key,
      customer_id: null,
      vpc_subnets: null,
      warming_sets: {
        default: { comand: ['warm'] },
        nightly: { bazel: { directory: '/work', target: ['//...'] } },
      },
      resource_types: {
        default: {
          instance_types: ['c6id.4xlarge'],
          image_id: 'ami-0',
          machine_type: 'n1-standard-4',
          num_ssds: 1,
        },
        imageless: { instance_types: ['c6id.4xlarge'] },
      },
      gha_runner_groups: {
        typo: { queue: 'q', gh_repo: 'acme/monorepo', resource_type: 'default', max_runner: 4 },
        nested: { ...group, agent: { users: 'ci', program: { ...program, sha: 'x' } } },
        empty: { ...group, queue: null, gh_repo: null },
        both: { ...group, agent_idle_timeout: 300, agent_idle_timeout_min: 5 },
        unlike: { ...group, zzz: 1 },
      },
      cci_runner_groups: {
        default: { max_runners: 1, resource_type: 'default', job_max_run_time_min: 300, queue: 'q' },
      },
      bk_runner_groups: {
        default: {
          max_runners: 1,
          resource_type: 'default',
          queue: 'q',
          reaper_sleep_minutes: 10,
          gh_repo: 'a/b',
          min_runner: 1,
        },
      },
      agents: { gha: { users: 'x' } },
      support: { enable_ssm_acces: true },
      alarm_thresholds: { boot_second: 10 },
      bundles: { bucket: 'b', prefx: 'p/' },
      access_logs: { bucket: 'b', prefic: 'p/' },
    },
    messages: [
      ...refusedInputs()
        .filter((name) => !OF_GCP.includes(name) && !/^(gl_runner_groups|pagerduty_)/.test(name))
        .map((name) => `  ${name}: `),
      'GitLab is not supported yet ("gl" in hosts and gl_runner_groups)',
      'remote.remote_execution: This module has a build cache and no remote execution.',
      'build_cache has disk_precent: Did you mean disk_percent?',
      'Required inputs without a value: customer_id, vpc_subnets.',
      'warming_sets.default has comand: Did you mean command?',
      'warming_sets.nightly.bazel has target: Did you mean targets?',
      'resource_types.default has machine_type: It is for Google Cloud. Use instance_types',
      'resource_types.default has num_ssds: It is for Google Cloud.',
      'gha_runner_groups.typo has max_runner: Did you mean max_runners?',
      'gha_runner_groups.nested.agent has users: Did you mean user?',
      'gha_runner_groups.nested.agent.program has sha: Did you mean sha256?',
      'gha_runner_groups.unlike has zzz: Known are agent, agent_idle_timeout_min,',
      'cci_runner_groups.default has job_max_run_time_min: Hearth does not limit the time of a job.',
      'cci_runner_groups.default has queue: A CircleCI resource class takes the place of a queue',
      'bk_runner_groups.default has reaper_sleep_minutes: Hearth has no reaper',
      'bk_runner_groups.default has gh_repo: It is for gha_runner_groups. Remove it.',
      'bk_runner_groups.default has min_runner: Did you mean min_runners?',
      'agents.gha has users: Did you mean user?',
      'support has enable_ssm_acces: Did you mean enable_ssm_access?',
      'alarm_thresholds has boot_second: Did you mean boot_seconds?',
      'bundles has prefx: Did you mean prefix?',
      'access_logs has prefic: Did you mean prefix?',
      'gha_runner_groups.empty has no gh_repo and no queue; gha_runner_groups.typo has no max_runners; resource_types.imageless has no image_id.',
      'both are in gha_runner_groups.both. Remove agent_idle_timeout.',
      // In the same plan as the names.
      'Runner groups whose host is not in hosts: cci/default.',
      'pagerduty_integration_key would store the PagerDuty key in plain text',
    ],
  },
  gcp: {
    inputs: {
      customer_id: null,
      vpc_id: null,
      vpc_subnets: null,
      project: 'acme',
      region: 'us-west2',
      network: 'n',
      subnetwork: 's',
      zones: ['a'],
      cluster_standard_node_count: 3,
      cluster_standard_node_machine_type: 'e2-medium',
    },
    messages: [
      'for Google Cloud (cluster_standard_node_count, cluster_standard_node_machine_type, network, project, region, subnetwork, zones). Hearth runs on AWS only.',
    ],
  },
  home: {
    whole: true,
    inputs: { replica_regions: ['us-west-2'] },
    messages: ['replica_regions must not contain us-west-2: it is the home region'],
  },
  paths: {
    inputs: {
      warming_sets: {
        nested: { command: ['warm'], paths: ['/opt/cache/go', '/opt/cache'] },
        twice: { command: ['warm'], paths: ['/opt/cache', '/opt/cache'] },
        system: { command: ['warm'], paths: ['/usr', '/tmp/cache', '/etc/x'] },
        home: { command: ['warm'], paths: ['/home/runner', '/root'] },
        form: { command: ['warm'], paths: ['cache', '/opt/../etc', '/opt/', '/with space'] },
        agents: { command: ['warm'], paths: ['/var/lib/hearth-agent', '/var/lib/hearth-agent/bk'] },
        many: { command: ['warm'], paths: Array.from({ length: 31 }, (_, index) => `/opt/${index}`) },
        mounts: { command: ['warm'], paths: ['/mnt/efs/cache'] },
        docker: { command: ['warm'], paths: ['/var/lib/docker'], lazy: 'auto' },
        checkout: {
          command: ['warm'],
          paths: ['/srv/app/deep'],
          checkout: { directory: '/srv/app', repository: 'https://example.com/app' },
        },
        ssh: {
          command: ['warm'],
          checkout: {
            directory: '/srv/app',
            repository: 'git@example.com:app',
            depth: -1,
            credential_command: ['x'],
          },
        },
        twofold: {
          bazel: { directory: '/srv/a', repository: 'https://example.com/a' },
          checkout: { directory: '/srv/b', repository: 'https://example.com/b' },
        },
      },
      gha_runner_groups: {
        efs: { ...group, warming: true, warming_set: 'mounts', shared_mounts: ['/mnt/efs'] },
      },
    },
    messages: [
      'nested: /opt/cache/go is inside /opt/cache; name /opt/cache alone',
      'twice names a directory twice',
      'system: /usr overlaps /usr/bin, which is not for jobs to share',
      'system: /tmp/cache overlaps /tmp,',
      'system: /etc/x overlaps /etc,',
      'home: /home/runner is a home directory, which can hold credentials; name directories inside it',
      'home: /root is a home directory',
      'form: cache must be an absolute path',
      'form: /opt/../etc must be an absolute path',
      'form: /opt/ must be an absolute path',
      'form: /with space must be an absolute path',
      'agents: /var/lib/hearth-agent overlaps /var/lib/hearth-agent/gha/runner',
      'agents: /var/lib/hearth-agent/bk contains what agents keep',
      'many has 31 directories, and at most 30 are possible',
      'docker: Docker cannot work in /var/lib/docker with lazy = "auto", because an overlay would hold it; remove lazy',
      'mounts: /mnt/efs/cache overlaps /mnt/efs of shared_mounts',
      'checkout: /srv/app/deep is inside /srv/app; name /srv/app alone',
      'ssh: credential_command needs a repository with https://',
      'ssh: repository and ref of a checkout must not begin with -, and depth is a whole number from 0',
      'twofold must not have both checkout and the repository of bazel',
    ],
  },
  groups: {
    inputs: {
      warming_sets: { default: { command: ['warm'] }, jobs: {} },
      enable_ssm_access: true,
      support: { enable_ssm_access: false },
      agents: {
        gha: { user: 'Jobs', directory: 'opt', program: { ...program, sha256: `A${'a'.repeat(63)}` } },
      },
      gha_runner_groups: {
        'a.b': group,
        a_b: group,
        'A-b': group,
        huge: { ...group, resource_type: 'huge' },
        nightly: { ...group, warming: true, warming_set: 'nightly' },
        one: { ...group, ...warms },
        two: { ...group, ...warms, min_runners: 2 },
        closed: { ...group, ...warms, max_runners: 0 },
        small: { ...group, min_runners: 3 },
        hasty: { ...group, agent_idle_timeout_min: 0 },
        idle: { ...group, agent_idle_timeout_min: 721 },
        polled: { ...group, scaling_polling_frequency: 4 },
        scaled: { ...group, scale_out_factor: 0 },
        drained: { ...group, drain_timeout_min: 0 },
        drains: { ...group, drain_timeout_min: 2881 },
        lives: { ...group, max_instance_lifetime: 3599 },
        url: { ...group, gh_repo: 'https://github.com/acme/monorepo' },
        ownerless: { ...group, gh_repo: 'monorepo' },
        level: { ...group, level: 'enterprise' },
        member: { ...group, runner_group: 'release' },
        nameless: { ...group, level: 'organization', runner_group: '' },
        label_twice: { ...group, labels: ['linux', 'Linux'] },
        label_comma: { ...group, labels: ['linux,x64'] },
        label_none: { ...group, labels: [] },
        agent: { ...group, agent: { work_directory: 'work', program: { ...program, version: '../2' } } },
        plain: { ...group, agent: { program: { ...program, url: 'http://example.com/r.tar.gz' } } },
        mode: { ...group, job_isolation: 'none' },
        open: { ...group, job_isolation: 'shared', jobs_use_instance_role: false, docker: false },
        mounts: { ...group, shared_mounts: ['/mnt/efs', '/mnt/efs'] },
        many: { ...group, shared_mounts: Array.from({ length: 21 }, (_, index) => `/mnt/${index}`) },
        long: { ...group, shared_mounts: [`/${'x'.repeat(128)}`] },
        relative: { ...group, shared_mounts: ['mnt/efs'] },
        dotted: { ...group, shared_mounts: ['/mnt/../etc'] },
        slash: { ...group, shared_mounts: ['/mnt/efs/'] },
        root: { ...group, shared_mounts: ['/'] },
        parent: { ...group, shared_mounts: ['/var'] },
        inside: { ...group, shared_mounts: ['/tmp/shared'] },
        writes: {
          ...group,
          policies: { deploy: 'arn:aws:iam::123456789012:policy/aw-warming-manage-default-usw2' },
        },
        another: { ...group, ...warms, warming_set: 'jobs' },
        unknown: {
          ...group,
          warming_set: 'jobs',
          policies: { warming_manage: 'arn:aws:iam::123456789012:policy/x' },
        },
      },
      bk_runner_groups: {
        foreign: { max_runners: 1, queue: 'q', resource_type: 'default', git_clone_depth: 0.5 },
        empty: { max_runners: 1, queue: 'q', resource_type: 'default', git_clone_depth: 0 },
      },
    },
    messages: [
      'Runner groups whose host is not in hosts: bk/empty, bk/foreign. Add the host to hosts, or remove the groups.',
      'inner - or _. Wrong: gha/a.b.',
      'gha/A-b and gha/a_b both become gha/a-b. Rename one of them.',
      'Unknown resource_type: huge of gha/huge. Known resource_types: default.',
      'gha/nightly uses nightly. warming_sets has [default, jobs]. Add the set there',
      'default has gha/closed and gha/one and gha/two; jobs has gha/another and gha/unknown. Keep policies.warming_manage in one of these groups.',
      'gha/closed has min_runners 0 and max_runners 0, gha/two has min_runners 2 and max_runners 2. Raise max_runners',
      'min_runners must be from 0 to max_runners: gha/small has 3 and 2.',
      'agent_idle_timeout_min must be from 1 to 720: gha/hasty has 0, gha/idle has 721.',
      'must be 1, 2 or 3. Wrong in gha/polled.',
      'scale_out_factor must be above 0. Wrong in gha/scaled.',
      'max_instance_lifetime is in seconds and must be from 3600 (one hour) to 31536000 (one year): gha/lives has 3599.',
      'drain_timeout_min must be from 1 to 2880 (48 hours, the limit of Auto Scaling): gha/drained has 0, gha/drains has 2881.',
      'must be a whole number from 1: bk/empty has 0, bk/foreign has 0.5. Remove it for complete clones.',
      'without a URL: gha/ownerless has monorepo, gha/url has https://github.com/acme/monorepo.',
      'organization (they belong to the owner of gh_repo). Wrong in gha/level.',
      'needs level = "organization". Wrong in gha/member, gha/nameless.',
      'Wrong in gha/label_comma, gha/label_none, gha/label_twice. Remove labels for the label queue alone.',
      'agent of gha/agent: program.version must have letters',
      'agent of gha/agent: work_directory must be an absolute path;',
      'agent of gha/plain: program.url must begin with https://;',
      'agents.gha: directory must be an absolute path; agents.gha: program.sha256 must have 64 lower-case hexadecimal digits; agents.gha: user must be a user name.',
      'gha/mode: job_isolation must be clean or shared;',
      'gha/open: docker = false needs job_isolation = "clean", because shared jobs use the Docker of the image.',
      'gha/open: jobs_use_instance_role = false needs job_isolation = "clean", because shared jobs always reach the role.',
      ...['mounts', 'many', 'long'].map(
        (name) => `gha/${name}: shared_mounts must have at most 20 different`,
      ),
      ...['relative', 'dotted', 'slash', 'root'].map(
        (name) => `gha/${name}: shared_mounts must be absolute paths`,
      ),
      ...['parent', 'inside'].map(
        (name) => `gha/${name}: shared_mounts must not contain or be inside /proc,`,
      ),
      'Groups whose jobs could write snapshots: gha/writes. A policy of warming_management_policies is for the warming group',
      'gha/another has the policy of default, and warming_set is jobs; gha/unknown has another value. Write the name of the set.',
      'enable_ssm_access and support.enable_ssm_access contradict each other. Keep only support.enable_ssm_access.',
    ],
  },
  // The other bound of each range, alone: a plan with both would be refused for one of them.
  bounds: {
    inputs: {
      warming_sets: {
        default: { command: ['warm'] },
        endless: { deadline_minutes: 1441 },
        many: { keep: 101 },
        rebuilds: { rebuild: 1001 },
      },
      resource_types: { default: type, huge: { ...type, root_volume_size_gb: 16385 } },
      build_cache: { disk_percent: 0 },
      alarm_thresholds: { backlog_minutes: 0 },
      gha_runner_groups: {
        idle: { ...group, agent_idle_timeout_min: 721 },
        drains: { ...group, drain_timeout_min: 2881 },
        lives: { ...group, max_instance_lifetime: 31_536_001 },
        more: { ...group, min_runners: 3 },
      },
    },
    messages: [
      'deadline_minutes of a warming set must be a whole number from 1 to 1440. Wrong in: endless.',
      'keep of a warming set must be a whole number of snapshots from 1 to 100. Wrong in: many.',
      'rebuild of a warming set is a number of runs and must be a whole number from 0 to 1000. Wrong in: rebuilds.',
      'root_volume_size_gb must be from 8 to 16384 (the limit of gp3 volumes). Wrong in: huge.',
      'build_cache.disk_percent must be from 1 to 50.',
      'backlog_minutes is 0 and must be a whole number from 1 to 1440',
      'agent_idle_timeout_min must be from 1 to 720: gha/idle has 721.',
      'drain_timeout_min must be from 1 to 2880 (48 hours, the limit of Auto Scaling): gha/drains has 2881.',
      'must be from 3600 (one hour) to 31536000 (one year): gha/lives has 31536001.',
      'min_runners must be from 0 to max_runners: gha/more has 3 and 2.',
    ],
  },
  cache: {
    inputs: {
      build_cache: {},
      gha_runner_groups: {
        mode: { ...group, cache: 'on' },
        name: { ...group, cache: 'write', cache_scope: 'Main' },
        twice: { ...group, cache: 'write', cache_reads: ['main'] },
        idle: { ...group, cache_reads: ['main'] },
        shared: { ...group, cache: 'write', job_isolation: 'shared' },
        warms: { ...group, ...warms, cache: 'write' },
        pulls: { ...group, cache: 'read', cache_scope: 'pulls', cache_reads: ['main', 'release'] },
      },
    },
    messages: [
      'gha/mode: cache must be off, read or write',
      'gha/name: cache_scope and cache_reads must have 1 to 48 lower-case letters',
      'gha/twice: cache_reads must have at most 4 different scopes, without cache_scope',
      'gha/idle: cache_reads needs cache = "read" or "write"',
      'gha/shared: cache = "write" needs job_isolation = "clean"',
      'gha/warms: a warming group uses no build cache',
      'gha/pulls reads pulls and release',
    ],
  },
  levels: {
    inputs: {
      build_cache: {},
      warming_sets: {
        default: { command: ['warm'] },
        root: { command: ['warm'], user: 'root' },
        plain: { command: ['warm'] },
      },
      gha_runner_groups: {
        warms: { ...group, ...warms, warming_set: 'default' },
        warms_root: {
          ...group,
          cache_scope: 'release',
          docker: false,
          warming_set: 'root',
          policies: { warming_manage: 'root' },
        },
        warms_plain: {
          ...group,
          cache_scope: 'release',
          docker: false,
          warming_set: 'plain',
          policies: { warming_manage: 'plain' },
        },
        writes: { ...group, cache: 'write', warming: true },
        release: { ...group, cache_scope: 'release', warming: true, warming_set: 'default' },
        pulls: { ...group, warming: true, warming_set: 'root' },
        trusts: { ...group, cache: 'read', cache_scope: 'release', cache_reads: ['main'], warming: true },
        same: { ...group, cache: 'write', cache_scope: 'release', warming: true, warming_set: 'root' },
        harmless: { ...group, warming: true, warming_set: 'plain' },
      },
    },
    messages: [
      'Groups that would start from a snapshot of another trust level: gha/pulls (cache_scope main) names root, which gha/warms-root (cache_scope release) makes; gha/release (cache_scope release) names default, which gha/warms (cache_scope main) makes. A run with root',
    ],
  },
  cacheless: {
    inputs: { gha_runner_groups: { default: { ...group, cache: 'write' } } },
    messages: ['gha/default: cache = "write" needs build_cache. Add build_cache = {}'],
  },
  setless: {
    inputs: { warming_sets: {}, gha_runner_groups: { default: { ...group, warming: true } } },
    messages: ['gha/default uses default. warming_sets has []. Add the set there'],
  },
  key: {
    inputs: {
      support: { pagerduty_integration_key: key },
      pagerduty_integration_key: key,
      runbooks_url: `https://user:${key}@example.com/x`,
      agents: { gha: { program: { ...program, url: `https://${key}@example.com/r.tar.gz` } } },
      gha_runner_groups: {
        known: { ...group, agent: { program: { ...program, url: `https://a:${key}@example.com/r.tar.gz` } } },
      },
      warming_sets: {
        default: { command: ['warm'] },
        token: { bazel: { directory: '/work', repository: `https://${key}@example.com/a` } },
        password: {
          command: ['x'],
          checkout: { directory: '/work', repository: `ssh://git:${key}@example.com/a` },
        },
        argument: { command: ['sh', '-c', `git clone HTTPS://x-access-token:${key}@example.com/a`] },
        written: { command: ['sh', '-c', `TOKEN=ghp_${'z'.repeat(36)} make`] },
        helper: {
          command: ['x'],
          checkout: {
            directory: '/w',
            repository: 'https://example.com/a',
            credential_command: ['curl', `https://${key}@example.com`],
          },
        },
        harmless: {
          command: [
            'git',
            'clone',
            'ssh://git@example.com/a',
            'git@example.com:a',
            'https://example.com/a?b=c@d',
          ],
        },
      },
    },
    messages: [
      'URLs must not contain credentials',
      'Wrong in: agent of gha/known, agents.gha, runbooks_url, warming_sets.argument, warming_sets.helper, warming_sets.password, warming_sets.token, warming_sets.written.',
      'pagerduty_integration_key and support.pagerduty_integration_key would store the PagerDuty key in plain text in the Terraform state',
      'the secret that the output pagerduty_routing_secret_id names',
    ],
  },
  webhooks: {
    inputs: {
      enable_webhooks: true,
      enable_function_reserved_concurrency: false,
      buildkite_event_bus: 'aws.partner/buildkite.com/acme/1',
    },
    messages: [
      'enable_webhooks needs enable_function_reserved_concurrency: without a concurrency of its own',
      'enable_webhooks needs a runner group of gha or bk',
      'buildkite_event_bus needs bk in hosts',
    ],
  },
  'user-data': {
    whole: true,
    inputs: {
      warming_sets: { default: { command: ['warm', 'x'.repeat(16_000)] } },
      gha_runner_groups: { warming: { ...group, ...warms } },
    },
    messages: [
      'User data of gha/warming is larger than 16 KB, the limit of EC2. Shorten the command of the warming set',
    ],
  },
};

/** Inputs that are declared only to be refused. */
function refusedInputs(): string[] {
  return readVariables(readFileSync(join(infra, 'variables-refused.tf'), 'utf8')).map(({ name }) => name);
}

/** Rules about inputs, `<file>:<line>`: the lines at which validations and preconditions begin. */
function rules(): string[] {
  const files = readdirSync(infra).filter((file) =>
    /^(variables.*|checks(-names|-values|-aws)?|build-cache|iam-parameters)\.tf$/.test(file),
  );
  return files.flatMap((file) =>
    readFileSync(join(infra, file), 'utf8')
      .split('\n')
      .flatMap((line, index) =>
        /^ +(validation|precondition) \{$/.test(line) ? [`${file}:${index + 1}`] : [],
      ),
  );
}

/** Everything beside a plan that `terraform test` needs. No call reaches AWS. */
const mocks = {
  mock_provider: {
    aws: {
      mock_data: {
        aws_caller_identity: { defaults: { account_id: '123456789012' } },
        aws_partition: { defaults: { partition: 'aws', dns_suffix: 'amazonaws.com' } },
        aws_region: { defaults: { region: 'us-west-2' } },
        aws_iam_policy_document: { defaults: { json: '{}' } },
      },
    },
  },
};

// The plans run as tests of terraform, which need no account. A refused plan ends its file, so each one has a file.
describe.skipIf(reason !== undefined)('refused inputs', () => {
  let space: Workspace;
  let output: string;
  let reported: Reported;
  beforeAll(() => {
    space = workspace();
    const folder = join(space.path, 'infra/refused');
    mkdirSync(folder);
    for (const [name, { inputs, whole }] of Object.entries(plans)) {
      const plan = {
        command: 'plan',
        variables: { ...valid, ...inputs },
        // A plan of the rules alone takes a fifth of the time.
        ...(!whole && {
          plan_options: {
            target: ['names', 'values', 'inputs', 'aws', 'cache_inputs'].map(
              (rules) => `terraform_data.${rules}`,
            ),
          },
        }),
      };
      const file = { ...mocks, run: { plan } };
      writeFileSync(join(folder, `${name}.tftest.json`), JSON.stringify(file));
    }
    space.must('.', 'init', '-backend=false', '-input=false');
    output = space.run('.', 'test', '-test-directory=refused', '-json').stdout;
    reported = reportedBy(output);
  });
  afterAll(() => space.remove());

  test.each(Object.entries(plans))(
    'each message of the plan %s names the input and the correction',
    (name, plan) => {
      const found = reported.messages.get(`refused/${name}.tftest.json`) ?? '';
      for (const message of plan.messages) expect(found).toContain(message);
    },
  );

  test('every rule about inputs is violated in one of the plans', () => {
    const known = rules();
    expect(known.length).toBeGreaterThan(50);
    expect(known.filter((rule) => !reported.rules.has(rule))).toEqual([]);
  });

  // Terraform cannot tell a map from an object with unknown values, so checks-names.tf has the names of objects.
  test('the attributes that are objects are those of the types', () => {
    const types = readFileSync(join(infra, 'modules/inputs/variables.tf'), 'utf8');
    const objects = [...types.matchAll(/(\w+) += (?:optional\()?object\(/g)].map(([, name = '']) => name);
    const named = /object_attributes = \[(.*)\]/.exec(readFileSync(join(infra, 'checks-names.tf'), 'utf8'));
    const inner = objects.filter((name) => name !== 'type');
    expect(JSON.parse(`[${named?.[1]}]`)).toEqual([...new Set(inner)].sort());
    expect(types).not.toContain('list(object(');
  });

  test('no message contains a key', () => {
    expect(output).not.toContain(key);
  });
});

/** Messages by test file, and the rules that terraform names in them. */
type Reported = { messages: Map<string, string>; rules: Set<string> };

/** @param json output of `terraform test -json`, one message per line */
function reportedBy(json: string): Reported {
  const messages = new Map<string, string>();
  const rules = new Set<string>();
  for (const line of json.trim().split('\n')) {
    const { type, diagnostic, '@testfile': file } = JSON.parse(line);
    if (type !== 'diagnostic') continue;
    messages.set(file, `${messages.get(file) ?? ''} ${diagnostic.detail}`);
    // A message about a variable names the validation. One about a resource has the position of the condition.
    const validation = /validation rule at (\S+?:\d+),/.exec(diagnostic.detail)?.[1];
    if (validation !== undefined) rules.add(validation);
    else if (diagnostic.range) rules.add(blockOf(diagnostic.range.filename, diagnostic.range.start.line));
  }
  return { messages, rules };
}

/** The line at which the block around a line begins. */
function blockOf(file: string, line: number): string {
  const path = join(infra, file);
  const lines = existsSync(path) ? readFileSync(path, 'utf8').split('\n').slice(0, line) : [];
  return `${file}:${lines.findLastIndex((text) => text.endsWith(' {')) + 1}`;
}
