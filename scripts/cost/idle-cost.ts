import * as v from 'valibot';
import { parseOrReject } from '../../shared/runtime/validate.ts';

/** What a deployment costs per month while no instance runs, out of a plan and a list of prices. */

const priceList = v.strictObject({
  region: v.string(),
  /** The day on which the prices were noted. */
  date: v.pipe(v.string(), v.isoDate()),
  note: v.string(),
  currency: v.literal('USD'),
  sources: v.pipe(v.array(v.pipe(v.string(), v.url())), v.minLength(1)),
  perMonth: v.strictObject({
    alarm: v.number(),
    dashboard: v.number(),
    metric: v.number(),
    secret: v.number(),
  }),
  perMillion: v.strictObject({
    queueRequest: v.number(),
    functionRequest: v.number(),
    scheduleRun: v.number(),
  }),
  /** Lambda on arm64. */
  perGigabyteSecond: v.number(),
});
export type PriceList = v.InferOutput<typeof priceList>;

/** @param text of prices.json */
export function parsePrices(text: string): PriceList {
  return parseOrReject(priceList, JSON.parse(text), 'prices.json');
}

const resourceSchema = v.object({
  address: v.string(),
  mode: v.string(),
  type: v.string(),
  values: v.record(v.string(), v.unknown()),
});
type Resource = v.InferOutput<typeof resourceSchema>;
type Module = { resources?: Resource[] | undefined; child_modules?: Module[] | undefined };
const moduleSchema: v.GenericSchema<Module> = v.object({
  resources: v.optional(v.array(resourceSchema)),
  child_modules: v.optional(v.array(v.lazy(() => moduleSchema))),
});
const planSchema = v.object({ planned_values: v.object({ root_module: moduleSchema }) });

const numberIn = v.fallback(v.number(), 0);
const dimensionsIn = v.fallback(v.record(v.string(), v.string()), {});

/**
 * Metrics that functions emit also while nothing happens: each poll, sweep and check emits them (shared/runtime/metrics.ts). All
 * others cost something only in the hours in which they have values.
 */
const STANDING_METRICS = {
  perGroup: ['BacklogJobs', 'InstancesWithoutAgent'],
  perSet: ['SnapshotAgeSeconds', 'SnapshotBytes'],
  perDeployment: ['ParameterDrift', 'RegistrationsLeftBehind', 'ScalingFailures'],
} as const;

const HOURS = 730;
/** Lambda polls a queue with five long polls of 20 s (Lambda Developer Guide, "Using Lambda with Amazon SQS"). */
const POLLS_PER_HOUR = 5 * 180;
/** Billed time of a scheduled invocation without work, in seconds: measured in the local cloud, rounded up. */
const SECONDS_PER_RUN = 1;

export type Line = { item: string; count: number; dollars: number };
/** `perGroup`: what one further runner group that takes jobs adds, without a secret of its own. */
export type IdleCost = { lines: Line[]; total: number; perGroup: number };

/**
 * @param plan `terraform show -json <plan>`, of a plan that creates the deployment or of one without changes
 * @throws if it is not a plan, or has no deployment
 */
export function idleCost(plan: string, prices: PriceList): IdleCost {
  const { planned_values } = parseOrReject(planSchema, JSON.parse(plan), 'the plan');
  const all = managed(planned_values.root_module);
  const of = (type: string) => all.filter((one) => one.type === type);
  const alarms = of('aws_cloudwatch_metric_alarm').map(({ values }) =>
    v.parse(dimensionsIn, values.dimensions),
  );
  if (alarms.length === 0)
    throw new Error('the plan has no alarm, so no deployment: plan the whole configuration');

  const groups = [...new Set(alarms.flatMap(({ Group }) => Group ?? []))];
  const sets = [...new Set(alarms.flatMap(({ Set: set }) => set ?? []))];
  const { perGroup, perSet, perDeployment } = STANDING_METRICS;
  const metrics =
    groups.length * perGroup.length +
    sets.length * perSet.length +
    of('aws_s3_bucket').length * perDeployment.length;

  const polls = of('aws_lambda_event_source_mapping').length * POLLS_PER_HOUR * HOURS;
  const memory = new Map(
    of('aws_lambda_function').map(({ address, values }) => [
      moduleOf(address),
      v.parse(numberIn, values.memory_size),
    ]),
  );
  const runs = of('aws_scheduler_schedule').map(({ address, values }) => ({
    count: runsPerMonth(values.schedule_expression),
    gigabytes: (memory.get(moduleOf(address)) ?? 0) / 1024,
  }));
  const scheduled = runs.reduce((sum, { count }) => sum + count, 0);
  const gigabyteSeconds = runs.reduce(
    (sum, { count, gigabytes }) => sum + count * gigabytes * SECONDS_PER_RUN,
    0,
  );

  const per = prices.perMonth;
  const million = (count: number, price: number) => (count / 1e6) * price;
  const lines: Line[] = [
    { item: 'alarms', count: alarms.length, dollars: alarms.length * per.alarm },
    { item: 'custom metrics that are always emitted', count: metrics, dollars: metrics * per.metric },
    {
      item: 'dashboards',
      count: of('aws_cloudwatch_dashboard').length,
      dollars: of('aws_cloudwatch_dashboard').length * per.dashboard,
    },
    {
      item: 'secrets',
      count: of('aws_secretsmanager_secret').length,
      dollars: of('aws_secretsmanager_secret').length * per.secret,
    },
    {
      item: 'polls of queues by Lambda',
      count: polls,
      dollars: million(polls, prices.perMillion.queueRequest),
    },
    {
      item: 'scheduled invocations',
      count: scheduled,
      dollars:
        million(scheduled, prices.perMillion.scheduleRun + prices.perMillion.functionRequest) +
        gigabyteSeconds * prices.perGigabyteSecond,
    },
  ];
  const largest = Math.max(0, ...groups.map((group) => alarms.filter(({ Group }) => Group === group).length));
  return {
    lines,
    total: lines.reduce((sum, { dollars }) => sum + dollars, 0),
    perGroup: largest * per.alarm + perGroup.length * per.metric,
  };
}

function managed(module: Module): Resource[] {
  return [
    ...(module.resources ?? []).filter(({ mode }) => mode === 'managed'),
    ...(module.child_modules ?? []).flatMap(managed),
  ];
}

/** The address of the module that a resource is in. */
function moduleOf(address: string): string {
  return address.replace(/\.aws_\w+\..*$/, '');
}

/** A `rate` expression of EventBridge Scheduler. A cron expression of a warming set runs about once per day. */
function runsPerMonth(expression: unknown): number {
  const [, count, unit] = /^rate\((\d+) (minute|hour|day)s?\)$/.exec(String(expression)) ?? [];
  const hours = { minute: 1 / 60, hour: 1, day: 24 }[unit ?? 'day'] ?? 24;
  return Math.round(HOURS / (Number(count ?? 1) * hours));
}
