import middy, { type MiddlewareObj } from '@middy/core';
import type { Context, LambdaFunctionURLEvent, LambdaFunctionURLResult, SQSEvent } from 'aws-lambda';
import { isTransient } from './aws-errors.ts';
import { systemClock } from './clock.ts';
import type { InboxHandler, Tools } from './define-function.ts';
import { DEPLOYMENT_ENV, type Env, type EnvShape, readEnv } from './env.ts';
import { ConfigurationError, errorText, PermanentError, RetryableError } from './errors.ts';
import { createLogger, type Logger, withLogFields } from './logger.ts';
import { createMetrics } from './metrics.ts';
import type { Detail } from './outcome.ts';
import { redactText } from './redact.ts';

/** One request to the URL of a function (payload format 2.0), without what only Lambda needs. */
export type UrlRequest = {
  id: string;
  method: string;
  path: string;
  /** Names in lower case; several values of one name are joined by commas. */
  headers: Readonly<Record<string, string | undefined>>;
  /** The body as it was sent: signatures are over these bytes. */
  body: Uint8Array;
  /** The principal that signed the request. Undefined at a URL with `auth: none`. */
  caller: { account: string; arn: string } | undefined;
  /** Aborts when the time limit of the request has passed; after that, nobody reads the handler's result. */
  signal: AbortSignal;
};

/** The answer to a request. `outcome`, `reason` and `detail` go to the log line only, and must hold no secret. */
export type UrlAnswer = {
  status: number;
  /** Any value that JSON can hold. It may hold a secret: no log line contains it. */
  body: unknown;
  outcome: string;
  reason?: string;
  /** Header `retry-after`, in seconds. */
  retryAfterSeconds?: number;
  detail?: Detail;
};

/** Why a request failed: nothing is known to be wrong with the request itself. */
export type UrlFailure = { reason: string; afterSeconds: number };

/** A function with a URL, declared once: see `defineUrlFunction`. */
export type UrlFunctionDefinition<S extends EnvShape, Deps> = {
  /** Folder name below `functions/`, also the `service` of every log line. */
  name: string;
  /** All environment values of the function. */
  env: S;
  /** Most bytes of a body. A larger one is refused with 413 before it is parsed. */
  maxBodyBytes: number;
  /** Time limit of a request, in milliseconds. It is below the function's timeout and below the timeout of its callers. */
  limitMs: number;
  /** Creates clients and adapters, once per execution environment, at the first request. */
  connect: (env: Env<S>, tools: Tools) => Deps;
  /** Answers one request. May throw any error instead. */
  handle: (request: UrlRequest, deps: Deps) => Promise<UrlAnswer>;
  /** Body of an answer with 500 or 503, in the format of the function's other answers. Default: `{error: reason}`. */
  failureBody?: (failure: UrlFailure) => unknown;
};

/**
 * The event of a function URL. With `auth: iam` Lambda verifies the signature and adds the principal. The function cannot tell such
 * an event from the payload of a plain Invoke: only IAM keeps others from invoking the function past its URL.
 */
export type UrlEvent = Omit<LambdaFunctionURLEvent, 'requestContext'> & {
  requestContext: LambdaFunctionURLEvent['requestContext'] & {
    authorizer?: { iam?: { accountId: string; userArn: string } };
  };
};

/** A Lambda handler of a function URL. */
export type UrlHandler = (
  event: UrlEvent,
  context: Pick<Context, 'getRemainingTimeInMillis'>,
) => Promise<LambdaFunctionURLResult>;

/** Wait that an answer asks for when its error names none, in seconds. */
const DEFAULT_AFTER_SECONDS = 10;

/** Milliseconds of an invocation that no request may use: the answer has to leave. */
const RESERVED_MS = 1_000;

/**
 * The shape of every function with a URL: request -> handler -> one answer and one log line. Environment and clients are created
 * at the first request and kept. An error becomes an answer: what is wrong with the request 400, what passes 503, a defect 500.
 *
 * @example
 * export const handler = defineUrlFunction({
 *   name: 'webhooks',
 *   env: webhooksEnv,
 *   maxBodyBytes: 1_048_576,
 *   limitMs: 8_000,
 *   connect: (env, tools) => ({ prefix: env.NAME_PREFIX, ...tools }),
 *   handle: handleWebhook,
 * });
 */
