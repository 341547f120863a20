import type { Clock } from '../../shared/runtime/clock.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { MetricSink } from '../../shared/runtime/metrics.ts';
import type { IncidentEvent } from './incident.ts';
import type { Routes } from './routes.ts';

/**
 * Whether an alarm may page. `muted`: its actions are disabled, or its suppressor is in alarm. `held`: its actions follow after a
 * period that ends without a change of state (wait and extension period of a suppressor; alarm mute rule).
 */
export type Suppression =
  | { kind: 'none' }
  | { kind: 'muted' }
  /** `until` is undefined where the end of the period is unknown. */
  | { kind: 'held'; until: Date | undefined };

/** An alarm of CloudWatch, of any type. */
export type Alarm = {
  name: string;
  arn: string;
  state: 'OK' | 'ALARM' | 'INSUFFICIENT_DATA';
  reason: string;
  /** Start of the present state. */
  since: Date | undefined;
  description: string;
  suppression: Suppression;
  metric: string | undefined;
  dimensions: Record<string, string>;
};

/**
 * The past of an alarm according to its history: its last state other than INSUFFICIENT_DATA since it was created, `none` if it
 * had no other, `deleted` if it does not exist any more, `unknown` if the history does not contain it.
 */
export type PriorState = 'OK' | 'ALARM' | 'none' | 'deleted' | 'unknown';

/** Reads alarms. */
export interface AlarmReader {
  /** The alarm, or undefined if CloudWatch returns none of this name. */
  get(name: string): Promise<Alarm | undefined>;
  priorState(name: string): Promise<PriorState>;
  tags(arn: string): Promise<Record<string, string>>;
}

/** Sends events to PagerDuty. */
export interface Pager {
  /**
   * Sends one event. PagerDuty queues it; delivery is asynchronous.
   *
   * @throws {PermanentError} `pagerduty-refused`: PagerDuty refuses the same event again
   * @throws {RetryableError} `pagerduty-throttled`, `pagerduty-unavailable` or `pagerduty-unreachable`
   */
  send(event: IncidentEvent, routingKey: string): Promise<void>;
}

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
  metrics: MetricSink;
  logger: Pick<Logger, 'warn'>;
  clock: Clock;
};
