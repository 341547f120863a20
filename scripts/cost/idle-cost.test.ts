import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { METRICS } from '../../shared/runtime/metrics.ts';
import { idleCost, parsePrices } from './idle-cost.ts';

const prices = parsePrices(readFileSync(join(import.meta.dirname, 'prices.json'), 'utf8'));
const resource = (address: string, values: Record<string, unknown> = {}) => ({
  address,
  mode: 'managed',
  type: /(aws_\w+)\.[^.]+$/.exec(address)?.[1] ?? '',
  values,
});
const alarm = (name: string, dimensions: Record<string, string>) =>
  resource(`module.h.module.alarms.aws_cloudwatch_metric_alarm.${name}`, { dimensions });
const plan = (...resources: object[]) =>
  JSON.stringify({ planned_values: { root_module: { child_modules: [{ resources }] } } });

test('counts what AWS charges for while nothing runs', () => {
  const { lines, total, perGroup } = idleCost(
    plan(
      alarm('a', { Group: 'gha/default', Deployment: 'aw' }),
      alarm('b', { Group: 'gha/default', Deployment: 'aw' }),
      alarm('c', { Set: 'default' }),
      resource('module.h.module.warming.aws_s3_bucket.this'),
      resource('module.h.module.alarms.aws_cloudwatch_dashboard.this'),
      resource('module.h.aws_secretsmanager_secret.pagerduty'),
      resource('module.h.module.function["scaling"].aws_lambda_function.this', { memory_size: 1024 }),
      resource('module.h.module.function["scaling"].aws_scheduler_schedule.this', {
        schedule_expression: 'rate(1 minute)',
      }),
      resource('module.h.module.function["scaling"].aws_lambda_event_source_mapping.this'),
      { ...resource('data.aws_secretsmanager_secret.other'), mode: 'data' },
    ),
    prices,
  );
  const found = Object.fromEntries(lines.map(({ item, count, dollars }) => [item, [count, dollars]]));
  expect(found.alarms).toEqual([3, expect.closeTo(0.3)]);
  // Two of the group, two of the set, three of the deployment.
  expect(found['custom metrics that are always emitted']).toEqual([7, expect.closeTo(2.1)]);
  expect(found.dashboards).toEqual([1, 3]);
  expect(found.secrets).toEqual([1, 0.4]);
  expect(found['polls of queues by Lambda']).toEqual([657_000, expect.closeTo(0.263)]);
  // 43,800 runs of one second with one gigabyte.
  expect(found['scheduled invocations']).toEqual([43_800, expect.closeTo(0.637, 3)]);
  expect(total).toBeCloseTo(6.7, 1);
  expect(perGroup).toBeCloseTo(2 * 0.1 + 2 * 0.3);
});

test.each([
  ['no plan', '{}', /planned_values/],
  ['a plan without a deployment', plan(), /no alarm/],
])('%s is refused', (_, text, message) => {
  expect(() => idleCost(text, prices)).toThrow(message);
});

test('the metrics that are always emitted exist', () => {
  const source = readFileSync(join(import.meta.dirname, 'idle-cost.ts'), 'utf8');
  const named = [.../per(?:Group|Set|Deployment): \[([^\]]+)\]/g[Symbol.matchAll](source)].flatMap(
    ([, list = '']) => [...list.matchAll(/'(\w+)'/g)].map(([, name = '']) => name),
  );
  expect(named).toHaveLength(7);
  for (const name of named) expect(Object.keys(METRICS)).toContain(name);
});
