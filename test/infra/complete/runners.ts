import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { parseConfig } from '../../../scripts/runner/config.ts';
import { text } from '../state.ts';
import type { Applied } from './applied.ts';

const root = resolve(import.meta.dirname, '../../..');

export function aboutRunners(made: Applied): void {
  const { of } = made;
  describe('runner groups', () => {
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
      for (const { address, values } of made.all) {
        if ('tags' in values)
          expect(values.tags, address).toMatchObject({ 'created-by': 'hearth', environment: 'ci' });
      }
    });
  });
}
