import type { Report } from '../../shared/fleet/report.ts';
import type { MetricSink } from '../../shared/runtime/metrics.ts';

/**
 * What a report tells about the fleet's speed and health. Called only when the report changed something, so that one
 * delivered twice is counted once.
 */
export function measure(report: Report, metrics: MetricSink): void {
  const Group = report.group;
  switch (report.report) {
    case 'Runner Ready':
      metrics.add('RunnerBootSeconds', report.seconds.boot, { Group });
      metrics.add('RestoreSeconds', report.seconds.restore, { Group, Outcome: report.snapshot.outcome });
      break;
    case 'Runner Failed':
      metrics.add('LaunchFailures', 1, { Group });
      break;
    case 'Runner Drained':
      if (report.seconds) metrics.add('DrainSeconds', report.seconds.drain, { Group });
      break;
    default:
      break;
  }
}
