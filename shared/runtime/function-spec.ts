import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { issuesText } from './validate.ts';

/**
 * `functions/<name>/function.json`: what a function is to the outside. Terraform (`jsondecode`), the build and the
 * local cloud all read it, so that a rule cannot differ between them.
 *
 * Placeholders in patterns, schedules and inputs: `${prefix}` is the deployment's name prefix, `${bucket}` its
 * snapshot bucket. A subscription with `forEach: "warmingSets"` exists once per warming set and may also use `${set}` and
 * `${schedule}` (the set's own schedule expression).
 */
const name = v.pipe(v.string(), v.regex(/^[a-z][a-z0-9-]{0,31}$/));

const subscription = v.variant('kind', [
  v.strictObject({
    kind: v.literal('events'),
    name,
    /** An EventBridge event pattern. */
    pattern: v.record(v.string(), v.unknown()),
  }),
  v.strictObject({
    kind: v.literal('schedule'),
    name,
    /** An EventBridge Scheduler expression. */
    schedule: v.string(),
    forEach: v.optional(v.literal('warmingSets')),
    /** What arrives in the inbox, shaped as an EventBridge event: source, detail-type, detail. */
    input: v.strictObject({
      source: v.literal('aw.schedule'),
      'detail-type': v.string(),
      detail: v.record(v.string(), v.unknown()),
    }),
  }),
]);

const functionSpecSchema = v.strictObject({
  description: v.pipe(v.string(), v.maxLength(256)),
  memoryMb: v.pipe(v.number(), v.integer(), v.minValue(128), v.maxValue(10_240)),
  timeoutSeconds: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(900)),
  /**
   * Visibility timeout of the queues that the function polls, in seconds. Default: six times the function's timeout, as AWS
   * recommends (Lambda Developer Guide, "Using Lambda with Amazon SQS").
   */
  visibilitySeconds: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(43_200))),
  /** Most batches at once: the event source mapping's maximum concurrency (2..1000, Lambda's limits). */
  concurrency: v.pipe(v.number(), v.integer(), v.minValue(2), v.maxValue(1000)),
  /** Records a batch (1..10 without a batching window, SQS). */
  batchSize: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(10)),
  /** Receives before SQS itself moves a message to the dead-letter queue. */
  receiveLimit: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(1000)),
  /** Queues besides its own inbox that this function polls, and alone may read. */
  extraInboxes: v.optional(v.array(name), []),
  subscriptions: v.pipe(v.array(subscription), v.minLength(1)),
  /** Names of the environment values it needs, besides INBOX_URL and DEAD_LETTER_URL, which all have. */
  environment: v.array(v.pipe(v.string(), v.regex(/^[A-Z][A-Z0-9_]*$/))),
});

export type FunctionSpec = v.InferOutput<typeof functionSpecSchema> & { name: string };
export type Subscription = FunctionSpec['subscriptions'][number];

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
