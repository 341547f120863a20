import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { issuesText } from './validate.ts';

/**
 * `functions/<name>/function.json`: what a function is to the outside. Terraform (`jsondecode`), the build and the
 * local cloud all read it, so that a rule cannot differ between them.
 *
 * Placeholders in patterns, schedules and inputs: `${prefix}` is the deployment's name prefix, `${bucket}` its
 * snapshot bucket. A function has an inbox if an event, a schedule or a further queue leads to it, and a URL if it subscribes to
 * `url`; it may have both. A subscription with `forEach: "warmingSets"` exists once per warming set and may also use `${set}` and
 * `${schedule}` (the set's own schedule expression).
 */
const name = v.pipe(v.string(), v.regex(/^[a-z][a-z0-9-]{0,31}$/));

const subscription = v.variant('kind', [
  v.strictObject({
    kind: v.literal('events'),
    name,
    /** An EventBridge event pattern. */
    pattern: v.record(v.string(), v.unknown()),
    /**
     * Whose event bus: `buildkite` is that of Buildkite's partner event source, which a deployment has or not; without one there is no
     * rule. Absent: the default bus, where the events of AWS are.
     */
    bus: v.optional(v.picklist(['buildkite'])),
  }),
  v.strictObject({
    kind: v.literal('schedule'),
    name,
    /** An EventBridge Scheduler expression. */
    schedule: v.string(),
    forEach: v.optional(v.literal('warmingSets')),
    /** What arrives in the inbox, shaped as an EventBridge event: source, detail-type, detail. */
    input: v.strictObject({
      source: v.literal(`\${prefix}.schedule`),
      'detail-type': v.string(),
      detail: v.record(v.string(), v.unknown()),
    }),
  }),
  v.strictObject({
    kind: v.literal('url'),
    name,
    /** `iam`: only signed requests of principals with permission. `none`: everybody; the function itself verifies requests. */
    auth: v.picklist(['iam', 'none']),
  }),
]);

const queueCount = (min: number, max: number) =>
  v.optional(v.pipe(v.number(), v.integer(), v.minValue(min), v.maxValue(max)));

const functionSpecFields = v.strictObject({
  description: v.pipe(v.string(), v.maxLength(256)),
  memoryMb: v.pipe(v.number(), v.integer(), v.minValue(128), v.maxValue(10_240)),
  timeoutSeconds: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(900)),
  /**
   * Visibility timeout of the queues that the function polls, in seconds. Default: six times the function's timeout, as AWS
   * recommends (Lambda Developer Guide, "Using Lambda with Amazon SQS").
   */
  visibilitySeconds: queueCount(1, 43_200),
  /** With an inbox: most batches at once, the event source mapping's maximum concurrency (2..1000, Lambda's limits). */
  concurrency: queueCount(2, 1000),
  /** With an inbox: records per batch (1..10 without a batching window, SQS). */
  batchSize: queueCount(1, 10),
  /** With an inbox: receives before SQS itself moves a message to the dead-letter queue. */
  receiveLimit: queueCount(1, 1000),
  /**
   * Most invocations at once, requests and batches together, reserved from the concurrency of the account. A function with a URL
   * needs it: its callers would otherwise take the concurrency of all functions. A function that must not run twice at once has 1.
   * Lambda keeps 100 unreserved.
   */
  reservedConcurrency: queueCount(1, 900),
  /** Queues besides its own inbox that this function polls, and alone may read. */
  extraInboxes: v.optional(v.array(name), []),
  /** Most bytes of a message in these queues. SQS refuses larger ones; it accepts 1 KiB to 1 MiB (SQS quotas). */
  extraInboxBytes: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1_024), v.maxValue(1_048_576))),
  subscriptions: v.pipe(v.array(subscription), v.minLength(1)),
  /** Names of the environment values it needs, besides INBOX_URL and DEAD_LETTER_URL, which each function with an inbox has. */
  environment: v.array(v.pipe(v.string(), v.regex(/^[A-Z][A-Z0-9_]*$/))),
});

/** Keys of the queues in front of a function. Without an inbox there is nothing that they apply to. */
const QUEUE_KEYS = ['concurrency', 'batchSize', 'receiveLimit'] as const;

const functionSpecSchema = v.pipe(
  functionSpecFields,
  v.check(
    (spec) => QUEUE_KEYS.every((key) => (spec[key] !== undefined) === hasInbox(spec)),
    'concurrency, batchSize and receiveLimit: exactly the functions with an inbox need them',
  ),
  v.check(
    (spec) => spec.environment.includes('NAME_PREFIX'),
    'environment: every function needs NAME_PREFIX, which its metrics carry',
  ),
  v.check(
    (spec) => hasInbox(spec) || spec.visibilitySeconds === undefined,
    'visibilitySeconds: only a function with an inbox may have it',
  ),
  v.check(
    (spec) => spec.reservedConcurrency !== undefined || !hasUrl(spec),
    'reservedConcurrency: a function with a URL needs it',
  ),
  v.check(
    ({ subscriptions }) => subscriptions.filter(({ kind }) => kind === 'url').length <= 1,
    'subscriptions: a function has at most one URL',
  ),
);

export type FunctionSpec = v.InferOutput<typeof functionSpecSchema> & { name: string };
export type Subscription = FunctionSpec['subscriptions'][number];

type Sources = { subscriptions: readonly { kind: string }[]; extraInboxes: readonly string[] };

/** Whether the function polls queues: its own inbox, which every event and schedule goes to, and the further ones. */
export function hasInbox({ subscriptions, extraInboxes }: Sources): boolean {
  return subscriptions.some(({ kind }) => kind !== 'url') || extraInboxes.length > 0;
}

/** Whether the function has a URL, whose requests it answers. */
function hasUrl({ subscriptions }: Sources): boolean {
  return subscriptions.some(({ kind }) => kind === 'url');
}

/** Visibility timeout of the queues of a function, in seconds. Terraform and the local cloud use the same rule. */
export function visibilitySeconds(spec: Pick<FunctionSpec, 'timeoutSeconds' | 'visibilitySeconds'>): number {
  return spec.visibilitySeconds ?? 6 * spec.timeoutSeconds;
}

/**
 * Every function of the repository, by folder name, sorted.
 *
 * @param root the repository
 * @throws if a function.json is missing or wrong, naming the file and the place
 */
export async function readFunctionSpecs(root: string): Promise<FunctionSpec[]> {
  const folder = join(root, 'functions');
  const entries = await readdir(folder, { withFileTypes: true });
  const names = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  return Promise.all(names.sort().map((functionName) => readSpec(folder, functionName)));
}

async function readSpec(folder: string, functionName: string): Promise<FunctionSpec> {
  const file = join(folder, functionName, 'function.json');
  const parsed = v.safeParse(functionSpecSchema, JSON.parse(await readFile(file, 'utf8')));
  if (!parsed.success) throw new Error(`${file}: ${issuesText(parsed.issues)}`);
  return { name: functionName, ...parsed.output };
}
