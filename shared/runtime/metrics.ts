import { Metrics, MetricUnit } from '@aws-lambda-powertools/metrics';

/** The namespace of everything that Hearth measures; the module's alarms look there. */
export const METRIC_NAMESPACE = 'Hearth';

/**
 * Every metric that Hearth emits: its unit, and the dimension sets under which it is stored. Alarms and the
 * dashboard may only name what is here; a test compares them. One metric can be stored under several dimension
 * sets: the empty set is the fleet as a whole.
 */
export const METRICS = {
  RunnerBootSeconds: { unit: MetricUnit.Seconds, dimensions: [['Group']] },
  RestoreSeconds: { unit: MetricUnit.Seconds, dimensions: [['Group'], ['Group', 'Outcome']] },
  DrainSeconds: { unit: MetricUnit.Seconds, dimensions: [['Group']] },
  LaunchFailures: { unit: MetricUnit.Count, dimensions: [['Group']] },
  SnapshotAgeSeconds: { unit: MetricUnit.Seconds, dimensions: [['Set']] },
  SnapshotBytes: { unit: MetricUnit.Bytes, dimensions: [['Set']] },
  WarmingRunSeconds: { unit: MetricUnit.Seconds, dimensions: [['Set']] },
  WarmingRunFailures: { unit: MetricUnit.Count, dimensions: [['Set']] },
  IncidentsSent: { unit: MetricUnit.Count, dimensions: [[]] },
  IncidentsUnsent: { unit: MetricUnit.Count, dimensions: [[]] },
  ParameterDrift: { unit: MetricUnit.Count, dimensions: [[]] },
  BacklogJobs: { unit: MetricUnit.Count, dimensions: [['Group']] },
} as const satisfies Record<string, { unit: string; dimensions: readonly (readonly string[])[] }>;

export type MetricName = keyof typeof METRICS;

/** Every dimension key that `Name` is stored under; a value is needed for each. */
type DimensionsOf<Name extends MetricName> = Record<
  (typeof METRICS)[Name]['dimensions'][number][number],
  string
>;

/** Where the functions put their measurements. */
export interface MetricSink {
  /**
   * Stores one value.
   *
   * @param value in the unit that `METRICS` names
   * @param dimensions a value for each dimension that the metric is stored under
   */
  add<Name extends MetricName>(name: Name, value: number, dimensions: DimensionsOf<Name>): void;
}

/**
 * Metrics in CloudWatch's embedded format: lines on standard output, no API call, no permission.
 *
 * @param service the function's name
 */
export function createMetrics(service: string): MetricSink {
  let metrics: Metrics | undefined;
  return {
    add(name, value, dimensions) {
      // Made with the first value: a cold start that measures nothing does not pay for it.
      metrics ??= new Metrics({ namespace: METRIC_NAMESPACE, serviceName: service });
      const { unit, dimensions: sets } = METRICS[name];
      for (const set of sets) {
        // `service` is a default dimension of Powertools: cleared, or no alarm would find the metric.
        metrics.clearDefaultDimensions();
        metrics.clearDimensions();
        const named = Object.fromEntries(set.map((key) => [key, dimensions[key as keyof typeof dimensions]]));
        // An empty set too: the format wants at least one set, and `[[]]` is the metric without dimensions.
        metrics.addDimensions(named);
        metrics.addMetric(name, unit, value);
        metrics.publishStoredMetrics();
      }
    },
  };
}
