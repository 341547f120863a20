import { cp, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Group } from '../../../shared/fleet/names.ts';
import type { CloudOptions } from '../cloud.ts';
import type { GroupSettings } from '../deploy/settings.ts';

export const DEFAULT_GROUP = 'aw-gha-default';
export const WARMING_GROUP = 'aw-gha-warming';
export const SET = 'default';

/**
 * The runner groups of the first act, whose capacity an operator sets. `warm` boots from the snapshot of the warming set, the others boot
 * cold. `pulls` reads the build cache that `buildkite` writes.
 */
export const GROUPS = {
  warm: { provider: 'gha', name: 'default' },
  small: { provider: 'gha', name: 'small' },
  buildkite: { provider: 'bk', name: 'default' },
  pulls: { provider: 'bk', name: 'pulls' },
  circleci: { provider: 'cci', name: 'default' },
} as const satisfies Record<string, Group>;

/** The runner groups of the second act, which start empty and grow with their queues. */
export const BURST = {
  gha: { provider: 'gha', name: 'burst' },
  bk: { provider: 'bk', name: 'burst' },
  cci: { provider: 'cci', name: 'burst' },
} as const satisfies Record<string, Group>;

/** Their maxima: 14 runners. */
export const BURST_MAX = { gha: 6, bk: 4, cci: 4 } as const;

/** Names of the alarms, without the prefix of the deployment. */
export const ALARMS = {
  launchFailures: 'cci-default-launch-failures',
  deadLetters: 'lifecycle-dead-letters',
} as const;

/** Folder of the simulated checkout. The demo creates and removes it. */
export function checkoutFolder(root: string): string {
  return join(root, '.local', 'checkout');
}

/** Copies the sources of the project: the part of the warm tree that changes between two warming runs. */
export async function makeCheckout(root: string): Promise<void> {
  const folder = checkoutFolder(root);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  for (const part of ['functions', 'shared', 'scripts']) {
    await cp(join(root, part), join(folder, part), { recursive: true, preserveTimestamps: true });
  }
}

/** Adds one dependency to the checkout before the second warming run. */
export async function vendorOnePackage(root: string): Promise<void> {
  await cp(join(root, 'node_modules/valibot'), join(checkoutFolder(root), 'vendor/valibot'), {
    recursive: true,
  });
}

/**
 * A job of the demo: builds a function of the checkout with the compiler and the packages of the warm tree, and runs the result. A
 * runner without the warm tree has neither.
 */
export const WARM_BUILD = [
  'out=$(mktemp -d)',
  'cd "$AW_WARM_DIR/checkout"',
  '"$AW_WARM_DIR/node_modules/esbuild/bin/esbuild" functions/lifecycle/handler.ts --bundle --platform=node --log-level=error --outfile="$out/handler.js"',
  'node -e "if (typeof require(process.argv[1]).handler !== \'function\') process.exit(1)" "$out/handler.js"',
  'echo "built $(wc -c < "$out/handler.js") bytes"',
  'rm -r "$out"',
].join(' && ');

const RUNNER = { pollSeconds: 0.5, heartbeatSeconds: 5 };

/**
 * The groups of the second act. Each is polled every 20 s, as often as a user can ask for. Their idle timeouts are seconds, where a
 * user has minutes: longer than the time between two jobs of a runner, and on Buildkite longer than the outage.
 *
 * @param options.warmingSet what their runners boot from; absent: they boot cold
 * @param options.idleFactor multiplies the idle timeouts, for a computer that may be slow
 */
export function burstGroups(options: { warmingSet?: string; idleFactor?: number }): GroupSettings[] {
  const { warmingSet, idleFactor = 1 } = options;
  const common = { min: 0, pollsPerMinute: 3, ...(warmingSet !== undefined && { warmingSet }) };
  const idle = (seconds: number) => ({
    ...RUNNER,
    // Fourteen idle runners that look twice per second would take a third of a core.
    pollSeconds: 1,
    idleTimeoutMinutes: (seconds / 60) * idleFactor,
  });
  return [
    { ...BURST.gha, ...common, max: BURST_MAX.gha, purchase: 'spot', runner: idle(10) },
    { ...BURST.bk, ...common, max: BURST_MAX.bk, runner: idle(40) },
    // The jobs of this group trust each other: one agent runs them one after the other.
    { ...BURST.cci, ...common, max: BURST_MAX.cci, runner: { ...idle(10), jobs: { isolation: 'shared' } } },
  ];
}

/**
 * The deployment of the demo: runner groups of the three CI providers for two acts, a warming group, and two alarms.
 *
 * @param packages what the warming command copies, as paths below the root
 */
export function fleet(root: string, packages: readonly string[]): CloudOptions {
  // The jobs of this group trust each other: one agent runs them one after the other.
  const shared = { ...RUNNER, jobs: { isolation: 'shared' } } as const;
  return {
    root,
    isScaled: true,
    groups: [
      { ...GROUPS.warm, min: 0, max: 8, warmingSet: SET, purchase: 'spot', runner: RUNNER },
      { ...GROUPS.small, min: 0, max: 1, runner: RUNNER },
      { ...GROUPS.buildkite, min: 0, max: 4, runner: RUNNER, cache: { mode: 'write', scope: 'main' } },
      { ...GROUPS.pulls, min: 0, max: 1, runner: RUNNER, cache: { mode: 'read', scope: 'main' } },
      { ...GROUPS.circleci, min: 0, max: 4, purchase: 'spot', runner: shared },
      ...burstGroups({ warmingSet: SET }),
      {
        provider: 'gha',
        name: 'warming',
        min: 0,
        max: 1,
        warmingSet: SET,
        runner: {
          ...RUNNER,
          warming: {
            command: [
              join(root, 'node_modules/.bin/node'),
              join(root, 'scripts/local/demo/mirror-directory.ts'),
              ...packages.map((path) => `${join(root, path)}=${path}`),
              `${checkoutFolder(root)}=checkout`,
            ],
          },
        },
      },
    ],
    warmingSets: {
      [SET]: { group: 'gha/warming', schedule: 'cron(0 3 * * ? *)', deadlineMinutes: 30, keep: 3 },
    },
    replicaRegions: ['eu-central-1'],
    alarms: [
      {
        name: ALARMS.launchFailures,
        namespace: 'Hearth',
        metric: 'LaunchFailures',
        dimensions: { Deployment: 'aw', Group: 'cci/default' },
        statistic: 'Sum',
        comparison: 'GreaterThanOrEqualToThreshold',
        threshold: 1,
        period: 300,
        description: 'Launches of this group fail.',
        tags: { 'hearth:severity': 'critical', 'hearth:runbook': 'https://runbooks.example/launch-failures' },
      },
      {
        name: ALARMS.deadLetters,
        namespace: 'AWS/SQS',
        metric: 'ApproximateNumberOfMessagesVisible',
        dimensions: { QueueName: 'aw-lifecycle-dead' },
        statistic: 'Maximum',
        comparison: 'GreaterThanOrEqualToThreshold',
        threshold: 1,
        period: 60,
        description: 'A message is in the dead-letter queue.',
        tags: { 'hearth:severity': 'warning' },
      },
    ],
  };
}