export function defineUrlFunction<S extends EnvShape, Deps>(
  definition: UrlFunctionDefinition<S, Deps>,
): UrlHandler {
  const logger = once(() => createLogger(definition.name));
  const deps = once(() => {
    const env = readEnv({ ...DEPLOYMENT_ENV, ...definition.env });
    const metrics = createMetrics(definition.name, env.NAME_PREFIX);
    return definition.connect(env, { logger: logger(), metrics, clock: systemClock });
  });
  const failureBody = definition.failureBody ?? (({ reason }) => ({ error: reason }));
  const failure = (
    status: number,
    reason: string,
    detail?: Detail,
    afterSeconds = DEFAULT_AFTER_SECONDS,
  ) => ({
    status,
    body: failureBody({ reason, afterSeconds }),
    outcome: 'failed',
    reason,
    retryAfterSeconds: afterSeconds,
    ...(detail && { detail }),
  });
  const stack = middy<UrlEvent, UrlAnswer, Error>({
    timeoutEarlyInMillis: 1,
    timeoutEarlyResponse: () => failure(503, 'time-limit'),
  })
    .use(errorsToAnswers(failure))
    .handler((event, _context, { signal }) => {
      const body = bodyOf(event, definition.maxBodyBytes);
      if (!body)
        return {
          status: 413,
          body: { error: 'body-too-large' },
          outcome: 'rejected',
          reason: 'body-too-large',
        };
      return definition.handle(toRequest(event, body, signal), deps());
    });
  return (event, context) =>
    withLogFields({ requestId: event.requestContext.requestId }, async () => {
      const began = performance.now();
      const limitMs = Math.min(definition.limitMs, context.getRemainingTimeInMillis() - RESERVED_MS);
      // Middy asks the context how much time is left; here that is the limit of the request.
      const answer: UrlAnswer = await stack(event, {
        getRemainingTimeInMillis: () => Math.max(2, limitMs),
      } as never);
      logAnswer(logger(), event, answer, performance.now() - began);
      return toResult(answer);
    });
}

/**
 * One handler of a function that has a URL and an inbox. Lambda builds both events itself: a caller of the URL sends headers, path
 * and body, and cannot send `Records`.
 */
export function urlOrInbox(onRequest: UrlHandler, onBatch: InboxHandler) {
  return (
    event: UrlEvent | SQSEvent,
    context: Pick<Context, 'getRemainingTimeInMillis'>,
  ): ReturnType<UrlHandler> | ReturnType<InboxHandler> =>
    'Records' in event ? onBatch(event, context) : onRequest(event, context);
}

/** The body of a request, or undefined if it has more than `maxBytes`. Base64 is measured before it is decoded. */
function bodyOf({ body = '', isBase64Encoded }: UrlEvent, maxBytes: number): Uint8Array | undefined {
  if (isBase64Encoded && body.length > 4 * Math.ceil(maxBytes / 3)) return undefined;
  const bytes = Buffer.from(body, isBase64Encoded ? 'base64' : 'utf8');
  return bytes.length > maxBytes ? undefined : bytes;
}

function toRequest(event: UrlEvent, body: Uint8Array, signal: AbortSignal): UrlRequest {
  const { requestContext, rawPath, headers } = event;
  const iam = requestContext.authorizer?.iam;
  return {
    id: requestContext.requestId,
    method: requestContext.http.method,
    path: rawPath,
    headers,
    body,
    caller: iam && { account: iam.accountId, arn: iam.userArn },
    signal,
  };
}

type Failure = (status: number, reason: string, detail?: Detail, afterSeconds?: number) => UrlAnswer;

function errorsToAnswers(failure: Failure): MiddlewareObj<UrlEvent, UrlAnswer, Error> {
  return {
    onError: (request) => {
      request.response = answerOfError(request.error, failure);
    },
  };
}

/** The answer to a request whose handler threw: the same classes of errors as in the record loop. */
function answerOfError(error: unknown, failure: Failure): UrlAnswer {
  const detail = { error: redactText(errorText(error)) };
  if (error instanceof PermanentError) {
    const { reason } = error;
    return { status: 400, body: { error: reason }, outcome: 'rejected', reason, detail };
  }
  if (error instanceof RetryableError) return failure(503, error.reason, detail, error.afterSeconds);
  if (error instanceof ConfigurationError) return failure(503, 'configuration', detail, 60);
  if (isTransient(error)) return failure(503, 'service-unavailable', detail);
  const stack = error instanceof Error && error.stack ? { stack: redactText(error.stack) } : {};
  return failure(500, 'unexpected-error', { ...detail, ...stack });
}

function logAnswer(logger: Logger, event: UrlEvent, answer: UrlAnswer, ms: number): void {
  const { outcome, reason, status, detail } = answer;
  const { method, path } = event.requestContext.http;
  const level = status >= 500 ? (status === 500 ? 'error' : 'warn') : 'info';
  logger[level]('request handled', {
    request: { method, path: path.slice(0, 200), status, outcome, reason, ms: Math.round(ms), detail },
  });
}

function toResult({ status, body, retryAfterSeconds }: UrlAnswer): LambdaFunctionURLResult {
  return {
    statusCode: status,
    headers: {
      'content-type': 'application/json',
      'cache-control': 'no-store',
      ...(retryAfterSeconds !== undefined && { 'retry-after': String(Math.ceil(retryAfterSeconds)) }),
    },
    body: JSON.stringify(body),
  };
}

function once<T>(create: () => T): () => T {
  let made: { value: T } | undefined;
  return () => {
    made ??= { value: create() };
    return made.value;
  };
}
