import { Metrics, MetricUnit } from '@aws-lambda-powertools/metrics';

/** The CloudWatch namespace of every metric of Hearth. The alarms of the Terraform module use it. */
export const METRIC_NAMESPACE = 'Hearth';

/** The dimension that every metric has: the prefix of its deployment. Two deployments of one account can have groups of one name. */
export const DEPLOYMENT_DIMENSION = 'Deployment';

/**
 * Every metric that Hearth emits, with its unit and its dimension sets. Alarms and the dashboard use only metrics of this
 * catalogue; a test compares them. A metric can have several dimension sets; the empty set is the whole fleet. Each set has the
 * dimension of the deployment in addition.
 */
export const METRICS = {
  RunnerBootSeconds: { unit: MetricUnit.Seconds, dimensions: [['Group']] },
  RestoreSeconds: { unit: MetricUnit.Seconds, dimensions: [['Group'], ['Group', 'Outcome']] },
  DrainSeconds: { unit: MetricUnit.Seconds, dimensions: [['Group']] },
  /** Length of a drain so far, with each of its heartbeats. */
  DrainingSeconds: { unit: MetricUnit.Seconds, dimensions: [['Group']] },
  /** Runners that were replaced because of a fault that they reported. */
  UnhealthyRunners: { unit: MetricUnit.Count, dimensions: [['Group']] },
  /** Runners that reported a fault and were not replaced, since too many of the group were within an hour. */
  HeldRunners: { unit: MetricUnit.Count, dimensions: [['Group']] },
  /** Runners that were replaced without a report, by cause. */
  RunnersReplaced: { unit: MetricUnit.Count, dimensions: [['Group', 'Cause']] },
  /** Time for which the oldest runner waits that is to be replaced; 0 if there is none. */
  RepairDueSeconds: { unit: MetricUnit.Seconds, dimensions: [['Group']] },
  /** Runners that were replaced because the provider refuses the version of their agent. */
  OldAgents: { unit: MetricUnit.Count, dimensions: [['Group']] },
  /** Reports that were dropped for the limits of their sender. */
  DroppedReports: { unit: MetricUnit.Count, dimensions: [[]] },
  LaunchFailures: { unit: MetricUnit.Count, dimensions: [['Group']] },
  SnapshotAgeSeconds: { unit: MetricUnit.Seconds, dimensions: [['Set']] },
  SnapshotBytes: { unit: MetricUnit.Bytes, dimensions: [['Set']] },
  WarmingRunSeconds: { unit: MetricUnit.Seconds, dimensions: [['Set']] },
  WarmingRunFailures: { unit: MetricUnit.Count, dimensions: [['Set']] },
  IncidentsSent: { unit: MetricUnit.Count, dimensions: [[]] },
  IncidentsUnsent: { unit: MetricUnit.Count, dimensions: [[]] },
  ParameterDrift: { unit: MetricUnit.Count, dimensions: [[]] },
  /** Queued jobs that count for a group, without unmatched ones. */
  BacklogJobs: { unit: MetricUnit.Count, dimensions: [['Group']] },
  /** Time for which the oldest of these jobs waits. */
  OldestJobSeconds: { unit: MetricUnit.Seconds, dimensions: [['Group']] },
  /** Queued jobs that idle runners of the group do not get, although their labels fit. */
  UnmatchedJobs: { unit: MetricUnit.Count, dimensions: [['Group']] },
  /** Polls, sources and groups whose scaling failed; 0 per poll without a failure. */
  ScalingFailures: { unit: MetricUnit.Count, dimensions: [[]] },
  /** Requests and clean-ups that failed for a secret that is missing, malformed or refused. */
  CredentialFailures: { unit: MetricUnit.Count, dimensions: [[]] },
  /** Requests for a registration that failed for the group's settings, the provider or AWS. */
  RegistrationFailures: { unit: MetricUnit.Count, dimensions: [['Group']] },
  /** Requests that have to come back later, for the budget of the installation or the provider's rate limit. */
  RegistrationsThrottled: { unit: MetricUnit.Count, dimensions: [[]] },
  /** Registrations whose agent ended without a job, or that never reached their instance. */
  RegistrationsWithoutJob: { unit: MetricUnit.Count, dimensions: [['Group']] },
  /** Instances in service that had no registration in two sweeps in a row, per sweep. */
  InstancesWithoutAgent: { unit: MetricUnit.Count, dimensions: [['Group']] },
  /** Instances with more than one live registration. */
  ExcessRegistrations: { unit: MetricUnit.Count, dimensions: [['Group']] },
  /** Registrations without an instance, or beside the latest one of an instance, that a sweep could not remove. */
  RegistrationsLeftBehind: { unit: MetricUnit.Count, dimensions: [[]] },
  /** Requests of a principal that is not an instance of a runner group, or for another instance. */
  DeniedRequests: { unit: MetricUnit.Count, dimensions: [[]] },
  /** Actions and entries of tools that jobs have found in the build cache, and those that they have not. */
  CacheHits: { unit: MetricUnit.Count, dimensions: [['Group']] },
  CacheMisses: { unit: MetricUnit.Count, dimensions: [['Group']] },
  /** Bytes that jobs have got from the build cache, and bytes that were stored in S3. */
  CacheServedBytes: { unit: MetricUnit.Bytes, dimensions: [['Group']] },
  CacheStoredBytes: { unit: MetricUnit.Bytes, dimensions: [['Group']] },
  /** Results of jobs that were not stored in S3 although the group may. */
  CacheDroppedUploads: { unit: MetricUnit.Count, dimensions: [['Group']] },
  /** Requests of the build cache that S3 refused or did not answer in time. */
  CacheFailures: { unit: MetricUnit.Count, dimensions: [['Group']] },
} as const satisfies Record<string, { unit: string; dimensions: readonly (readonly string[])[] }>;

export type MetricName = keyof typeof METRICS;

/** Every dimension key of the metric `Name`; each needs a value. */
type DimensionsOf<Name extends MetricName> = Record<
  (typeof METRICS)[Name]['dimensions'][number][number],
  string
>;

/** Destination of the functions' measurements. */
export interface MetricSink {
  /**
   * Records one value.
   *
   * @param value in the unit of `METRICS`
   * @param dimensions a value per dimension of the metric
   */
  add<Name extends MetricName>(name: Name, value: number, dimensions: DimensionsOf<Name>): void;
}

/**
 * Metrics in CloudWatch's embedded metric format: lines on standard output, without an API call or a permission.
 *
 * @param service the function's name
 * @param deployment the prefix of the deployment
 */
export function createMetrics(service: string, deployment: string): MetricSink {
  let metrics: Metrics | undefined;
  return {
    add(name, value, dimensions) {
      // Created with the first value, so that a cold start without measurements does not pay for it.
      metrics ??= new Metrics({ namespace: METRIC_NAMESPACE, serviceName: service });
      const { unit, dimensions: sets } = METRICS[name];
      for (const set of sets) {
        // Powertools adds the default dimension `service`. With it no alarm would match the metric.
        metrics.clearDefaultDimensions();
        metrics.clearDimensions();
        const named = Object.fromEntries(set.map((key) => [key, dimensions[key as keyof typeof dimensions]]));
        metrics.addDimensions({ [DEPLOYMENT_DIMENSION]: deployment, ...named });
        metrics.addMetric(name, unit, value);
        metrics.publishStoredMetrics();
      }
    },
  };
}
