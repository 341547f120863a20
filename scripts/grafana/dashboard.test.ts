import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { DEPLOYMENT_DIMENSION, METRIC_NAMESPACE, METRICS } from '../../shared/runtime/metrics.ts';
import { DEFAULT_DEPLOYMENT, GRAFANA_DASHBOARD, grafanaDashboard } from './dashboard.ts';

const root = resolve(import.meta.dirname, '../..');

type Query = {
  namespace: string;
  metricName: string;
  dimensions: Record<string, string[]>;
  matchExact: boolean;
};
type Stored = {
  panels: { type: string; targets?: Query[] }[];
  templating: { list: { name: string; query?: unknown }[] };
};

const text = readFileSync(join(root, GRAFANA_DASHBOARD), 'utf8');
const stored = JSON.parse(text) as Stored;
const queries = stored.panels.flatMap(({ targets = [] }) => targets);
const known: Record<string, { dimensions: readonly (readonly string[])[] }> = METRICS;

test('the file is the dashboard that the catalogue gives', () => {
  expect(stored).toEqual(JSON.parse(JSON.stringify(grafanaDashboard())));
});

test('every query names a metric that is emitted, with dimensions that it is emitted with', () => {
  // Auto Scaling emits these for the groups of the module, which switch them on (infra/modules/runner-group/group.tf).
  const enabled = readFileSync(join(root, 'infra/modules/runner-group/group.tf'), 'utf8');
  expect(queries.length).toBeGreaterThan(30);
  for (const { namespace, metricName, dimensions, matchExact } of queries) {
    const keys = Object.keys(dimensions).sort();
    expect(matchExact, metricName).toBe(true);
    if (namespace === METRIC_NAMESPACE) {
      const sets = known[metricName]?.dimensions.map((set) => [DEPLOYMENT_DIMENSION, ...set].sort());
      expect(sets, metricName).toContainEqual(keys);
    } else {
      expect([namespace, keys]).toEqual(['AWS/AutoScaling', ['AutoScalingGroupName']]);
      expect(enabled).toContain(`"${metricName}"`);
    }
  }
});

test('every metric of the catalogue is shown', () => {
  const shown = queries
    .filter(({ namespace }) => namespace === METRIC_NAMESPACE)
    .map(({ metricName }) => metricName);
  expect([...new Set(shown)].sort()).toEqual(Object.keys(METRICS).sort());
});

test('the variables ask for dimensions of the catalogue', () => {
  const asked = stored.templating.list.flatMap(({ query }) =>
    typeof query === 'object' && query !== null
      ? [query as { metricName: string; dimensionKey: string }]
      : [],
  );
  expect(asked).toHaveLength(2);
  for (const { metricName, dimensionKey } of asked)
    expect(known[metricName]?.dimensions, metricName).toContainEqual([dimensionKey]);
});

test('the prefix of the deployment is a value of its own, which the module can replace', () => {
  expect(text.match(new RegExp(`"${DEFAULT_DEPLOYMENT}"`, 'g'))).toHaveLength(3);
});
