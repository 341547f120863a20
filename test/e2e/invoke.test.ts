import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '../..');
const samples = 'test/fixtures/events';
const files = readdirSync(join(root, samples)).filter((name) => name.endsWith('.json'));

type Line = {
  file: string;
  outcome: 'done' | 'skipped' | 'retry' | 'dead';
  reason: string | null;
  calls: { service: string; operation: string; status: number }[];
};

/** Runs the command with every sample. */
async function invoke(functionName: string): Promise<Map<string, Line>> {
  const args = ['scripts/local/invoke.ts', functionName, ...files.map((name) => `${samples}/${name}`)];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: root });
  const lines: Line[] = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  return new Map(lines.map((line) => [line.file.slice(samples.length + 1).replace('.json', ''), line]));
}

/** Samples that are not EventBridge events. */
const FOREIGN = [
  'aspect-secret-cci-per-group',
  'buildkite-agent-metrics-response',
  'circleci-list-runners-response',
  'eventbridge-dlq-sqs-message',
  'github-list-runners-response',
  'lambda-async-on-failure-destination',
  'pagerduty-enqueue-trigger',
  'pagerduty-response-400',
];

/** Outcomes of some samples. They name groups, alarms and buckets of other deployments. */
const EXPECTED: Record<string, Record<string, Pick<Line, 'outcome' | 'reason'>>> = {
  lifecycle: {
    'autoscaling-launch-lifecycle-action': { outcome: 'dead', reason: 'unknown-event' },
    'autoscaling-launch-unsuccessful-insufficient-capacity': { outcome: 'done', reason: null },
    'ec2-spot-interruption-warning-terminate': { outcome: 'skipped', reason: 'not-in-group' },
    'cloudwatch-alarm-state-change-metric-ok-to-alarm': { outcome: 'dead', reason: 'unknown-event' },
  },
  alarms: {
    'cloudwatch-alarm-state-change-metric-ok-to-alarm': { outcome: 'skipped', reason: 'no-routing-key' },
    'cloudwatch-alarm-configuration-change-update': { outcome: 'skipped', reason: 'configuration-changed' },
    's3-object-created-put': { outcome: 'dead', reason: 'unknown-event' },
  },
  warming: {
    's3-object-created-put': { outcome: 'skipped', reason: 'no-manifest' },
    'ec2-state-change-running': { outcome: 'dead', reason: 'unknown-event' },
  },
  parameters: {
    'ssm-parameter-store-change-update': { outcome: 'done', reason: null },
    's3-object-created-put': { outcome: 'skipped', reason: 'foreign-bucket' },
  },
};

describe.each(Object.entries(EXPECTED))('npm run invoke -- %s', (functionName, expected) => {
  test('gives every sample an outcome with a reason, and lists the calls', async () => {
    const lines = await invoke(functionName);
    expect([...lines.keys()].sort()).toEqual(files.map((name) => name.replace('.json', '')).sort());
    for (const [sample, { outcome, reason, calls }] of lines) {
      const text = `${sample}: ${outcome} ${reason}`;
      expect(['done', 'skipped', 'dead'], text).toContain(outcome);
      if (outcome !== 'done') expect(reason, text).toMatch(/^[a-z][a-z-]+$/);
      const deadLettered = calls.some(
        ({ service, operation }) => `${service} ${operation}` === 'sqs SendMessage',
      );
      expect(deadLettered, text).toBe(outcome === 'dead');
      expect(
        calls.filter(({ status }) => status >= 500),
        text,
      ).toEqual([]);
    }
    for (const [sample, line] of Object.entries(expected)) expect(lines.get(sample)).toMatchObject(line);
    for (const sample of FOREIGN) {
      expect(lines.get(sample)).toMatchObject({ outcome: 'dead', reason: 'malformed-envelope' });
    }
  });
});

test('an unknown function is an error that lists the functions', async () => {
  const running = promisify(execFile)(process.execPath, ['scripts/local/invoke.ts', 'nosuch', 'x.json'], {
    cwd: root,
  });
  await expect(running).rejects.toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/no function nosuch with an inbox; there are alarms, lifecycle/),
  });
});
