import middy from '@middy/core';
import type { SQSBatchResponse, SQSEvent } from 'aws-lambda';
import { sqsClient } from './clients/sqs.ts';
import { type Clock, systemClock } from './clock.ts';
import type { Outcome } from './outcome.ts';
import { type Env, type EnvShape, readEnv, url } from './env.ts';
import { type InboxTools, runInbox } from './inbox.ts';
import { createLogger, type Logger } from './logger.ts';
import type { Message } from './message.ts';
import { createMetrics, type MetricSink } from './metrics.ts';

/** What every function gets, whatever it is for. */
export type Tools = { logger: Logger; metrics: MetricSink; clock: Clock };

/** Environment values of every function. Terraform sets them; `function.json` need not name them. */
export const COMMON_ENV = { INBOX_URL: url, DEAD_LETTER_URL: url } satisfies EnvShape;

/** A function, declared once: see `defineFunction`. */
export type FunctionDefinition<S extends EnvShape, Deps> = {
  /** Folder name below `functions/`, also the `service` of every log line. */
  name: string;
  /** Environment values that this function needs beyond `COMMON_ENV`. */
  env: S;
  /** Further queues that it polls besides its inbox, as names of environment values that hold their URLs. */
  extraInboxes?: readonly (keyof S & string)[];
  /** Makes the clients and adapters, once per execution environment, at the first event. */
  connect: (env: Env<S>, tools: Tools) => Deps;
  /** Brings one message to its outcome. */
  handle: (message: Message, deps: Deps, tools: Tools) => Promise<Outcome>;
};

/** A Lambda handler for SQS batches with partial responses. */
export type InboxHandler = (event: SQSEvent, context?: unknown) => Promise<SQSBatchResponse>;

/**
 * The one shape of every function: EventBridge -> inbox -> record loop -> partial batch response. Environment and
 * clients are read and made at the first event and kept; a wrong environment fails the whole batch, which then
 * stays in the inbox until someone has repaired the deployment.
 *
 * @example
 * export const handler = defineFunction({
 *   name: 'alarms',
 *   env: alarmsEnv,
 *   connect: (env, tools) => connectAlarms(env, tools),
 *   handle: (message, deps) => handleAlarm(message, deps),
 * });
 */
export function defineFunction<S extends EnvShape, Deps>(
  definition: FunctionDefinition<S, Deps>,
): InboxHandler {
  let ready: { deps: Deps; tools: Tools; inbox: InboxTools } | undefined;

  function connect() {
    const tools: Tools = {
      logger: createLogger(definition.name),
      metrics: createMetrics(definition.name),
      clock: systemClock,
    };
    const common = readEnv(COMMON_ENV);
    const env = readEnv(definition.env);
    const extra = (definition.extraInboxes ?? []).map((name) => String(env[name]));
    let sqs: InboxTools['sqs'] | undefined;
    const inbox: InboxTools = {
      // Made when a record is postponed or buried: most never are, and a client costs milliseconds of every cold start.
      get sqs() {
        sqs ??= sqsClient();
        return sqs;
      },
      inboxUrls: [common.INBOX_URL, ...extra],
      deadLetterUrl: common.DEAD_LETTER_URL,
      logger: tools.logger,
      clock: tools.clock,
    };
    return { deps: definition.connect(env, tools), tools, inbox };
  }

  return middy<SQSEvent, SQSBatchResponse>().handler(async (event) => {
    ready ??= connect();
    const { deps, tools, inbox } = ready;
    return runInbox(event.Records, (message) => definition.handle(message, deps, tools), inbox);
  }) as unknown as InboxHandler;
}
