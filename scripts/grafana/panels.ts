import type { MetricName } from '../../shared/runtime/metrics.ts';

/** A metric of the catalogue, or one that AWS emits. */
export type PanelMetric =
  | { name: MetricName }
  | { namespace: string; metric: string; dimensions: Record<string, string[]>; label: string };

type Panel = { title: string; stat: string; metrics: readonly PanelMetric[] };

const of = (...names: MetricName[]): PanelMetric[] => names.map((name) => ({ name }));

/** Metrics of the deployment's Auto Scaling groups, whose names begin with its prefix. */
const autoScaling = (...metrics: string[]): PanelMetric[] =>
  metrics.map((metric) => ({
    namespace: 'AWS/AutoScaling',
    metric,
    dimensions: { AutoScalingGroupName: ['*'] },
    label: `\${PROP('Dim.AutoScalingGroupName')} ${metric}`,
  }));

/** The panels of the Grafana dashboard, by row. */
export const PANELS: readonly { row: string; panels: readonly Panel[] }[] = [
  {
    row: 'Jobs',
    panels: [
      { title: 'Queued jobs', stat: 'Maximum', metrics: of('BacklogJobs') },
      { title: 'Oldest queued job', stat: 'Maximum', metrics: of('OldestJobSeconds') },
      { title: 'Jobs that idle runners do not get', stat: 'Maximum', metrics: of('UnmatchedJobs') },
    ],
  },
  {
    row: 'Runners',
    panels: [
      {
        title: 'Runners in service, and their maximum',
        stat: 'Maximum',
        metrics: autoScaling('GroupInServiceInstances', 'GroupMaxSize'),
      },
      { title: 'Boot time (p90)', stat: 'p90', metrics: of('RunnerBootSeconds') },
      { title: 'Restore time (p90)', stat: 'p90', metrics: of('RestoreSeconds') },
      { title: 'Failed boots', stat: 'Sum', metrics: of('LaunchFailures') },
      {
        title: 'Replaced runners',
        stat: 'Sum',
        metrics: of('UnhealthyRunners', 'OldAgents', 'RunnersReplaced'),
      },
      { title: 'Runners that are not replaced, at the limit', stat: 'Maximum', metrics: of('HeldRunners') },
      { title: 'Oldest runner that is to be replaced', stat: 'Maximum', metrics: of('RepairDueSeconds') },
      { title: 'Reports dropped at the limit of their sender', stat: 'Sum', metrics: of('DroppedReports') },
      { title: 'Drains: ended, and so far', stat: 'Maximum', metrics: of('DrainSeconds', 'DrainingSeconds') },
    ],
  },
  {
    row: 'Build cache',
    panels: [
      { title: 'Hits and misses', stat: 'Sum', metrics: of('CacheHits', 'CacheMisses') },
      { title: 'Bytes served and stored', stat: 'Sum', metrics: of('CacheServedBytes', 'CacheStoredBytes') },
      {
        title: 'Dropped uploads and failures of S3',
        stat: 'Sum',
        metrics: of('CacheDroppedUploads', 'CacheFailures'),
      },
    ],
  },
  {
    row: 'Snapshots',
    panels: [
      { title: 'Age', stat: 'Maximum', metrics: of('SnapshotAgeSeconds') },
      { title: 'Size', stat: 'Maximum', metrics: of('SnapshotBytes') },
      { title: 'Warming run time', stat: 'Maximum', metrics: of('WarmingRunSeconds') },
      {
        title: 'Failed warming runs and quarantined snapshots',
        stat: 'Sum',
        metrics: of('WarmingRunFailures', 'QuarantinedSnapshots'),
      },
    ],
  },
  {
    row: 'Registrations',
    panels: [
      { title: 'Runners without an agent', stat: 'Maximum', metrics: of('InstancesWithoutAgent') },
      {
        title: 'Runners with more than one registration',
        stat: 'Maximum',
        metrics: of('ExcessRegistrations'),
      },
      { title: 'Failed registrations', stat: 'Sum', metrics: of('RegistrationFailures') },
      { title: 'Registrations without a job', stat: 'Sum', metrics: of('RegistrationsWithoutJob') },
      { title: 'Registrations left behind', stat: 'Maximum', metrics: of('RegistrationsLeftBehind') },
      {
        title: 'Credential failures, throttled and denied requests',
        stat: 'Sum',
        metrics: of('CredentialFailures', 'RegistrationsThrottled', 'DeniedRequests'),
      },
    ],
  },
  {
    row: 'Operations',
    panels: [
      { title: 'Failures of scaling', stat: 'Sum', metrics: of('ScalingFailures') },
      { title: 'Incidents sent and unsent', stat: 'Sum', metrics: of('IncidentsSent', 'IncidentsUnsent') },
      { title: 'Parameter edits reverted', stat: 'Sum', metrics: of('ParameterDrift') },
    ],
  },
];
