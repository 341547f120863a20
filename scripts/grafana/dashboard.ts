import {
  MetricEditorMode,
  MetricQueryType,
  MetricsQueryBuilder,
  QueryMode,
} from '@grafana/grafana-foundation-sdk/cloudwatch';
import {
  type Dashboard,
  DashboardBuilder,
  DashboardCursorSync,
  DatasourceVariableBuilder,
  QueryVariableBuilder,
  RowBuilder,
  TextBoxVariableBuilder,
  VariableRefresh,
} from '@grafana/grafana-foundation-sdk/dashboard';
import { PanelBuilder } from '@grafana/grafana-foundation-sdk/timeseries';
import {
  DEPLOYMENT_DIMENSION,
  METRIC_NAMESPACE,
  METRICS,
  type MetricName,
} from '../../shared/runtime/metrics.ts';
import { PANELS, type PanelMetric } from './panels.ts';

/** Where the dashboard is in the repository and in a release. */
export const GRAFANA_DASHBOARD = 'infra/grafana/dashboard.json';

/** The prefix that the file has for a deployment. The module replaces it by its own (infra/modules/alarms/outputs.tf). */
export const DEFAULT_DEPLOYMENT = 'aw';

const SOURCE = { type: 'cloudwatch', uid: `\${datasource}` };

/** Statistics of CloudWatch, as units of Grafana. */
const UNITS: Record<string, string> = { Seconds: 's', Bytes: 'bytes', Count: 'short' };

/**
 * The dashboard for the CloudWatch data source of Grafana: the metrics of the catalogue and those of Auto Scaling, by deployment,
 * runner group and warming set.
 */
export function grafanaDashboard(): Dashboard {
  const builder = new DashboardBuilder('Hearth: runner fleet')
    .uid('hearth-fleet')
    .description(
      'Runner groups, snapshots, scaling, registrations and the build cache of one deployment of Hearth.',
    )
    .tags(['hearth', 'ci'])
    .time({ from: 'now-24h', to: 'now' })
    .refresh('5m')
    .timezone('browser')
    .tooltip(DashboardCursorSync.Crosshair)
    .withVariable(
      new DatasourceVariableBuilder('datasource')
        .label('Data source')
        .type('cloudwatch')
        .allowCustomValue(false),
    )
    .withVariable(
      new TextBoxVariableBuilder('deployment')
        .label('Deployment')
        .description('The name_prefix of the module')
        .defaultValue(DEFAULT_DEPLOYMENT)
        .current({ text: DEFAULT_DEPLOYMENT, value: DEFAULT_DEPLOYMENT }),
    )
    .withVariable(choice('group', 'Runner group', 'BacklogJobs', 'Group'))
    .withVariable(choice('set', 'Warming set', 'SnapshotAgeSeconds', 'Set'));
  for (const { row, panels } of PANELS) {
    builder.withRow(new RowBuilder(row));
    for (const { title, stat, metrics } of panels) {
      const panel = new PanelBuilder()
        .title(title)
        .datasource(SOURCE)
        .unit(unitOf(metrics))
        .min(0)
        .height(7)
        .span(8)
        .fillOpacity(10);
      metrics.forEach((metric, index) => {
        panel.withTarget(query(metric, stat, String.fromCharCode(65 + index)));
      });
      builder.withPanel(panel);
    }
  }
  return builder.build();
}

/** A variable with the values that a dimension has. */
function choice(name: string, label: string, metricName: MetricName, dimensionKey: string) {
  const all = { text: 'All', value: '$__all' };
  return new QueryVariableBuilder(name)
    .label(label)
    .datasource(SOURCE)
    .query({
      queryType: 'dimensionValues',
      region: 'default',
      namespace: METRIC_NAMESPACE,
      metricName,
      dimensionKey,
      dimensionFilters: { [DEPLOYMENT_DIMENSION]: '$deployment' },
      refId: `${name}-values`,
    })
    .multi(true)
    .includeAll(true)
    .allValue('*')
    .current(all)
    .refresh(VariableRefresh.OnTimeRangeChanged);
}

function query(metric: PanelMetric, stat: string, refId: string): MetricsQueryBuilder {
  const own = 'name' in metric;
  const { dimensions, label } = own
    ? ofCatalogue(metric)
    : { dimensions: metric.dimensions, label: metric.label };
  return new MetricsQueryBuilder()
    .refId(refId)
    .datasource(SOURCE)
    .queryMode(QueryMode.Metrics)
    .metricQueryType(MetricQueryType.Search)
    .metricEditorMode(MetricEditorMode.Builder)
    .region('default')
    .namespace(own ? METRIC_NAMESPACE : metric.namespace)
    .metricName(own ? metric.name : metric.metric)
    .dimensions(dimensions)
    .matchExact(true)
    .statistic(stat)
    .period('300')
    .label(label);
}

/** The dimensions of a metric of the catalogue: those of its smallest set, filtered by the variables. */
function ofCatalogue({ name }: { name: MetricName }): {
  dimensions: Record<string, string[]>;
  label: string;
} {
  const [keys = []]: readonly (readonly string[])[] = METRICS[name].dimensions;
  const variables: Record<string, string> = { Group: '$group', Set: '$set' };
  const dimensions: Record<string, string[]> = { [DEPLOYMENT_DIMENSION]: ['$deployment'] };
  for (const key of keys) dimensions[key] = [variables[key] ?? '*'];
  const [first] = keys;
  return { dimensions, label: first === undefined ? name : `\${PROP('Dim.${first}')} ${name}` };
}

function unitOf([first]: readonly PanelMetric[]): string {
  return first && 'name' in first ? (UNITS[METRICS[first.name].unit] ?? 'short') : 'short';
}
