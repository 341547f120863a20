import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readLabels } from '../../../functions/alarms/labels.ts';
import { DEPLOYMENT_DIMENSION, METRIC_NAMESPACE, METRICS } from '../../../shared/runtime/metrics.ts';
import { type Resource, statements, text } from '../state.ts';
import type { Applied } from './applied.ts';

const root = resolve(import.meta.dirname, '../../..');

export function aboutAlarms(made: Applied): void {
  const { of } = made;
  describe('alarms', () => {
    test('alarms use metrics and dimensions of the catalogue', () => {
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
            known[name]?.dimensions.map((set) => [DEPLOYMENT_DIMENSION, ...set].sort()),
            address,
          ).toContainEqual(dimensions);
          expect((values.dimensions as Record<string, string>)[DEPLOYMENT_DIMENSION]).toBe('aw');
          watched.add(name);
        } else {
          expect(elsewhere[`${values.namespace} ${name}`], address).toEqual(dimensions);
        }
      }
      // How often the build cache hits is for people, and no reason to page them.
      const onlyShown = [
        'CacheDroppedUploads',
        'CacheHits',
        'CacheMisses',
        'CacheServedBytes',
        'CacheStoredBytes',
      ];
      expect([...watched, ...onlyShown].sort()).toEqual(Object.keys(METRICS).sort());
    });

    test('every queue, function, group and set has its alarms', () => {
      const watched = (kind: string, dimension: string) =>
        of('aws_cloudwatch_metric_alarm')
          .filter(({ values }) => text(values.alarm_name).startsWith(`aw-${kind}-`))
          .map(({ values }) => (values.dimensions as Record<string, string>)[dimension])
          .sort();
      const queues = of('aws_sqs_queue').map(({ values }) => text(values.name));
      const groups = of('aws_autoscaling_group').map(({ values }) => {
        const tags = values.tag as { key: string; value: string }[];
        return tags.find(({ key }) => key === 'hearth:group')?.value;
      });
      const functions = of('aws_lambda_function').map(({ values }) => values.function_name);
      expect(watched('dead-letters', 'QueueName')).toEqual(
        queues.filter((name) => /-dead$/.test(name)).sort(),
      );
      expect(watched('old-messages', 'QueueName')).toEqual(
        queues.filter((name) => !/-dead$/.test(name)).sort(),
      );
      expect(watched('function-errors', 'FunctionName')).toEqual(functions.sort());
      // Strangers fill the concurrency of webhooks, and hints meet the one invocation of scaling.
      expect(watched('function-throttles', 'FunctionName')).toEqual(
        functions.filter((name) => name !== 'aw_webhooks' && name !== 'aw_scaling').sort(),
      );
      for (const kind of [
        'launch-failures',
        'slow-boots',
        'slow-restores',
        'long-drains',
        'drain-limit',
        'backlog',
      ])
        expect(watched(kind, 'Group'), kind).toEqual(groups.sort());
      // Only groups that take jobs have agents.
      for (const kind of [
        'held-runners',
        'silent-runners',
        'overdue-repairs',
        'old-agents',
        'unhealthy-runners',
        'missing-agents',
        'excess-registrations',
        'failed-registrations',
        'unused-registrations',
        'unmatched-jobs',
        'old-jobs',
      ])
        expect(watched(kind, 'Group'), kind).toEqual([
          'bk/default',
          'cci/default',
          'gha/default',
          'gha/org',
          'gha/small-jobs',
        ]);
      expect(watched('cache-failures', 'Group')).toEqual(['gha/default', 'gha/org']);
      // Only groups with a warming set can boot cold.
      expect(watched('cold-boots', 'Group')).toEqual([
        'bk/warm-ios',
        'cci/default',
        'gha/default',
        'gha/warming',
      ]);
      for (const kind of [
        'old-snapshot',
        'large-snapshot',
        'slow-warming-runs',
        'failed-warming-runs',
        'quarantined-snapshots',
      ])
        expect(watched(kind, 'Set'), kind).toEqual(['default', 'ios']);
    });

    test('an alarm starts above the threshold of its input', () => {
      for (const { values } of of('aws_cloudwatch_metric_alarm')) {
        expect(values.comparison_operator, text(values.alarm_name)).toBe('GreaterThanThreshold');
        // Exactly one of both forms.
        expect([values.statistic ?? '', values.extended_statistic ?? ''].filter(Boolean)).toHaveLength(1);
      }
      const alarm = (name: string) =>
        of('aws_cloudwatch_metric_alarm').find(({ values }) => values.alarm_name === `aw-${name}`)?.values;
      const p90 = { extended_statistic: 'p90', period: 900 };
      // The thresholds of the example, and the defaults of the others.
      expect(alarm('slow-boots-gha-default')).toMatchObject({ ...p90, threshold: 240 });
      expect(alarm('slow-restores-gha-default')).toMatchObject({ ...p90, threshold: 300 });
      expect(alarm('long-drains-gha-default')).toMatchObject({ threshold: 18_000, statistic: 'Maximum' });
      expect(alarm('backlog-gha-default')).toMatchObject({
        threshold: 0,
        period: 60,
        evaluation_periods: 30,
      });
      expect(alarm('old-jobs-gha-default')).toMatchObject({ threshold: 900, statistic: 'Minimum' });
      expect(alarm('old-snapshot-default')).toMatchObject({ threshold: 50 * 3600, statistic: 'Maximum' });
      expect(alarm('large-snapshot-default')).toMatchObject({ threshold: 200e9 });
      expect(alarm('slow-warming-runs-ios')).toMatchObject({ threshold: 90 * 60 * 0.8 });
      expect(alarm('launch-failures-gha-default')).toMatchObject({ threshold: 3, statistic: 'Sum' });
      expect(alarm('unused-registrations-gha-default')).toMatchObject({ threshold: 200 });
      expect(alarm('cache-failures-gha-default')).toMatchObject({ threshold: 5 });
      for (const { values } of of('aws_cloudwatch_metric_alarm'))
        if (text(values.alarm_name).startsWith('aw-dead-letters-')) expect(values.threshold).toBe(0);
    });

    test('the severities are those of the runbooks', () => {
      const page = readFileSync(join(root, 'docs/runbooks/README.md'), 'utf8');
      const rows = [
        ...page.matchAll(/^\| \[([a-z-]+)\]\(.*?\) \| `.*?` \| ([a-z]+)(; critical for .*?)? \|/gm),
      ];
      expect(rows.length).toBeGreaterThan(30);
      const stated = new Map(rows.map(([, kind, severity]) => [`${kind}.md`, severity]));
      for (const { values } of of('aws_cloudwatch_metric_alarm')) {
        const tags = values.tags as Record<string, string>;
        const isCritical = /^aw-old-messages-aw-(lifecycle-inbox|reports)$/.test(text(values.alarm_name));
        const kind = tags['hearth:runbook']?.split('/').at(-1) ?? '';
        expect(tags['hearth:severity'], text(values.alarm_name)).toBe(
          isCritical ? 'critical' : stated.get(kind),
        );
      }
    });

    test('a drain pages before Auto Scaling ends it', () => {
      const limits = of('aws_cloudwatch_metric_alarm').filter(({ values }) =>
        text(values.alarm_name).startsWith('aw-drain-limit-'),
      );
      expect(limits).toHaveLength(7);
      for (const { values } of limits)
        expect(values).toMatchObject({
          metric_name: 'DrainingSeconds',
          statistic: 'Maximum',
          threshold: 47 * 3600,
          period: 300,
          tags: { 'hearth:severity': 'critical' },
        });
    });

    test('the dashboard uses metrics of the catalogue', () => {
      const [dashboard] = of('aws_cloudwatch_dashboard');
      const { widgets } = JSON.parse(text(dashboard?.values.dashboard_body));
      const shown: string[][] = widgets.flatMap(
        ({ properties }: { properties: { metrics?: string[][] } }) => properties.metrics ?? [],
      );
      const named: Record<string, string[]> = {
        AutoScalingGroupName: of('aws_autoscaling_group').map(({ values }) => text(values.name)),
        QueueName: of('aws_sqs_queue').map(({ values }) => text(values.name)),
      };
      for (const [namespace, , dimension = '', value] of shown) {
        if (namespace !== METRIC_NAMESPACE) expect(named[dimension], dimension).toContain(value);
      }
      const ours = shown.filter(([namespace]) => namespace === METRIC_NAMESPACE);
      for (const [, name = '', ...dimensions] of ours) {
        const known: Record<string, { dimensions: readonly (readonly string[])[] }> = METRICS;
        expect(dimensions.slice(0, 2), name).toEqual([DEPLOYMENT_DIMENSION, 'aw']);
        expect(known[name]?.dimensions, name).toContainEqual(
          dimensions.slice(2).filter((_, index) => index % 2 === 0),
        );
      }
      expect([...new Set(ours.map(([, name]) => name))].sort()).toEqual(Object.keys(METRICS).sort());
    });

    test('each alarm has the tags that the function alarms reads, and a runbook', () => {
      for (const { values } of of('aws_cloudwatch_metric_alarm')) {
        const tags = values.tags as Record<string, string>;
        expect(Object.keys(tags)).toEqual(
          expect.arrayContaining(['hearth:severity', 'hearth:runbook', 'hearth:route']),
        );
        const alarm = { description: text(values.alarm_description), dimensions: {} } as Parameters<
          typeof readLabels
        >[0];
        const labels = readLabels(alarm, tags);
        // Without permission to read tags, or if a link cannot be a tag, the description contains the runbook.
        expect(readLabels(alarm, {}).runbook).toBe(labels.runbook);
        expect(labels.severity).toBe(tags['hearth:severity']);
        expect(labels.runbook).toBe(tags['hearth:runbook']);
        const page = labels.runbook?.replace('https://wiki.example.com/hearth/runbooks/', '') ?? '';
        expect(readdirSync(join(root, 'docs/runbooks'))).toContain(page);
        expect(text(values.alarm_name)).toMatch(/^aw-/);
      }
      const muted = of('aws_cloudwatch_metric_alarm').filter(
        ({ values }) => values.actions_enabled === false,
      );
      expect(muted.length).toBeGreaterThan(0);
      for (const { values } of muted)
        expect((values.dimensions as { Group: string }).Group).toBe('gha/small-jobs');
    });

    test('missing data is breaching only for a metric that is always emitted', () => {
      for (const { values } of of('aws_cloudwatch_metric_alarm')) {
        expect(values.treat_missing_data, text(values.alarm_name)).toBe(
          ['SnapshotAgeSeconds', 'ScalingFailures'].includes(text(values.metric_name))
            ? 'breaching'
            : 'notBreaching',
        );
      }
    });

    test('only alarms about paging use the SNS topic, in both directions', () => {
      const [topic] = of('aws_sns_topic');
      const actions = ({ values }: Resource) => [values.alarm_actions ?? [], values.ok_actions ?? []];
      const byTopic = of('aws_cloudwatch_metric_alarm').filter((alarm) => actions(alarm).flat().length > 0);
      expect(byTopic.map(({ values }) => values.alarm_name).sort()).toEqual([
        'aw-dead-letters-alarms',
        'aw-function-errors-alarms',
        'aw-function-throttles-alarms',
        'aw-old-messages-aw-alarms-inbox',
        'aw-unsent-incidents',
      ]);
      for (const alarm of byTopic) expect(actions(alarm)).toEqual([[topic?.values.arn], [topic?.values.arn]]);
      const [policy] = of('aws_sns_topic_policy');
      expect(policy?.values.arn).toBe(topic?.values.arn);
      const allowed = statements(policy?.values.policy).filter(({ Effect }) => Effect === 'Allow');
      // No other alarm, although its name may begin with the prefix.
      const sources = byTopic.map(({ values }) => text(values.arn)).sort();
      expect(allowed).toMatchObject([
        {
          Action: ['sns:Publish'],
          Principal: { Service: 'cloudwatch.amazonaws.com' },
          Condition: { ArnEquals: { 'aws:SourceArn': sources } },
        },
      ]);
    });
  });
}
