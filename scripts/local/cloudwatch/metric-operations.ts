import * as v from 'valibot';
import { CloudWatchError } from './errors.ts';
import { parseInput } from './input.ts';
import type { Operation } from './operation.ts';
import { isStatistic, type MetricId, type Sample, sampleOf, statisticOf } from './samples.ts';

const name = v.pipe(v.string(), v.nonEmpty(), v.maxLength(255));
const dimensions = v.optional(v.array(v.object({ Name: name, Value: name })), []);
const finite = v.pipe(v.number(), v.finite());
const statistic = v.pipe(v.string(), v.check(isStatistic, 'a statistic that is emulated'));

const datumSchema = v.object({
  MetricName: name,
  Dimensions: dimensions,
  /** Seconds. */
  Timestamp: v.optional(finite),
  Unit: v.optional(v.string(), 'None'),
  Value: v.optional(finite),
  Values: v.optional(v.pipe(v.array(finite), v.maxLength(150))),
  Counts: v.optional(v.array(v.pipe(finite, v.minValue(0)))),
  StatisticValues: v.optional(
    v.object({ SampleCount: v.pipe(finite, v.minValue(1)), Sum: finite, Minimum: finite, Maximum: finite }),
  ),
});

type Datum = v.InferOutput<typeof datumSchema>;

/** At most 1,000 metrics a call (API reference). */
const putInput = v.object({ Namespace: name, MetricData: v.pipe(v.array(datumSchema), v.maxLength(1000)) });

const statisticsInput = v.object({
  Namespace: name,
  MetricName: name,
  Dimensions: dimensions,
  StartTime: finite,
  EndTime: finite,
  Period: v.pipe(v.number(), v.integer(), v.minValue(1)),
  Statistics: v.optional(v.array(statistic), []),
  ExtendedStatistics: v.optional(v.array(statistic), []),
  Unit: v.optional(v.string()),
});

const listInput = v.object({
  Namespace: v.optional(name),
  MetricName: v.optional(name),
  Dimensions: v.optional(v.array(v.object({ Name: name, Value: v.optional(name) })), []),
});

/** Putting and reading measurements. */
export const metricOperations: Record<string, Operation> = {
  PutMetricData({ samples, now }, input) {
    const { Namespace: namespace, MetricData } = parseInput(putInput, input);
    const parsed = MetricData.map((datum) => ({
      metric: metricOf(namespace, datum),
      sample: toSample(datum, now()),
    }));
    for (const { metric, sample } of parsed) samples.add(metric, sample);
    return {};
  },

  GetMetricStatistics({ samples }, input) {
    const query = parseInput(statisticsInput, input);
    const metric = metricOf(query.Namespace, query);
    const period = query.Period * 1000;
    const first = Math.floor((query.StartTime * 1000) / period) * period;
    const found = samples.between(metric, first, query.EndTime * 1000, query.Unit);
    const byPeriod = Map.groupBy(found, ({ time }) => Math.floor(time / period) * period);
    return {
      Label: query.MetricName,
      Datapoints: [...byPeriod].map(([start, inPeriod]) => ({
        Timestamp: start / 1000,
        Unit: inPeriod[0]?.unit,
        ...statistics(inPeriod, query.Statistics),
        ...(query.ExtendedStatistics.length > 0 && {
          ExtendedStatistics: statistics(inPeriod, query.ExtendedStatistics),
        }),
      })),
    };
  },

  ListMetrics({ samples }, input) {
    const query = parseInput(listInput, input);
    const found = samples
      .metrics()
      .filter(({ namespace }) => namespace === (query.Namespace ?? namespace))
      .filter((metric) => metric.name === (query.MetricName ?? metric.name))
      .filter((metric) =>
        query.Dimensions.every(({ Name, Value }) => {
          const value = metric.dimensions[Name];
          return value !== undefined && value === (Value ?? value);
        }),
      );
    return {
      Metrics: found.map((metric) => ({
        Namespace: metric.namespace,
        MetricName: metric.name,
        Dimensions: Object.entries(metric.dimensions).map(([Name, Value]) => ({ Name, Value })),
      })),
    };
  },
};

function metricOf(namespace: string, datum: Pick<Datum, 'MetricName' | 'Dimensions'>): MetricId {
  const named = Object.fromEntries(datum.Dimensions.map(({ Name, Value }) => [Name, Value]));
  return { namespace, name: datum.MetricName, dimensions: named };
}

function toSample(datum: Datum, now: number): Sample {
  const time = datum.Timestamp === undefined ? now : datum.Timestamp * 1000;
  const { StatisticValues: summary, Values: values, Counts: counts, Value: value } = datum;
  if (summary !== undefined) {
    const { SampleCount: count, Sum: sum, Minimum: minimum, Maximum: maximum } = summary;
    return { time, unit: datum.Unit, count, sum, minimum, maximum, values: undefined };
  }
  if (value !== undefined) return sampleOf(time, datum.Unit, [{ value, count: 1 }]);
  if (values === undefined || values.length === 0) {
    throw new CloudWatchError(
      'MissingParameter',
      `${datum.MetricName}: give Value, Values or StatisticValues`,
    );
  }
  if (counts !== undefined && counts.length !== values.length) {
    throw new CloudWatchError(
      'InvalidParameterValue',
      `${datum.MetricName}: Values and Counts differ in length`,
    );
  }
  return sampleOf(
    time,
    datum.Unit,
    values.map((item, index) => ({ value: item, count: counts?.[index] ?? 1 })),
  );
}

function statistics(
  samples: readonly Sample[],
  names: readonly string[],
): Record<string, number | undefined> {
  return Object.fromEntries(names.map((name) => [name, statisticOf(samples, name)]));
}
