import type { Alarm } from '../../../functions/alarms/alarm.ts';
import { handleAlarmMessage, retryForMs } from '../../../functions/alarms/handle.ts';
import type { IncidentEvent } from '../../../functions/alarms/incident.ts';
import { CALLS_PER_MINUTE, pacedPager } from '../../../functions/alarms/pace.ts';
import type { AlarmDeps } from '../../../functions/alarms/ports.ts';
import { RetryableError } from '../../../shared/runtime/errors.ts';
import type { Message } from '../../../shared/runtime/message.ts';
import type { MetricName, MetricSink } from '../../../shared/runtime/metrics.ts';
import type { Calls } from '../cloud/calls.ts';
import { type Kernel, MINUTE } from '../kernel.ts';
import { PREFIX } from '../world.ts';

export { retryForMs };

type Statistic = 'Sum' | 'Maximum' | 'Minimum' | 'p90';

type Definition = {
  kind: string;
  metric: MetricName | 'Throttles';
  statistic: Statistic;
  threshold: number;
  periodSeconds: number;
  periods: number;
  severity: string;
  /** Dimensions that the value has to have; `*` stands for an alarm per value. */
  dimensions: Readonly<Record<string, string>>;
  isBreachingWithoutData?: boolean;
};

const define = (
  kind: string,
  metric: Definition['metric'],
  statistic: Statistic,
  threshold: number,
  periodSeconds: number,
  periods: number,
  severity: string,
  dimensions: Definition['dimensions'] = { Group: '*' },
): Definition => ({ kind, metric, statistic, threshold, periodSeconds, periods, severity, dimensions });

/** The alarms of the Terraform module about what the simulation emits (`infra/modules/alarms/definitions.tf`), with their default thresholds. */
const DEFINITIONS: readonly Definition[] = [
  define('launch-failures', 'LaunchFailures', 'Sum', 2, 900, 1, 'critical'),
  define('slow-boots', 'RunnerBootSeconds', 'p90', 600, 900, 1, 'warning'),
  define('drain-limit', 'DrainingSeconds', 'Maximum', 169_200, 300, 1, 'critical'),
  define('unhealthy-runners', 'UnhealthyRunners', 'Sum', 3, 3_600, 1, 'error'),
  define('held-runners', 'HeldRunners', 'Sum', 0, 3_600, 1, 'error'),
  define('silent-runners', 'RunnersReplaced', 'Sum', 2, 3_600, 1, 'error', { Group: '*', Cause: 'no-agent' }),
  define('overdue-repairs', 'RepairDueSeconds', 'Maximum', 21_600, 900, 1, 'warning'),
  define('missing-agents', 'InstancesWithoutAgent', 'Maximum', 0, 300, 1, 'error'),
  define('excess-registrations', 'ExcessRegistrations', 'Maximum', 0, 300, 2, 'error'),
  define('failed-registrations', 'RegistrationFailures', 'Sum', 0, 300, 3, 'error'),
  define('unmatched-jobs', 'UnmatchedJobs', 'Minimum', 0, 300, 2, 'error'),
  define('old-jobs', 'OldestJobSeconds', 'Minimum', 1_800, 60, 3, 'error'),
  define('failed-warming-runs', 'WarmingRunFailures', 'Sum', 0, 3_600, 1, 'error', { Set: '*' }),
  define('throttled-registrations', 'RegistrationsThrottled', 'Sum', 0, 300, 3, 'warning', {}),
  define('left-registrations', 'RegistrationsLeftBehind', 'Maximum', 0, 300, 6, 'warning', {}),
  define('agent-credentials', 'CredentialFailures', 'Sum', 0, 300, 1, 'critical', {}),
  define('dropped-reports', 'DroppedReports', 'Sum', 1_000, 300, 1, 'error', {}),
  define('function-throttles', 'Throttles', 'Sum', 0, 300, 3, 'warning', {}),
  {
    ...define('scaling-failures', 'ScalingFailures', 'Sum', 0, 300, 3, 'error', {}),
    isBreachingWithoutData: true,
  },
];

type Values = { sum: number; most: number; least: number; all: number[] };
type State = {
  definition: Definition;
  name: string;
  dimensions: Record<string, string>;
  values: Values | undefined;
  /** Whether each of the last periods was breaching, newest first. */
  breaching: boolean[];
  isAlarm: boolean;
  since: number;
};

export type Incident = {
  name: string;
  kind: string;
  severity: string;
  openedAt: number;
  resolvedAt: number | undefined;
};

/** CloudWatch with the alarms of the module, and the function `alarms` with PagerDuty behind it. */
export class Alarms {
  readonly incidents: Incident[] = [];
  private readonly states = new Map<string, State>();
  /** The same, by definition and by group or set. */
  private readonly byPlace = new Map<Definition, Map<string | undefined, State>>();
  private readonly open = new Map<string, Incident>();
  private readonly byMetric = new Map<string, Definition[]>();
  private readonly kernel: Kernel;
  private readonly deps: AlarmDeps;
  /** Set by the simulation: an alarm changes. */
  onChange: (detail: Record<string, unknown>) => void = () => {};
  onText: (text: string) => void = () => {};

