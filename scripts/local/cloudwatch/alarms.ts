import { randomUUID } from 'node:crypto';
import type { Home, OutgoingEvent } from '../service.ts';
import {
  type Alarm,
  type AlarmState,
  dimensionsOf,
  type MetricAlarmSettings,
  statisticName,
} from './alarm.ts';
import { CloudWatchError } from './errors.ts';
import { type Datapoint, judge, SPARE_PERIODS } from './evaluate.ts';
import { configurationChangeEvent, stateChangeEvent } from './events.ts';
import { createHistory, type HistoryItem } from './history.ts';
import { stateOf } from './messages.ts';
import { type SampleStore, statisticOf } from './samples.ts';

/** All alarms of the account, and the events of their changes. */
export type AlarmBook = {
  all(): readonly Alarm[];
  put(settings: MetricAlarmSettings): void;
  /** Unknown names are passed over, as by the API. */
  delete(names: readonly string[]): void;
  /** @throws {CloudWatchError} ResourceNotFound */
  setState(name: string, state: Omit<AlarmState, 'since'>): void;
  /** @throws {CloudWatchError} ResourceNotFoundException */
  byArn(arn: string): Alarm;
  /** What happened to the alarm of that name, or to all of them, latest first. */
  history(name: string | undefined): readonly HistoryItem[];
  /** Judges every alarm by the periods that are complete now. */
  evaluate(): void;
};

export type AlarmBookOptions = {
  home: Home;
  samples: SampleStore;
  emit(event: OutgoingEvent): void;
  now(): number;
  /** Periods are divided by this. */
  timeScale: number;
};

export function createAlarmBook({ home, samples, emit, now, timeScale }: AlarmBookOptions): AlarmBook {
  const alarms = new Map<string, Alarm>();
  const history = createHistory(now);

  function become(alarm: Alarm, state: AlarmState): void {
    const previous = alarm.state;
    if (state.value === previous.value) {
      // Without a transition there is no event. A state set by hand keeps its reason.
      alarm.state = { ...state, since: previous.since };
    } else {
      alarm.state = state;
      history.changedState(alarm, previous);
      emit(stateChangeEvent(alarm, previous));
    }
  }

  function create(settings: MetricAlarmSettings): void {
    const alarm: Alarm = {
      arn: `arn:aws:cloudwatch:${home.region}:${home.account}:alarm:${settings.AlarmName}`,
      settings,
      metricId: randomUUID(),
      updatedAt: now(),
      state: {
        value: 'INSUFFICIENT_DATA',
        reason: 'Unchecked: Initial alarm creation',
        reasonData: undefined,
        since: now(),
      },
      tags: new Map((settings.Tags ?? []).map((tag) => [tag.Key, tag.Value])),
    };
    alarms.set(settings.AlarmName, alarm);
    history.changedSettings(alarm, 'Create');
    emit(configurationChangeEvent(alarm, 'create', now()));
  }

  function update(alarm: Alarm, settings: MetricAlarmSettings): void {
    const previous = alarm.settings;
    alarm.settings = settings;
    alarm.updatedAt = now();
    history.changedSettings(alarm, 'Update');
    emit(configurationChangeEvent(alarm, 'update', now(), previous));
  }

  /** One value for each of the newest complete periods, oldest first. */
  function datapoints({ settings }: Alarm): Datapoint[] {
    const period = (settings.Period * 1000) / timeScale;
    const newest = Math.floor(now() / period) - 1;
    const length = settings.EvaluationPeriods + SPARE_PERIODS;
    const metric = {
      namespace: settings.Namespace,
      name: settings.MetricName,
      dimensions: dimensionsOf(settings),
    };
    return Array.from({ length }, (_, index) => {
      const start = (newest - (length - 1 - index)) * period;
      const found = samples.between(metric, start, start + period, settings.Unit);
      return { start, value: statisticOf(found, statisticName(settings)) };
    });
  }

  return {
    all: () => [...alarms.values()],
    history: history.of,
    put(settings) {
      const existing = alarms.get(settings.AlarmName);
      if (existing === undefined) create(settings);
      else update(existing, settings);
    },
    delete(names) {
      for (const name of names) {
        const alarm = alarms.get(name);
        if (alarm === undefined) continue;
        alarms.delete(name);
        history.changedSettings(alarm, 'Delete');
        emit(configurationChangeEvent(alarm, 'delete', now()));
      }
    },
    setState(name, state) {
      const alarm = alarms.get(name);
      if (alarm === undefined) {
        throw new CloudWatchError('ResourceNotFound', `Alarm ${name} does not exist`, 404);
      }
      become(alarm, { ...state, since: now() });
    },
    byArn(arn) {
      const alarm = [...alarms.values()].find((candidate) => candidate.arn === arn);
      if (alarm === undefined) {
        throw new CloudWatchError('ResourceNotFoundException', `There is no alarm ${arn}`, 404);
      }
      return alarm;
    },
    evaluate() {
      for (const alarm of alarms.values()) {
        const verdict = judge(alarm.settings, datapoints(alarm));
        if (verdict !== undefined && verdict.value !== alarm.state.value) {
          become(alarm, stateOf(alarm.settings, verdict, alarm.state.value, now()));
        }
      }
    },
  };
}
