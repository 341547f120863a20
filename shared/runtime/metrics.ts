import { Metrics, MetricUnit } from '@aws-lambda-powertools/metrics';

/** The CloudWatch namespace of every metric of Hearth. The alarms of the Terraform module use it. */
export const METRIC_NAMESPACE = 'Hearth';

/** The dimension that every metric has: the prefix of its deployment. Two deployments of one account can have groups of one name. */
export const DEPLOYMENT_DIMENSION = 'Deployment';

// The bundle of each function has the catalogue: most metrics share one of these.
const BYTES_PER_GROUP = { unit: MetricUnit.Bytes, dimensions: [['Group']] } as const;
const BYTES_PER_SET = { unit: MetricUnit.Bytes, dimensions: [['Set']] } as const;
const COUNT_PER_FLEET = { unit: MetricUnit.Count, dimensions: [[]] } as const;
const COUNT_PER_GROUP = { unit: MetricUnit.Count, dimensions: [['Group']] } as const;
const COUNT_PER_SET = { unit: MetricUnit.Count, dimensions: [['Set']] } as const;
const SECONDS_PER_GROUP = { unit: MetricUnit.Seconds, dimensions: [['Group']] } as const;
const SECONDS_PER_SET = { unit: MetricUnit.Seconds, dimensions: [['Set']] } as const;

/**
 * Every metric that Hearth emits, with its unit and its dimension sets. Alarms and the dashboard use only metrics of this
 * catalogue; a test compares them. A metric can have several dimension sets; the empty set is the whole fleet. Each set has the
 * dimension of the deployment in addition.
 */
export const METRICS = {
  RunnerBootSeconds: SECONDS_PER_GROUP,
  RestoreSeconds: { unit: MetricUnit.Seconds, dimensions: [['Group'], ['Group', 'Outcome']] },
  DrainSeconds: SECONDS_PER_GROUP,
  /** Length of a drain so far, with each of its heartbeats. */
  DrainingSeconds: SECONDS_PER_GROUP,
  /** Runners that were replaced because of a fault that they reported. */
  UnhealthyRunners: COUNT_PER_GROUP,
  /** Runners that reported a fault and were not replaced, since too many of the group were within an hour. */
  HeldRunners: COUNT_PER_GROUP,
  /** Runners that were replaced without a report, by cause. */
  RunnersReplaced: { unit: MetricUnit.Count, dimensions: [['Group', 'Cause']] },
  /** Time for which the oldest runner waits that is to be replaced; 0 if there is none. */
  RepairDueSeconds: SECONDS_PER_GROUP,
  /** Runners that were replaced because the provider refuses the version of their agent. */
  OldAgents: COUNT_PER_GROUP,
  /** Reports that were dropped for the limits of their sender. */
  DroppedReports: COUNT_PER_FLEET,
  LaunchFailures: COUNT_PER_GROUP,
  SnapshotAgeSeconds: SECONDS_PER_SET,
  SnapshotBytes: BYTES_PER_SET,
  WarmingRunSeconds: SECONDS_PER_SET,
  WarmingRunFailures: COUNT_PER_SET,
  /** Snapshots in use that were found broken, replaced or deleted. */
  QuarantinedSnapshots: COUNT_PER_SET,
  IncidentsSent: COUNT_PER_FLEET,
  IncidentsUnsent: COUNT_PER_FLEET,
  ParameterDrift: COUNT_PER_FLEET,
  /** Queued jobs that count for a group, without unmatched ones. */
  BacklogJobs: COUNT_PER_GROUP,
  /** Time for which the oldest of these jobs waits. */
  OldestJobSeconds: SECONDS_PER_GROUP,
  /** Queued jobs that idle runners of the group do not get, although their labels fit. */
  UnmatchedJobs: COUNT_PER_GROUP,
  /** Polls, sources and groups whose scaling failed; 0 per poll without a failure. */
  ScalingFailures: COUNT_PER_FLEET,
  /** Requests and clean-ups that failed for a secret that is missing, malformed or refused. */
  CredentialFailures: COUNT_PER_FLEET,
  /** Requests for a registration that failed for the group's settings, the provider or AWS. */
  RegistrationFailures: COUNT_PER_GROUP,
  /** Requests that have to come back later, for the budget of the installation or the provider's rate limit. */
  RegistrationsThrottled: COUNT_PER_FLEET,
  /** Registrations whose agent ended without a job, or that never reached their instance. */
  RegistrationsWithoutJob: COUNT_PER_GROUP,
  /** Instances in service that had no registration in two sweeps in a row, per sweep. */
  InstancesWithoutAgent: COUNT_PER_GROUP,
  /** Instances with more than one live registration. */
  ExcessRegistrations: COUNT_PER_GROUP,
  /** Registrations without an instance, or beside the latest one of an instance, that a sweep could not remove. */
  RegistrationsLeftBehind: COUNT_PER_FLEET,
  /** Requests of a principal that is not an instance of a runner group, or for another instance. */
  DeniedRequests: COUNT_PER_FLEET,
  /** Actions and entries of tools that jobs have found in the build cache, and those that they have not. */
  CacheHits: COUNT_PER_GROUP,
  CacheMisses: COUNT_PER_GROUP,
  /** Bytes that jobs have got from the build cache, and bytes that were stored in S3. */
  CacheServedBytes: BYTES_PER_GROUP,
  CacheStoredBytes: BYTES_PER_GROUP,
  /** Results of jobs that were not stored in S3 although the group may. */
  CacheDroppedUploads: COUNT_PER_GROUP,
  /** Requests of the build cache that S3 refused or did not answer in time. */
  CacheFailures: COUNT_PER_GROUP,
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
