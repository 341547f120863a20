import type { EmulatedService, Home, PublishEvent } from '../service.ts';
import { systemTimers, type Timers } from '../timers.ts';
import type { Alarm } from './alarm.ts';
import { createAlarmBook } from './alarms.ts';
import { parseEmbeddedMetrics } from './emf.ts';
import { answer } from './protocol.ts';
import { createSampleStore, type SampleStore } from './samples.ts';

/** CloudWatch evaluates alarms once per minute, or more often where a period is shorter. */
const EVALUATION_SECONDS = 60;

/** However short the scaled minute: more often than this only costs. */
const SHORTEST_EVALUATION_MS = 100;

export type CloudWatchOptions = {
  home: Home;
  publish: PublishEvent;
  /** Called with events that could not be published, and with embedded metrics that CloudWatch drops silently. */
  onError(error: unknown): void;
  timers?: Timers;
  /** Periods and the time between evaluations are divided by this; 1 is real time. */
  timeScale?: number;
};

export type CloudWatch = EmulatedService & {
  /** Takes one line of a function's log. Returns how many measurements it held. */
  ingest(line: string): number;
  alarms(): readonly Readonly<Alarm>[];
  samples: Pick<SampleStore, 'between' | 'metrics'>;
  /** Judges all alarms now, without waiting for the next minute. */
  evaluate(): void;
  /** Resolves when every event so far has been handed to the bus. */
  settled(): Promise<void>;
  stop(): void;
};

/** Metrics and static-threshold alarms of CloudWatch, with the events that alarm changes put on the bus. */
export function createCloudWatch(options: CloudWatchOptions): CloudWatch {
  const timers = options.timers ?? systemTimers;
  const timeScale = options.timeScale ?? 1;
  const samples = createSampleStore();
  let events = Promise.resolve();
  const alarms = createAlarmBook({
    home: options.home,
    samples,
    timeScale,
    now: timers.now,
    emit: (event) => {
      events = events.then(() => options.publish(event)).catch(options.onError);
    },
  });
  const untilNext = () => {
    const periods = alarms.all().map(({ settings }) => settings.Period);
    const seconds = Math.min(EVALUATION_SECONDS, ...periods);
    return Math.max(SHORTEST_EVALUATION_MS, (seconds * 1000) / timeScale);
  };
  let cancel = () => {};
  const evaluateForEver = () => {
    cancel = timers.at(timers.now() + untilNext(), () => {
      alarms.evaluate();
      evaluateForEver();
    });
  };
  evaluateForEver();

  return {
    name: 'monitoring',
    // Metrics and alarms belong together: an operation that is missing here would not find them in the emulator.
    serves: () => true,
    handle: async (request) => answer({ alarms, samples, now: timers.now }, request),
    ingest(line) {
      const { measurements, problems } = parseEmbeddedMetrics(line);
      for (const { metric, sample } of measurements) samples.add(metric, sample);
      for (const problem of problems) options.onError(new Error(`embedded metric dropped: ${problem}`));
      return measurements.length;
    },
    alarms: alarms.all,
    samples,
    evaluate: alarms.evaluate,
    settled: () => events,
    stop: () => cancel(),
  };
}
