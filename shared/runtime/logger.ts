import { Logger } from '@aws-lambda-powertools/logger';
import { redactingReplacer } from './redact.ts';

/**
 * The function's one logger: JSON lines, level from `POWERTOOLS_LOG_LEVEL` or Lambda's own setting, every value
 * through the redactor.
 *
 * @param service the function's name, as `service` on every line
 */
export function createLogger(service: string): Logger {
  return new Logger({ serviceName: service, jsonReplacerFn: redactingReplacer });
}

export type { Logger };
