import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createMetrics, METRIC_NAMESPACE } from './metrics.ts';

let lines: string[];
beforeEach(() => {
  lines = [];
  // Powertools prints metrics past the global console, so that no wrapper of Lambda's changes the line.
  vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => {
    lines.push(...String(chunk).split('\n').filter(Boolean));
    return true;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
});

const emitted = () =>
  lines.map((line) => {
    const { _aws: aws, ...values } = JSON.parse(line) as {
      _aws: { CloudWatchMetrics: [{ Namespace: string; Dimensions: string[][]; Metrics: object[] }] };
    };
    return { ...aws.CloudWatchMetrics[0], values };
  });

test('is stored once under each of its dimension sets, and under no other', () => {
  createMetrics('lifecycle', 'aw').add('RestoreSeconds', 4.2, { Group: 'gha/default', Outcome: 'restored' });
  expect(emitted()).toMatchObject([
    { Namespace: METRIC_NAMESPACE, Dimensions: [['Deployment', 'Group']], values: { RestoreSeconds: 4.2 } },
    {
      Dimensions: [['Deployment', 'Group', 'Outcome']],
      values: { Group: 'gha/default', Outcome: 'restored' },
    },
  ]);
});

test('has its unit', () => {
  createMetrics('warming', 'aw').add('SnapshotBytes', 5e9, { Set: 'default' });
  expect(emitted()[0]?.Metrics).toEqual([{ Name: 'SnapshotBytes', Unit: 'Bytes' }]);
});

test('of the whole fleet has the dimension of its deployment alone', () => {
  createMetrics('alarms', 'aw').add('IncidentsSent', 1, {});
  createMetrics('alarms', 'ci').add('IncidentsSent', 1, {});
  expect(emitted()).toMatchObject([
    { Dimensions: [['Deployment']], values: { Deployment: 'aw' } },
    { Dimensions: [['Deployment']], values: { Deployment: 'ci' } },
  ]);
});

test('values of one call do not leak into the next', () => {
  const metrics = createMetrics('warming', 'aw');
  metrics.add('WarmingRunSeconds', 60, { Set: 'one' });
  metrics.add('IncidentsUnsent', 1, {});
  expect(emitted()[1]?.values).not.toHaveProperty('Set');
  expect(emitted()[1]?.values).not.toHaveProperty('WarmingRunSeconds');
});
