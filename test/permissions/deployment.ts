import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import type { GroupSettings } from '../../scripts/local/deploy/settings.ts';
import { parseGroupId } from '../../shared/fleet/names.ts';
import { type Resource, resourcesOf, text } from '../infra/state.ts';
import { canApply, type Workspace, whyNot, workspace } from '../infra/terraform.ts';
import { recordings } from './recordings.ts';

/** Why the module cannot be applied here, or undefined. */
export const noDeployment =
  whyNot() ?? (canApply ? undefined : 'an apply needs an offline terraform in HEARTH_TERRAFORM');
if (noDeployment) console.warn(`permissions are not tested: ${noDeployment}`);

/** The module, applied with every group and warming set of the recorded clouds, and with those of the table of principals. */
export type Deployed = {
  account: string;
  region: string;
  bucket: string;
  of(type: string): Resource[];
};

/** A group, as far as its permissions depend on it. */
type GroupInput = { set: string | undefined; makes: boolean; cache?: GroupSettings['cache'] };

/** What the table of principals needs: two sets, and several groups of each provider. */
const ALWAYS: Record<string, GroupInput> = {
  'gha/default': { set: 'default', makes: false },
  'gha/other': { set: 'other', makes: false },
  'gha/warming': { set: 'default', makes: true },
  'gha/warming-other': { set: 'other', makes: true },
  'bk/default': { set: undefined, makes: false },
  'bk/main': { set: undefined, makes: false, cache: { mode: 'write', scope: 'main' } },
  'bk/pulls': { set: undefined, makes: false, cache: { mode: 'read', scope: 'main' } },
  'bk/forks': { set: undefined, makes: false, cache: { mode: 'write', scope: 'forks', reads: ['main'] } },
  'cci/default': { set: undefined, makes: false },
  'cci/other': { set: undefined, makes: false },
};

/** The ARN of the event bus that verified reports go to. */
export function reportBus({ of, account, region }: Deployed): string {
  const [own] = of('aws_cloudwatch_event_bus');
  return `arn:aws:events:${region}:${account}:event-bus/${own?.values.name ?? 'default'}`;
}

/** Applies the module before the tests of a file, and removes it after them. */
export function deployed(): Deployed {
  let space: Workspace | undefined;
  let all: Resource[] = [];
  const made: Deployed = {
    // The account of the offline provider.
    account: '123456789012',
    region: 'us-west-2',
    bucket: '',
    of: (type) => all.filter((resource) => resource.type === type),
  };
  beforeAll(() => {
    space = workspace();
    const folder = join(space.path, 'infra/recorded');
    mkdirSync(folder);
    writeFileSync(join(folder, 'main.tf.json'), JSON.stringify(configuration()));
    space.must('recorded', 'init', '-backend=false', '-input=false');
    space.must('recorded', 'apply', '-auto-approve', '-input=false');
    all = resourcesOf(space.must('recorded', 'show', '-json'));
    made.bucket = text(made.of('aws_s3_bucket')[0]?.values.bucket);
  }, 600_000);
  afterAll(() => space?.remove());
  return made;
}

function configuration(): object {
  const groups = { ...ALWAYS };
  for (const { deployment } of recordings) {
    for (const { provider, name, warmingSet, runner, cache } of deployment.groups) {
      const id = `${provider}/${name}`;
      // A set adds permissions, so the group with a set has those of the group without one.
      groups[id] ??= { set: warmingSet, makes: runner?.warming !== undefined };
      groups[id].set ??= warmingSet;
      // The names of recorded groups with a cache and of others are different ones.
      if (cache) groups[id].cache ??= cache;
    }
  }
  const sets = [...new Set(Object.values(groups).flatMap(({ set }) => (set === undefined ? [] : [set])))];
  const ofProvider = (provider: string) =>
    Object.fromEntries(
      Object.entries(groups).flatMap(([id, group]) => {
        const parsed = parseGroupId(id);
        return parsed?.provider === provider ? [[parsed.name, inputOf(parsed.name, group, provider)]] : [];
      }),
    );
  return {
    provider: { aws: { region: 'us-west-2' } },
    module: {
      hearth: {
        source: '../',
        customer_id: 'recorded',
        vpc_id: 'vpc-00000000000000000',
        vpc_subnets: ['subnet-00000000000000001'],
        hosts: ['gha', 'cci', 'bk'],
        enable_webhooks: true,
        replica_regions: ['eu-west-1'],
        build_cache: {},
        resource_types: { default: { instance_types: ['c6id.4xlarge'], image_id: 'ami-00000000000000000' } },
        warming_sets: Object.fromEntries(sets.map((set) => [set, { command: ['warm'] }])),
        gha_runner_groups: ofProvider('gha'),
        cci_runner_groups: ofProvider('cci'),
        bk_runner_groups: ofProvider('bk'),
      },
    },
  };
}

function inputOf(name: string, { set, makes, cache }: GroupInput, provider: string): object {
  return {
    max_runners: 2,
    resource_type: 'default',
    ...(provider !== 'cci' && { queue: name }),
    ...(provider === 'gha' && { gh_repo: 'acme/monorepo' }),
    ...(cache && { cache: cache.mode, cache_scope: cache.scope, cache_reads: cache.reads ?? [] }),
    ...(set !== undefined && { warming_set: set, warming: !makes }),
    ...(makes && {
      policies: { warming_manage: `\${module.hearth.warming_management_policies["${set}"].arn}` },
    }),
  };
}
