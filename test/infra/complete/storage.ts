import * as v from 'valibot';
import { describe, expect, test } from 'vitest';
import { readDesired } from '../../../functions/parameters/desired.ts';
import { DECLARED_PARAMETERS_KEY } from '../../../shared/fleet/bucket-keys.ts';
import {
  actionKey,
  CACHE_TOOLS,
  CLAIM_MS,
  OUTPUT_MS,
  outputKey,
  toolKey,
} from '../../../shared/fleet/build-cache.ts';
import { GROUPS_KEY, groupsFileSchema } from '../../../shared/fleet/group-settings.ts';
import {
  brokenReportsKey,
  framesKey,
  indexKey,
  manifestKey,
  pointerKey,
  runKey,
} from '../../../shared/snapshot/layout.ts';
import { memoryStore } from '../../../shared/snapshot/testing/memory-store.ts';
import { covers, only, statements, text } from '../state.ts';
import { type Applied, bucket } from './applied.ts';

/** Types of resources that cost per request, per month, or nothing. */
const WITHOUT_HOURLY_PRICE = new Set(
  [
    ...[
      'cloudwatch_dashboard',
      'cloudwatch_event_bus',
      'cloudwatch_event_bus_policy',
      'cloudwatch_event_rule',
    ],
    ...['cloudwatch_event_target', 'cloudwatch_log_group', 'cloudwatch_metric_alarm', 'iam_instance_profile'],
    ...[
      'iam_policy',
      'iam_role',
      'iam_role_policy',
      'iam_role_policy_attachment',
      'lambda_event_source_mapping',
    ],
    ...['lambda_function', 'lambda_function_url', 'lambda_permission', 'launch_template', 's3_bucket'],
    ...[
      's3_bucket_lifecycle_configuration',
      's3_bucket_logging',
      's3_object_copy',
      's3_bucket_notification',
      's3_bucket_policy',
    ],
    ...[
      's3_bucket_public_access_block',
      's3_bucket_server_side_encryption_configuration',
      's3_bucket_versioning',
    ],
    ...[
      's3_bucket_ownership_controls',
      's3_object',
      'scheduler_schedule',
      'secretsmanager_secret',
      'security_group',
    ],
    ...['sns_topic', 'sns_topic_policy', 'sns_topic_subscription', 'sqs_queue', 'sqs_queue_policy'],
    ...['sqs_queue_redrive_allow_policy', 'vpc_security_group_egress_rule'],
  ].map((name) => `aws_${name}`),
);

