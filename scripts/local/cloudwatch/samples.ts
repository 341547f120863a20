/** Dimensions by name. A metric is its namespace, its name and exactly these: CloudWatch adds nothing up across them. */
export type Dimensions = Readonly<Record<string, string>>;

export type MetricId = { namespace: string; name: string; dimensions: Dimensions };

/** What was measured: single values and how often each occurred, or a summary of many. */
export type Sample = {
  /** Milliseconds since 1970. */
  time: number;
  unit: string;
  count: number;
  sum: number;
  minimum: number;
  maximum: number;
  /** The values behind it, for percentiles; undefined if only the summary is known. */
  values: readonly number[] | undefined;
};

/** How long samples are kept, in milliseconds: longer than the evaluation range of every alarm. */
const RETENTION_MS = 24 * 3_600_000;

export type SampleStore = {
  add(metric: MetricId, sample: Sample): void;
  /** Samples of a metric in `from <= time < to`; of one unit only, if one is named. */
  between(metric: MetricId, from: number, to: number, unit?: string): Sample[];
  metrics(): MetricId[];
};

export function createSampleStore(): SampleStore {
  const series = new Map<string, { metric: MetricId; samples: Sample[] }>();
  return {
    add(metric, sample) {
      const key = keyOf(metric);
      const entry = series.get(key) ?? { metric, samples: [] };
      series.set(key, entry);
      entry.samples.push(sample);
      const oldest = sample.time - RETENTION_MS;
      const first = entry.samples[0];
      if (first !== undefined && first.time < oldest) {
        entry.samples = entry.samples.filter(({ time }) => time >= oldest);
      }
    },
    between(metric, from, to, unit) {
      const samples = series.get(keyOf(metric))?.samples ?? [];
      return samples.filter(
        (sample) => sample.time >= from && sample.time < to && (unit === undefined || sample.unit === unit),
      );
    },
    metrics: () => [...series.values()].map((entry) => entry.metric),
  };
}

function keyOf({ namespace, name, dimensions }: MetricId): string {
  const sorted = Object.entries(dimensions).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([namespace, name, sorted]);
}

/** A sample of values, each with how often it occurred. */
export function sampleOf(
  time: number,
  unit: string,
  values: readonly { value: number; count: number }[],
): Sample {
  return {
    time,
    unit,
    count: values.reduce((total, { count }) => total + count, 0),
    sum: values.reduce((total, { value, count }) => total + value * count, 0),
    minimum: Math.min(...values.map(({ value }) => value)),
    maximum: Math.max(...values.map(({ value }) => value)),
    values: values.flatMap(({ value, count }) => Array.from({ length: Math.round(count) }, () => value)),
  };
}

/** Whether `statistic` is one that can be computed here: the five plain ones and percentiles. */
export function isStatistic(statistic: string): boolean {
  return /^(Sum|Average|Minimum|Maximum|SampleCount|p(\d{1,2}(\.\d+)?|100))$/.test(statistic);
}

/** A statistic of all samples of one period, or undefined if there are none. */
export function statisticOf(samples: readonly Sample[], statistic: string): number | undefined {
  if (samples.length === 0) return undefined;
  const count = samples.reduce((total, sample) => total + sample.count, 0);
  const sum = samples.reduce((total, sample) => total + sample.sum, 0);
  if (statistic === 'SampleCount') return count;
  if (statistic === 'Sum') return sum;
  if (statistic === 'Average') return sum / count;
  if (statistic === 'Minimum') return Math.min(...samples.map((sample) => sample.minimum));
  if (statistic === 'Maximum') return Math.max(...samples.map((sample) => sample.maximum));
  return percentile(samples, Number(statistic.slice(1)));
}

/** The nearest rank. A summary without values stands for its two ends. */
function percentile(samples: readonly Sample[], rank: number): number | undefined {
  const values = samples
    .flatMap((sample) => sample.values ?? [sample.minimum, sample.maximum])
    .sort((a, b) => a - b);
  return values[Math.max(0, Math.ceil((rank / 100) * values.length) - 1)];
}
