import type { Clock } from '../../shared/runtime/clock.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { MetricSink } from '../../shared/runtime/metrics.ts';
import type { Alarm, PriorState } from './alarm.ts';
import type { IncidentEvent } from './incident.ts';

/** Reads alarms. */
export interface AlarmReader {
  /** The alarm, or undefined if CloudWatch returns none of this name. */
  get(name: string): Promise<Alarm | undefined>;
  priorState(name: string): Promise<PriorState>;
  tags(arn: string): Promise<Record<string, string>>;
  /** Names of the alarms in ALARM whose names begin with `names`: of at least `enough` of them, where so many exist. */
  inAlarm(names: string, enough: number): Promise<string[]>;
}

/** Sends events to PagerDuty. */
export interface Pager {
  /**
   * Sends one event. PagerDuty queues it; delivery is asynchronous.
   *
   * @throws {PermanentError} `pagerduty-refused`: PagerDuty refuses the same event again
   * @throws {RetryableError} `pagerduty-throttled` (also before PagerDuty is called), `pagerduty-unavailable` or `pagerduty-unreachable`
   */
  send(event: IncidentEvent, routingKey: string): Promise<void>;
}

/** Routing keys by the name of a route; empty if no key is set. */
export type Routes = ReadonlyMap<string, string>;

/** The routes of the routing secret. */
export interface Routing {
  get(): Promise<Routes>;
  /** Drops the cached secret, because PagerDuty refused a key. */
  refresh(): void;
}

/** The dependencies of this function. */
export type AlarmDeps = {
  prefix: string;
  alarms: AlarmReader;
  pager: Pager;
  routing: Routing;
  /** The last resolve that this process has sent for each series, by the ARN of the series. */
  seriesResolves: Map<string, Promise<unknown>>;
  metrics: MetricSink;
  logger: Pick<Logger, 'warn'>;
  clock: Clock;
};
