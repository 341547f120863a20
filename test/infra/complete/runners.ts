import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { parseAgentSettings } from '../../../infra/runner/src/agents/settings.ts';
import { parseConfig } from '../../../infra/runner/src/config.ts';
import { LAUNCH_HOOK_SECONDS } from '../../../infra/runner/src/watch-step.ts';
import { DRAIN_TIMEOUT_TAG, ROLE_ID_TAG, WARMING_SET_TAG } from '../../../shared/fleet/names.ts';
import { only, statements, text } from '../state.ts';
import { type Applied, bucket } from './applied.ts';

const root = resolve(import.meta.dirname, '../../..');

export function aboutRunners(made: Applied): void {
  const { of } = made;
  /** Files that user data writes, by path. */
  const filesOf = ({ user_data }: Record<string, unknown>): Record<string, string> => {
    const document = parse(Buffer.from(text(user_data), 'base64').toString('utf8')) as {
      write_files: { path: string; content: string }[];
    };
    return Object.fromEntries(document.write_files.map(({ path, content }) => [path, content]));
  };
  /** The configuration of the instances of a group. */
  const configOf = (group: string) => {
    const template = only(of('aws_launch_template').filter(({ values }) => values.name === group));
    return parseConfig(filesOf(template.values)['/etc/aw-runner/config.json'] ?? '', group);
  };

  describe('runner groups', () => {
    test('user data is cloud-init below 16 KB and contains a valid configuration of aw-runner', () => {
      const templates = of('aws_launch_template');
      const url = only(made.inFunction('aws_lambda_function_url', 'registration')).values.function_url;
      const program = only(of('aws_s3_object').filter(({ name }) => name === 'runner'));
      const configs: Record<string, ReturnType<typeof parseConfig>> = {};
      expect(templates.length).toBe(7);
      for (const { values } of templates) {
        const userData = Buffer.from(text(values.user_data), 'base64');
        expect(userData.length).toBeLessThan(16_384);
        expect(userData.toString('utf8')).toMatch(/^#cloud-config\n/);
        const files = filesOf(values);
        const config = configOf(text(values.name));
        configs[text(values.name)] = config;
        expect(config.autoScalingGroup).toBe(values.name);
        expect(text(values.name)).toContain(`-${config.agent.driver}-`);
        expect(files['/etc/aw-runner/source.env']?.split('\n')).toEqual([
          `RUNNER_URL=s3://${bucket}/${text(program.values.key)}`,
          `RUNNER_SHA256=${createHash('sha256')
            .update(readFileSync(join(root, 'dist/aw-runner.mjs')))
            .digest('hex')}`,
          'AWS_DEFAULT_REGION=us-west-2',
        ]);
        expect(files['/usr/local/lib/aw-runner/bootstrap.sh']).toBe(
          readFileSync(join(root, 'infra/runner/bootstrap.sh'), 'utf8'),
        );
        expect(userData.toString('utf8')).not.toMatch(/token"\s*:|secretsmanager/i);
        // Only groups with agents ask for registrations.
        expect(config.registrationUrl, text(values.name)).toBe(config.warming === false ? url : undefined);
        expect(() => parseAgentSettings(config.agent)).not.toThrow();
      }
      expect(configs['aw-gha-warming']?.warming).toEqual({
        bazel: {
          directory: '/home/ci/monorepo',
          targets: ['//...'],
          build: false,
          program: 'bazel',
        },
        checkout: {
          directory: '/home/ci/monorepo',
          repository: 'https://github.com/acme/monorepo',
          ref: 'HEAD',
          submodules: false,
        },
        user: 'ci',
        timeoutSeconds: 7200,
        rebuild: 14,
      });
      // Those who make the snapshot and those who use it have the same directories.
      for (const name of ['aw-gha-warming', 'aw-gha-default'])
        expect(configs[name]?.directories.paths, name).toEqual(['/home/ci/.cache/pip', '/home/ci/monorepo']);
      expect(configs['aw-gha-small-jobs']?.directories.paths).toEqual([]);
      expect(configs['aw-gha-default']?.lazy).toBe('auto');
      expect(configs['aw-gha-small-jobs']?.lazy).toBe('never');
      expect(configs['aw-bk-warm-ios']?.warming).toEqual({
        command: ['/opt/acme/warm.sh', '--config="ci"'],
        timeoutSeconds: 5400,
        rebuild: 7,
      });
      expect(configs['aw-gha-default']).toMatchObject({
        warming: false,
        warmingSet: 'default',
        cache: { mode: 'write', scope: 'main', reads: [], diskPercent: 20 },
      });
      expect(configs['aw-gha-org']?.cache).toMatchObject({ mode: 'read', scope: 'main' });
      expect(configs['aw-gha-small-jobs']?.cache).toBeUndefined();
      expect(configs['aw-gha-small-jobs']?.warmingSet).toBeUndefined();
      // Attributes of a group override those of its provider, one by one.
      const agentOf = (name: string) => configs[name]?.agent;
      expect(agentOf('aw-gha-default')).toEqual({
        driver: 'gha',
        user: 'ci',
        program: {
          version: '2.336.0',
          url: 'https://example.com/runner-2.336.0.tar.gz',
          sha256: 'a'.repeat(64),
        },
      });
      expect(agentOf('aw-gha-small-jobs')).toEqual({
        driver: 'gha',
        user: 'ci',
        directory: '/opt/acme/runner',
        program: {
          version: '2.335.0',
          url: 'https://example.com/runner-2.335.0.tar.gz',
          sha256: 'b'.repeat(64),
        },
      });
      expect(agentOf('aw-bk-default')).toEqual({ driver: 'bk', queue: 'default', gitCloneDepth: 1 });
      expect(agentOf('aw-cci-default')).toEqual({ driver: 'cci', apiUrl: 'https://circleci.example.com' });
      expect(configs['aw-gha-default']?.drainTimeoutSeconds).toBeUndefined();
      const clean = { isolation: 'clean', useInstanceRole: false, sharedMounts: [], docker: true };
      expect(configs['aw-gha-default']?.jobs).toEqual(clean);
      expect(configs['aw-gha-org']?.jobs).toEqual({
        ...clean,
        useInstanceRole: true,
        sharedMounts: ['/mnt/efs/toolchains'],
      });
      expect(configs['aw-cci-default']?.jobs).toEqual({ ...clean, docker: false });
      expect(configs['aw-bk-default']?.jobs).toMatchObject({ isolation: 'shared', useInstanceRole: true });
      expect(configs['aw-gha-small-jobs']?.drainTimeoutSeconds).toBe(7200);
    });

    test('instances require IMDSv2 with one hop and encrypted volumes, and accept no inbound traffic', () => {
      for (const { values } of of('aws_launch_template')) {
        expect(values).toMatchObject({
          metadata_options: [
            { http_tokens: 'required', http_put_response_hop_limit: 1, instance_metadata_tags: 'disabled' },
          ],
          network_interfaces: [{ associate_public_ip_address: 'false', delete_on_termination: 'true' }],
          // What jobs leave on a disk ends with the instance.
          block_device_mappings: [{ ebs: [{ encrypted: 'true', delete_on_termination: 'true' }] }],
        });
      }
      // Further security groups come from the user.
      const groups = of('aws_launch_template').map(({ values }) => {
        const [{ security_groups }] = values.network_interfaces as [{ security_groups: string[] }];
        return [values.name, security_groups.filter((id) => id === 'sg-00000000000000001').length];
      });
      expect(Object.fromEntries(groups)).toMatchObject({ 'aw-gha-default': 1, 'aw-gha-warming': 0 });
      expect(of('aws_vpc_security_group_ingress_rule')).toEqual([]);
      for (const { values } of of('aws_security_group')) expect(values.ingress ?? []).toEqual([]);
      const outbound = of('aws_vpc_security_group_egress_rule').map(
        ({ values }) => values.cidr_ipv4 ?? values.cidr_ipv6,
      );
      expect(outbound.filter((range) => range === '::/0')).toHaveLength(7);
      expect(outbound.filter((range) => range === '0.0.0.0/0')).toHaveLength(7);
    });

    test('groups have both initial hooks, with the names that the function lifecycle completes', () => {
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
        expect(values).toMatchObject({
          suspended_processes: ['AZRebalance'],
          force_delete: false,
          // A removal waits for drains.
          timeouts: { delete: '60m' },
          capacity_rebalance: false,
          health_check_type: 'EC2',
          instance_maintenance_policy: [{ min_healthy_percentage: 100, max_healthy_percentage: 200 }],
        });
        const config = configOf(text(values.name));
        const timeouts = (values.initial_lifecycle_hook as { name: string; heartbeat_timeout: number }[]).map(
          ({ name, heartbeat_timeout }) => [name, heartbeat_timeout] as const,
        );
        expect(Object.fromEntries(timeouts)).toEqual({ 'aw-boot': LAUNCH_HOOK_SECONDS, 'aw-drain': 1_800 });
        // A hook waits for at most 100 timeouts and 48 hours. A drain gets all of them, and a boot its own limit.
        expect(1_800 * 100).toBeGreaterThanOrEqual(48 * 3_600);
        expect(LAUNCH_HOOK_SECONDS * 100).toBeGreaterThan(config.bootTimeoutSeconds);
        // The hook survives two lost heartbeats.
        expect(LAUNCH_HOOK_SECONDS).toBeGreaterThanOrEqual(3 * config.heartbeatSeconds);
      }
      // Functions change it, and an apply must not reset it.
      const source = readFileSync(join(root, 'infra/modules/runner-group/group.tf'), 'utf8');
      expect(source).not.toMatch(/^ *desired_capacity /m);
      const small = of('aws_autoscaling_group').find(({ values }) => values.name === 'aw-gha-small-jobs');
      expect(small?.values.mixed_instances_policy).toMatchObject([
        { instances_distribution: [{ on_demand_percentage_above_base_capacity: 0 }] },
      ]);
      expect(small?.values).toMatchObject({ min_size: 1, max_size: 5 });
      const large = of('aws_autoscaling_group').find(({ values }) => values.name === 'aw-gha-default');
      expect(large?.values).toMatchObject({ min_size: 0, max_size: 50 });
      expect(large?.values.mixed_instances_policy).toMatchObject([
        {
          instances_distribution: [{ on_demand_percentage_above_base_capacity: 100 }],
          launch_template: [
            { override: [{ instance_type: 'c6id.4xlarge' }, { instance_type: 'c5ad.4xlarge' }] },
          ],
        },
      ]);
    });

    test('the README lists the endpoints of the services that instances call', () => {
      const policies = [
        ...of('aws_iam_role_policy').filter(({ address }) => address.includes('module.runner_group')),
        ...of('aws_iam_policy').filter(({ values }) => text(values.name).startsWith('aw-warming-manage-')),
      ];
      const services = policies
        .flatMap(({ values }) => statements(values.policy))
        .flatMap(({ Action }) => Action.map((action) => action.split(':')[0]))
        // A URL of a function has no endpoint.
        .filter((service) => service !== 'lambda');
      const readme = readFileSync(join(root, 'infra/README.md'), 'utf8');
      const listed = /^\*\*Endpoints\*\* instead of NAT for AWS: (.*?)\. The URL/ms.exec(readme)?.[1] ?? '';
      expect([...listed.matchAll(/`([a-z0-9]+)`/g)].map(([, name]) => name).sort()).toEqual(
        [...new Set(services)].sort(),
      );
    });

    test('every group has the unique id of its role as a tag, which lifecycle compares with senders', () => {
      const ids = of('aws_iam_role').map(({ values }) => [text(values.name), text(values.unique_id)]);
      const byRole = new Map(ids as [string, string][]);
      const groups = of('aws_autoscaling_group');
      for (const { values } of groups) {
        const tags = values.tag as { key: string; value: string }[];
        const id = tags.find(({ key }) => key === ROLE_ID_TAG)?.value;
        expect(id, text(values.name)).toMatch(/^AROA/);
        expect(id).toBe(byRole.get(`${text(values.name)}-usw2`));
      }
      expect(new Set(groups.map(({ values }) => byRole.get(`${text(values.name)}-usw2`))).size).toBe(
        groups.length,
      );
    });

    test('instances and volumes have the tags of cost, deployment, type and group', () => {
      const template = of('aws_launch_template').find(({ values }) => values.name === 'aw-gha-default');
      const wanted = {
        'created-by': 'hearth',
        'hearth-deployment': 'acme/monorepo',
        environment: 'ci',
        size: 'large',
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
      const kept = tags.filter(({ propagate_at_launch }) => !propagate_at_launch).map(({ key }) => key);
      expect(kept).toEqual(['hearth:deployment', ROLE_ID_TAG, WARMING_SET_TAG]);
      expect(tags.find(({ key }) => key === WARMING_SET_TAG)?.value).toBe('default');
      const limited = of('aws_autoscaling_group').find(({ values }) => values.name === 'aw-gha-small-jobs');
      expect(limited?.values.tag).toContainEqual({
        key: DRAIN_TIMEOUT_TAG,
        value: '7200',
        propagate_at_launch: false,
      });
      for (const { address, values } of made.all) {
        // S3 allows ten tags per object, and users may have more.
        if (address.includes('aws_s3_object.')) expect(values.tags ?? null, address).toBe(null);
        else if ('tags' in values)
          expect(values.tags, address).toMatchObject({ 'created-by': 'hearth', environment: 'ci' });
      }
    });
  });
}
