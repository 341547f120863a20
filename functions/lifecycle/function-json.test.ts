import { readdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { readFunctionSpecs } from '../../shared/runtime/function-spec.ts';

const root = resolve(import.meta.dirname, '../..');
const samples = join(root, 'test/fixtures/events');

/** As much of EventBridge's patterns as this function's use: literals, prefixes, and objects of them. */
function matches(pattern: unknown, value: unknown): boolean {
  if (Array.isArray(pattern)) return pattern.some((choice) => matchesOne(choice, value));
  if (!isObject(pattern) || !isObject(value)) return false;
  return Object.entries(pattern).every(([key, inner]) => matches(inner, value[key]));
}

function matchesOne(choice: unknown, value: unknown): boolean {
  if (!isObject(choice)) return choice === value;
  const [[kind, prefix] = []] = Object.entries(choice);
  if (kind !== 'prefix' || typeof prefix !== 'string') throw new Error(`unknown matcher ${kind}`);
  return typeof value === 'string' && value.startsWith(prefix);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

test('of all samples, the rules let through what this function knows, and nothing else', async () => {
  const spec = (await readFunctionSpecs(root)).find(({ name }) => name === 'lifecycle');
  const patterns = (spec?.subscriptions ?? []).flatMap((subscription) =>
    subscription.kind === 'events'
      ? [JSON.parse(JSON.stringify(subscription.pattern).replaceAll(`\${prefix}`, 'aw')) as unknown]
      : [],
  );
  const files = (await readdir(samples)).filter((file) => file.endsWith('.json'));
  const heard: string[] = [];
  for (const file of files) {
    const event: unknown = JSON.parse(await readFile(join(samples, file), 'utf8'));
    if (patterns.some((pattern) => matches(pattern, event))) heard.push(file.replace('.json', ''));
  }
  expect(heard.sort()).toEqual([
    'autoscaling-launch-lifecycle-action',
    'autoscaling-launch-lifecycle-action-ec2-to-asg',
    'autoscaling-launch-successful',
    'autoscaling-launch-successful-with-origin-destination',
    'autoscaling-launch-unsuccessful-insufficient-capacity',
    'autoscaling-terminate-lifecycle-action',
    'autoscaling-terminate-lifecycle-action-asg-to-ec2',
    'autoscaling-terminate-lifecycle-action-warmpool-to-ec2-derived',
    'autoscaling-terminate-successful',
    'ec2-rebalance-recommendation',
    'ec2-spot-interruption-warning-terminate',
  ]);
});
