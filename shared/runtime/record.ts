import middy, { type MiddlewareObj } from '@middy/core';
import type { SQSRecord } from 'aws-lambda';
import { isTransient } from './aws-errors.ts';
import type { Clock } from './clock.ts';
import { ConfigurationError, errorText, PermanentError, RetryableError } from './errors.ts';
import { type Message, queueName, sentAt, toMessage } from './message.ts';
import { dead, type Outcome, retryLater } from './outcome.ts';
import { redactText } from './redact.ts';

/** Handles one parsed message. May throw any error instead of returning an outcome. */
export type MessageHandler = (message: Message) => Promise<Outcome>;

/** How long a message is retried after it was sent, in milliseconds. Past it, a retry is `dead`. */
export type RetryFor = number | ((message: Pick<Message, 'body' | 'queue'>) => number);

/** Handles one record of a batch within `limitMs`. Never throws. */
export type RecordHandler = (record: SQSRecord, limitMs: number) => Promise<Outcome>;

type RecordMiddleware = MiddlewareObj<SQSRecord, Outcome, Error>;

/**
 * The middleware stack around a handler, from the outside in: the retry deadline, the mapping of errors to outcomes, the
 * time limit. Each record of a batch has its own run of the stack, so a record that hangs costs its batch nothing.
 */
export function recordHandler(
  handle: MessageHandler,
  options: { retryFor: RetryFor; clock: Clock },
): RecordHandler {
  const stack = middy<SQSRecord, Outcome, Error>({
    timeoutEarlyInMillis: 1,
    timeoutEarlyResponse: () => retryLater('time-limit'),
  })
    .use(retryDeadline(options.retryFor, options.clock))
    .use(errorsToOutcomes())
    .handler((record, _context, { signal }) => handle(parse(record, signal)));
  return (record, limitMs) =>
    // Middy asks the context how much time is left; here that is the limit of the record.
    stack(record, { getRemainingTimeInMillis: () => limitMs } as never);
}

function parse(record: SQSRecord, signal: AbortSignal): Message {
  try {
    return toMessage(record, signal);
  } catch {
    // The parser's own message quotes the body, which may hold a secret.
    throw new PermanentError('malformed-json', `the body of ${record.body.length} characters is not JSON`);
  }
}

/** Ends a retry whose time has passed. Its deadline is in the log line of every retry. */
function retryDeadline(retryFor: RetryFor, clock: Clock): RecordMiddleware {
  const apply = (request: { event: SQSRecord; response: Outcome | null }): void => {
    const outcome = request.response;
    if (outcome?.outcome !== 'retry') return;
    const deadline = new Date(sentAt(request.event).getTime() + retryMs(retryFor, request.event));
    const detail = { ...outcome.detail, deadline: deadline.toISOString() };
    request.response =
      deadline > clock.now()
        ? { ...outcome, detail }
        : dead('deadline-passed', { ...detail, retryReason: outcome.reason });
  };
  return { after: apply, onError: apply };
}

function retryMs(retryFor: RetryFor, record: SQSRecord): number {
  if (typeof retryFor === 'number') return retryFor;
  return retryFor({ body: JSON.parse(record.body), queue: queueName(record.eventSourceARN) });
}

function errorsToOutcomes(): RecordMiddleware {
  return {
    onError: (request) => {
      request.response = outcomeOfError(request.error);
    },
  };
}

/**
 * The outcome of a record whose handler threw. An error without a name here is retried: it may be a defect that the next
 * deployment repairs, and the deadline ends it otherwise.
 */
export function outcomeOfError(error: unknown): Outcome {
  const detail = { error: redactText(errorText(error)) };
  if (error instanceof PermanentError) return dead(error.reason, detail);
  if (error instanceof RetryableError) {
    return retryLater(error.reason, {
      detail,
      ...(error.afterSeconds !== undefined && { afterSeconds: error.afterSeconds }),
    });
  }
  if (error instanceof ConfigurationError) return retryLater('configuration', { detail });
  if (isTransient(error)) return retryLater('service-unavailable', { detail });
  const stack = error instanceof Error && error.stack ? { stack: redactText(error.stack) } : {};
  return retryLater('unexpected-error', { detail: { ...detail, ...stack } });
}