export function aboutStorage(made: Applied): void {
  const { of } = made;
  describe('bucket and secrets', () => {
    test('secrets are created empty, with their names', () => {
      const prefixes = of('aws_secretsmanager_secret').map(({ values }) => values.name_prefix);
      expect(prefixes.sort()).toEqual([
        'aw_bk_agent_token_',
        'aw_bk_webhook_',
        'aw_cci_default_',
        'aw_gha_app_',
        'aw_gha_token_',
        'aw_gha_webhook_',
        'aw_pd_routing_key_',
      ]);
      expect(of('aws_secretsmanager_secret_version')).toEqual([]);
      expect(made.state).not.toContain('secret_string');
    });

    test('the bucket is versioned, encrypted, private, has a lifecycle rule and sends events', () => {
      expect(of('aws_s3_bucket_versioning')[0]?.values.versioning_configuration).toMatchObject([
        { status: 'Enabled' },
      ]);
      expect(of('aws_s3_bucket_server_side_encryption_configuration')[0]?.values.rule).toMatchObject([
        { apply_server_side_encryption_by_default: [{ sse_algorithm: 'AES256' }] },
      ]);
      expect(of('aws_s3_bucket_ownership_controls')[0]?.values.rule).toMatchObject([
        { object_ownership: 'BucketOwnerEnforced' },
      ]);
      expect(of('aws_s3_bucket_public_access_block')[0]?.values).toMatchObject({
        block_public_acls: true,
        block_public_policy: true,
        ignore_public_acls: true,
        restrict_public_buckets: true,
      });
      expect(of('aws_s3_bucket_notification')[0]?.values.eventbridge).toBe(true);
      const policy = statements(of('aws_s3_bucket_policy')[0]?.values.policy);
      expect(policy).toHaveLength(3);
      expect(policy[0]).toMatchObject({
        Effect: 'Deny',
        Principal: '*',
        Action: ['s3:*'],
        Resource: expect.arrayContaining([`arn:aws:s3:::${bucket}`, `arn:aws:s3:::${bucket}/*`]),
        Condition: { Bool: { 'aws:SecureTransport': 'false' } },
      });
      expect(of('aws_s3_bucket_lifecycle_configuration')[0]?.values.rule).toMatchObject([
        {
          abort_incomplete_multipart_upload: [{ days_after_initiation: 1 }],
          noncurrent_version_expiration: [{ noncurrent_days: 7 }],
        },
        ...['act', ...CACHE_TOOLS].sort().map((kind) => ({
          filter: [{ prefix: `cache/main/${kind}/` }],
          expiration: [{ days: CLAIM_MS / 86_400_000 }],
        })),
        {
          filter: [{ prefix: 'cache/' }],
          expiration: [{ days: OUTPUT_MS / 86_400_000 }],
          // What has expired costs nothing from the next day.
          noncurrent_version_expiration: [{ noncurrent_days: 1 }],
        },
      ]);
    });

    test('nothing has a price per hour but the instances of runner groups, also with a build cache', () => {
      const types = new Set(made.all.map(({ type }) => type).filter((type) => type.startsWith('aws_')));
      // A type that is new here is looked up in the price list of its service first.
      expect([...types].filter((type) => !WITHOUT_HOURLY_PRICE.has(type))).toEqual(['aws_autoscaling_group']);
    });

    test('the access logs of the bucket go to the bucket of the input', () => {
      expect(only(of('aws_s3_bucket_logging')).values).toMatchObject({
        bucket,
        target_bucket: 'acme-access-logs',
        target_prefix: `${bucket}/`,
      });
    });

    test('no principal replaces a claim of the build cache; an output can be stored again', () => {
      const denied = statements(of('aws_s3_bucket_policy')[0]?.values.policy).find(
        ({ Sid }) => Sid === 'DenyReplacingCacheClaims',
      );
      expect(denied).toMatchObject({
        Effect: 'Deny',
        Principal: '*',
        Action: ['s3:PutObject'],
        Condition: { Null: { 's3:if-none-match': 'true' } },
      });
      const covered = (key: string) =>
        denied?.Resource.some((pattern) => covers(pattern, `arn:aws:s3:::${bucket}/${key}`));
      const [place, sha256] = [{ scope: 'main', epoch: 3 }, 'a'.repeat(64)];
      for (const tool of CACHE_TOOLS) expect(covered(toolKey(place, tool, 'key')), tool).toBe(true);
      expect(covered(actionKey(place, sha256))).toBe(true);
      expect(covered(outputKey(place, sha256))).toBe(false);
    });

    test('no principal replaces an object of a snapshot; parts of an upload need no condition', () => {
      const policy = statements(of('aws_s3_bucket_policy')[0]?.values.policy);
      expect(policy.find(({ Sid }) => Sid === 'DenyReplacingSnapshots')).toEqual({
        Sid: 'DenyReplacingSnapshots',
        Effect: 'Deny',
        Principal: '*',
        Action: ['s3:PutObject'],
        Resource: [`arn:aws:s3:::${bucket}/sets/*/snapshots/*`, `arn:aws:s3:::${bucket}/sets/*/frames/*`],
        Condition: {
          Null: { 's3:if-none-match': 'true' },
          Bool: { 's3:ObjectCreationOperation': 'true' },
        },
      });
      const denied = (key: string) =>
        policy
          .filter(({ Sid }) => Sid === 'DenyReplacingSnapshots')
          .some(({ Resource: on }) => on.some((pattern) => covers(pattern, `arn:aws:s3:::${bucket}/${key}`)));
      const id = '20261123T030000Z-1f2e3d4c';
      const immutable = [manifestKey('ios', id), indexKey('ios', id), framesKey('ios', id)];
      for (const key of immutable) expect(denied(key), key).toBe(true);
      // Functions replace these on condition of the version that they have read.
      const replaced = [pointerKey('ios'), runKey('ios'), brokenReportsKey('ios'), GROUPS_KEY];
      for (const key of [...replaced, 'registrations/i-0123456789abcdef0.json'])
        expect(denied(key), key).toBe(false);
    });

    test('the function registration can read the declared groups', () => {
      const object = only(of('aws_s3_object').filter(({ values }) => values.key === GROUPS_KEY));
      expect(object.values.bucket).toBe(bucket);
      const { groups } = v.parse(groupsFileSchema, JSON.parse(text(object.values.content)));
      const names = of('aws_autoscaling_group').map(({ values }) => values.name);
      expect(Object.values(groups).map(({ autoScalingGroup }) => autoScalingGroup)).toEqual(names);
      const roles = of('aws_iam_role').map(({ values }) => values.name);
      for (const { role } of Object.values(groups)) expect(roles).toContain(role);
      const secret = (prefix: string) =>
        only(of('aws_secretsmanager_secret').filter(({ values }) => values.name_prefix === prefix)).values
          .arn;
      const github = {
        provider: 'gha',
        apiUrl: 'https://api.example.ghe.com',
        owner: 'acme',
        jobsRepository: 'monorepo',
        appSecret: secret('aw_gha_app_'),
        tokenSecret: secret('aw_gha_token_'),
      };
      const sized = (name: string, minRunners: number, maxRunners: number, takesJobs = true) => ({
        role: `aw-${name}-usw2`,
        autoScalingGroup: `aw-${name}`,
        minRunners,
        maxRunners,
        takesJobs,
        pollsPerMinute: 1,
        scaleOutFactor: 1,
        replaceOutdated: true,
      });
      const repository = 'monorepo';
      const circle = { provider: 'cci', apiUrl: 'https://circleci.example.com' };
      const buildkite = {
        provider: 'bk',
        apiUrl: 'https://agent.buildkite.com/v3',
        tokenSecret: secret('aw_bk_agent_token_'),
      };
      expect(groups).toEqual({
        'gha/default': {
          ...github,
          ...sized('gha-default', 0, 50),
          repository,
          labels: ['aspect-default'],
          pollsPerMinute: 2,
          workflowIds: ['1234567'],
        },
        'gha/small-jobs': {
          ...github,
          ...sized('gha-small-jobs', 1, 5),
          repository,
          labels: ['aspect-small', 'linux'],
          maxInstanceLifetimeSeconds: 604_800,
        },
        // The runners belong to the organization, so no repository is named.
        'gha/org': { ...github, ...sized('gha-org', 0, 5), runnerGroup: 'release', labels: ['org'] },
        'gha/warming': {
          ...github,
          ...sized('gha-warming', 0, 1, false),
          repository,
          labels: ['aspect-warming'],
        },
        'cci/default': {
          ...circle,
          ...sized('cci-default', 0, 10),
          credentialsSecret: secret('aw_cci_default_'),
        },
        'bk/default': { ...buildkite, ...sized('bk-default', 0, 10), queue: 'default' },
        'bk/warm-ios': { ...buildkite, ...sized('bk-warm-ios', 0, 1, false), queue: 'warming' },
      });
    });

    test('the function parameters can read the declared part of the tree', async () => {
      const store = memoryStore();
      const object = only(of('aws_s3_object').filter(({ values }) => values.key === DECLARED_PARAMETERS_KEY));
      expect(object.values.bucket).toBe(bucket);
      store.put(DECLARED_PARAMETERS_KEY, text(object.values.content));
      const groups = of('aws_autoscaling_group').map(({ values }) => ({
        name: text(values.name),
        min: 0,
        max: 1,
        desired: 0,
        inService: 0,
        draining: 0,
      }));
      const list = async () => groups;
      const desired = await readDesired({ prefix: 'aw', root: '/aw', store, groups: { list } });
      const tree = Object.fromEntries(
        [...(desired?.expected ?? [])].map(([name, { value }]) => [name, JSON.parse(value)]),
      );
      const ids = [
        'bk/default',
        'bk/warm-ios',
        'cci/default',
        'gha/default',
        'gha/org',
        'gha/small-jobs',
        'gha/warming',
      ];
      expect(Object.keys(tree).sort()).toEqual(
        ['/aw/deployment', ...ids.flatMap((id) => [`/aw/groups/${id}`, `/aw/groups/${id}/capacity`])].sort(),
      );
      expect(tree['/aw/deployment']).toEqual({
        customerId: 'acme/monorepo',
        version: expect.stringMatching(/^\d+\.\d+\.\d+/),
        hosts: ['gha', 'cci', 'bk'],
      });
      expect(tree['/aw/groups/gha/default']).toEqual({
        minRunners: 0,
        maxRunners: 50,
        resourceType: 'default',
        queue: 'aspect-default',
        repository: 'acme/monorepo',
        level: 'repository',
        workflowIds: ['1234567'],
        idleTimeoutMinutes: 10,
        jobIsolation: 'clean',
        jobsUseInstanceRole: false,
        sharedMounts: [],
        docker: true,
        cache: 'write',
        cacheScope: 'main',
        cacheReads: [],
        warmingSet: 'default',
        warming: false,
        scalingPollingFrequency: 2,
      });
    });
  });
}