  constructor(kernel: Kernel, calls: Calls) {
    this.kernel = kernel;
    const clock = { now: () => new Date(kernel.now) };
    for (const definition of DEFINITIONS) {
      const same = this.byMetric.get(definition.metric);
      if (same) same.push(definition);
      else this.byMetric.set(definition.metric, [definition]);
      if (definition.isBreachingWithoutData) this.stateOf(definition, {});
    }
    this.deps = {
      prefix: PREFIX,
      alarms: {
        get: async (name) => this.alarm(name),
        priorState: async (name) => (this.states.get(name)?.isAlarm ? 'ALARM' : 'OK'),
        tags: async (arn) => ({
          'hearth:severity': this.states.get(arn.split(':').at(-1) ?? '')?.definition.severity ?? 'error',
        }),
        inAlarm: async (names) =>
          [...this.states.values()]
            .filter(({ name, isAlarm }) => isAlarm && name.startsWith(names))
            .map(({ name }) => name),
      },
      // One object for all execution environments.
      pager: pacedPager(
        {
          send: async (event) => {
            if (calls.count('pagerduty', '', kernel.now) > 0)
              throw new RetryableError('pagerduty-throttled', 'PagerDuty answered 429');
            this.onText(JSON.stringify(event));
            this.change(event);
          },
        },
        CALLS_PER_MINUTE,
        clock,
      ),
      routing: { get: async () => new Map([['default', 'k'.repeat(32)]]), refresh() {} },
      seriesResolves: new Map(),
      metrics: { add() {} },
      logger: { warn() {} },
      clock,
    };
  }

  private change(event: IncidentEvent): void {
    const known = this.open.get(event.dedup_key);
    if (event.event_action === 'resolve') {
      if (known) known.resolvedAt = this.kernel.now;
      this.open.delete(event.dedup_key);
      return;
    }
    if (known) return;
    const name = event.dedup_key.split(':').at(-1) ?? '';
    const incident: Incident = {
      ...{ name, kind: this.states.get(name)?.definition.kind ?? name, severity: event.payload.severity },
      ...{ openedAt: this.kernel.now, resolvedAt: undefined },
    };
    this.open.set(event.dedup_key, incident);
    this.incidents.push(incident);
  }

  handle = (message: Message) => handleAlarmMessage(message, this.deps);

  readonly sink: MetricSink = {
    add: (metric, value, dimensions) => {
      for (const definition of this.byMetric.get(metric) ?? []) {
        const own = dimensions as Record<string, string>;
        if (!fits(definition.dimensions, own)) continue;
        const state = this.stateOf(definition, own);
        state.values ??= { sum: 0, most: Number.NEGATIVE_INFINITY, least: Number.POSITIVE_INFINITY, all: [] };
        const { values } = state;
        values.sum += value;
        values.most = Math.max(values.most, value);
        values.least = Math.min(values.least, value);
        if (definition.statistic === 'p90') values.all.push(value);
      }
    },
  };

  /** A metric of AWS itself. */
  throttled(): void {
    this.sink.add('Throttles' as 'IncidentsSent', 1, {});
  }

  private stateOf(definition: Definition, dimensions: Record<string, string>): State {
    const place = dimensions.Group ?? dimensions.Set;
    let places = this.byPlace.get(definition);
    if (!places) {
      places = new Map();
      this.byPlace.set(definition, places);
    }
    let state = places.get(place);
    if (!state) {
      const name = `${PREFIX}-${definition.kind}${place === undefined ? '' : `-${place.replace('/', '-')}`}`;
      state = {
        ...{
          definition,
          name,
          dimensions,
          values: undefined,
          breaching: [],
          isAlarm: false,
          since: this.kernel.now,
        },
      };
      this.states.set(name, state);
      places.set(place, state);
    }
    return state;
  }

  /** Evaluates the alarms whose period ends now; called each minute. */
  evaluate(): void {
    const minute = Math.floor(this.kernel.now / MINUTE);
    for (const state of this.states.values()) {
      const { definition, values } = state;
      if (minute % (definition.periodSeconds / 60) !== 0) continue;
      const isQuiet = values === undefined && !state.isAlarm && !state.breaching.includes(true);
      if (isQuiet && !definition.isBreachingWithoutData) continue;
      const isBreaching = values
        ? measured(definition.statistic, values) > definition.threshold
        : (definition.isBreachingWithoutData ?? false);
      state.values = undefined;
      state.breaching = [isBreaching, ...state.breaching].slice(0, definition.periods);
      const isAlarm = state.breaching.length >= definition.periods && state.breaching.every(Boolean);
      if (isAlarm === state.isAlarm) continue;
      state.isAlarm = isAlarm;
      state.since = this.kernel.now;
      this.onChange({
        alarmName: state.name,
        state: {
          value: isAlarm ? 'ALARM' : 'OK',
          reason: 'threshold',
          timestamp: new Date(this.kernel.now).toISOString(),
        },
        previousState: { value: isAlarm ? 'OK' : 'ALARM' },
        configuration: {
          metrics: [{ metricStat: { metric: { name: definition.metric, dimensions: state.dimensions } } }],
        },
      });
    }
  }

  private alarm(name: string): Alarm | undefined {
    const state = this.states.get(name);
    if (!state) return undefined;
    return {
      name,
      arn: `arn:aws:cloudwatch:us-east-1:123456789012:alarm:${name}`,
      state: state.isAlarm ? 'ALARM' : 'OK',
      reason: '',
      since: new Date(state.since),
      description: '',
      suppression: { kind: 'none' },
      metric: state.definition.metric,
      dimensions: state.dimensions,
    };
  }
}

function fits(wanted: Definition['dimensions'], own: Readonly<Record<string, string>>): boolean {
  for (const key in wanted) if (wanted[key] !== '*' && own[key] !== wanted[key]) return false;
  return true;
}

function measured(statistic: Statistic, { sum, most, least, all }: Values): number {
  switch (statistic) {
    case 'Sum':
      return sum;
    case 'Maximum':
      return most;
    case 'Minimum':
      return least;
    case 'p90':
      return all.sort((a, b) => a - b)[Math.floor(all.length * 0.9)] ?? 0;
  }
}
