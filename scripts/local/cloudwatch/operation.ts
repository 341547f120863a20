import type { AlarmBook } from './alarms.ts';
import type { SampleStore } from './samples.ts';

/** What an operation can read and change. */
export type Service = { alarms: AlarmBook; samples: SampleStore; now(): number };

/** One operation: parses its input, gives its output. */
export type Operation = (service: Service, input: unknown) => Record<string, unknown>;
