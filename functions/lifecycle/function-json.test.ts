import { readdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { reportSource } from '../../shared/fleet/report.ts';
import { readFunctionSpecs, visibilitySeconds } from '../../shared/runtime/function-spec.ts';
import { MAX_REPORT_BYTES } from './report-limits.ts';

const root = resolve(import.meta.dirname, '../..');
const samples = join(root, 'test/fixtures/events');

/** The heartbeat timeout of the launch hook, as Terraform declares it. */
async function launchHookSeconds(): Promise<number> {
  const text = await readFile(join(root, 'infra/modules/runner-group/group.tf'), 'utf8');
  const hook = text
    .split('initial_lifecycle_hook {')
    .find((block) => block.includes('EC2_INSTANCE_LAUNCHING'));
  return Number(hook?.match(/heartbeat_timeout\s*=\s*(\d+)/)?.[1]);
}

/** The part of EventBridge's pattern language that this function uses: literals, prefixes, and objects of them. */
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

test('the patterns match exactly the samples that this function acts on', async () => {
  const spec = (await readFunctionSpecs(root)).find(({ name }) => name === 'lifecycle');
  const patterns = (spec?.subscriptions ?? []).flatMap((subscription) =>
    subscription.kind === 'events'
      ? [JSON.parse(JSON.stringify(subscription.pattern).replaceAll(`\${prefix}`, 'aw')) as unknown]
      : [],
  );
  const files = (await readdir(samples)).filter((file) => file.endsWith('.json'));
  const matched: string[] = [];
  for (const file of files) {
    const event: unknown = JSON.parse(await readFile(join(samples, file), 'utf8'));
    if (patterns.some((pattern) => matches(pattern, event))) matched.push(file.replace('.json', ''));
  }
  expect(matched.sort()).toEqual([
    'autoscaling-launch-unsuccessful-insufficient-capacity',
    'ec2-spot-interruption-warning-terminate',
  ]);
});

test('a record that a lost invocation held is received again before the launch hook times out', async () => {
  const spec = (await readFunctionSpecs(root)).find(({ name }) => name === 'lifecycle');
  const hookSeconds = await launchHookSeconds();
  expect(spec && visibilitySeconds(spec)).toBeLessThanOrEqual(hookSeconds / 2);
  // A runner repeats Runner Ready for as long, and at least one repetition must be handled.
  expect(spec?.timeoutSeconds).toBeLessThanOrEqual(hookSeconds / 10);
});

test('the queue refuses the reports that this function does not read', async () => {
  const spec = (await readFunctionSpecs(root)).find(({ name }) => name === 'lifecycle');
  expect(spec?.extraInboxBytes).toBe(MAX_REPORT_BYTES);
});

test('every subscription to reports has the source of the events that are published', async () => {
  const sources = (await readFunctionSpecs(root)).flatMap(({ subscriptions }) =>
    subscriptions.flatMap((subscription) =>
      subscription.kind === 'events' && JSON.stringify(subscription.pattern).includes('Runner Failed')
        ? [(subscription.pattern as { source?: unknown }).source]
        : [],
    ),
  );
  expect(sources).toEqual([[reportSource(`\${prefix}`)]]);
});
