import { SQSClient } from '@aws-sdk/client-sqs';
import type { Context, SQSBatchResponse, SQSEvent, SQSRecord } from 'aws-lambda';
import { clientSettings } from './client-settings.ts';
import { type Clock, systemClock } from './clock.ts';
import { DEPLOYMENT_ENV, type Env, type EnvShape, readEnv, url } from './env.ts';
import { handleBatch, type InboxTools } from './inbox.ts';
import { createLogger, type Logger } from './logger.ts';
import type { Message } from './message.ts';
import { createMetrics, type MetricSink } from './metrics.ts';
import type { Outcome } from './outcome.ts';
import { type RecordHandler, recordHandler } from './record.ts';

/** What every function gets. */
export type Tools = { logger: Logger; metrics: MetricSink; clock: Clock };

/** Environment values of every function with an inbox. Terraform sets them; `function.json` does not name them. */
export const COMMON_ENV = { INBOX_URL: url, DEAD_LETTER_URL: url } satisfies EnvShape;

/**
 * Milliseconds of an invocation that no record may use: the record loop needs them to move records that ran into their limit,
 * and one call to SQS takes milliseconds.
 */
const RESERVED_MS = 2_000;

/** A function, declared once: see `defineFunction`. */
export type FunctionDefinition<S extends EnvShape, Deps> = {
  /** Folder name below `functions/`, also the `service` of every log line. */
  name: string;
  /** Environment values that this function needs beyond `COMMON_ENV`. */
  env: S;
  /** Further queues that it polls besides its inbox: names of environment values that hold their URLs. */
  extraInboxes?: readonly (keyof S & string)[];
  /** How long a message is retried after it was sent, in milliseconds. Past it, a retry is `dead`. */
  retryFor: number | ((message: Pick<Message, 'body' | 'queue'>, deps: Deps) => number);
  /** Creates clients and adapters, once per execution environment, at the first event. */
  connect: (env: Env<S>, tools: Tools) => Deps;
  /** Handles one message. */
  handle: (message: Message, deps: Deps) => Promise<Outcome>;
  /** Around the handling of a record, before its body is parsed: limits of senders that are not trusted. */
  guard?: (record: SQSRecord, handle: () => Promise<Outcome>, deps: Deps) => Promise<Outcome>;
};

/** A Lambda handler of SQS batches with partial responses. */
export type InboxHandler = (
  event: SQSEvent,
  context: Pick<Context, 'getRemainingTimeInMillis'>,
) => Promise<SQSBatchResponse>;

/**
 * The shape of every function with an inbox: EventBridge -> inbox -> record loop -> partial batch response. Environment and
 * clients are created at the first event and kept. A wrong environment fails the whole batch, which stays in the
 * inbox until the deployment is repaired.
 *
 * @example
 * export const handler = defineFunction({
 *   name: 'alarms',
 *   env: alarmsEnv,
 *   retryFor: 6 * HOUR_MS,
 *   connect: (env, tools) => ({ prefix: env.NAME_PREFIX, ...tools }),
 *   handle: handleAlarmMessage,
 * });
 */
export function defineFunction<S extends EnvShape, Deps>(
  definition: FunctionDefinition<S, Deps>,
): InboxHandler {
  let connected: { handle: RecordHandler; inbox: InboxTools } | undefined;

  function connect() {
    const common = readEnv(COMMON_ENV);
    const env = readEnv({ ...DEPLOYMENT_ENV, ...definition.env });
    const tools: Tools = {
      logger: createLogger(definition.name),
      metrics: createMetrics(definition.name, env.NAME_PREFIX),
      clock: systemClock,
    };
    const extra = (definition.extraInboxes ?? []).map((name) => String(env[name]));
    let sqs: SQSClient | undefined;
    const inbox: InboxTools = {
      // Created when a record is delayed or dead: most never are, and a client costs milliseconds of every cold start.
      get sqs() {
        sqs ??= new SQSClient(clientSettings('lambda'));
        return sqs;
      },
      inboxUrls: [common.INBOX_URL, ...extra],
      deadLetterUrl: common.DEAD_LETTER_URL,
      logger: tools.logger,
    };
    const deps = definition.connect(env, tools);
    const { retryFor, guard } = definition;
    const inner = recordHandler((message) => definition.handle(message, deps), {
      retryFor: typeof retryFor === 'number' ? retryFor : (message) => retryFor(message, deps),
      clock: tools.clock,
    });
    const handle: RecordHandler = guard
      ? (record, limitMs) => guard(record, () => inner(record, limitMs), deps)
      : inner;
    return { handle, inbox };
  }

  return async (event, context) => {
    connected ??= connect();
    const limitMs = Math.max(0, context.getRemainingTimeInMillis() - RESERVED_MS);
    return handleBatch(event.Records, connected.handle, limitMs, connected.inbox);
  };
}
