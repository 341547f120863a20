import { AsyncLocalStorage } from 'node:async_hooks';
import { Logger as PowertoolsLogger } from '@aws-lambda-powertools/logger';
import { redactingReplacer } from './redact.ts';

/** Fields of a log line. */
type Fields = Record<string, unknown>;

/** Fields that every log line of the current record carries. Records of a batch run side by side. */
const recordFields = new AsyncLocalStorage<Fields>();

/** JSON log lines with a message and fields. */
export type Logger = Record<'debug' | 'info' | 'warn' | 'error', (message: string, fields?: Fields) => void>;

/**
 * The function's logger: JSON lines, level from `POWERTOOLS_LOG_LEVEL` or Lambda's own setting. Every value passes the
 * redactor. Lines that are written during `withLogFields` carry its fields.
 *
 * @param service name of the function, on every line as `service`
 */
export function createLogger(service: string): Logger {
  const logger = new PowertoolsLogger({ serviceName: service, jsonReplacerFn: redactingReplacer });
  const write =
    (level: keyof Logger) =>
    (message: string, fields: Fields = {}): void =>
      logger[level](message, { ...recordFields.getStore(), ...fields });
  return { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') };
}

/** Adds fields to the later log lines of the current record, so that the line with its outcome names what the record is about. */
export function addLogFields(fields: Fields): void {
  Object.assign(recordFields.getStore() ?? {}, fields);
}

/** Runs `work`; every log line of it, however deep, carries `fields`. */
export function withLogFields<T>(fields: Fields, work: () => T): T {
  return recordFields.run({ ...fields }, work);
}
