import { CreateQueueCommand, type SQSClient } from '@aws-sdk/client-sqs';
import { type FunctionSpec, hasInbox, visibilitySeconds } from '../../../shared/runtime/function-spec.ts';
import type { QueueNames } from './names.ts';

/** Longest that SQS keeps a message, in seconds: 14 days (SQS quotas). */
const RETENTION_SECONDS = 1_209_600;

/**
 * Makes a function's inbox, the further queues that it polls, and the dead-letter queue behind them all; nothing for a function that
 * has a URL only.
 */
export async function makeQueues(sqs: SQSClient, spec: FunctionSpec, names: QueueNames): Promise<void> {
  if (!hasInbox(spec)) return;
  const dead = names.dead(spec.name);
  await make(sqs, dead, { MessageRetentionPeriod: String(RETENTION_SECONDS) });
  for (const name of polledQueues(spec, names)) {
    const bytes = name === names.inbox(spec.name) ? undefined : spec.extraInboxBytes;
    await make(sqs, name, {
      MessageRetentionPeriod: String(RETENTION_SECONDS),
      VisibilityTimeout: String(visibilitySeconds(spec)),
      RedrivePolicy: JSON.stringify({
        deadLetterTargetArn: names.arn(dead),
        maxReceiveCount: spec.receiveLimit,
      }),
      ...(bytes !== undefined && { MaximumMessageSize: String(bytes) }),
    });
  }
}

/** Every queue that a function reads. */
export function polledQueues(spec: FunctionSpec, names: QueueNames): string[] {
  if (!hasInbox(spec)) return [];
  return [names.inbox(spec.name), ...spec.extraInboxes.map((queue) => names.extra(queue))];
}

async function make(sqs: SQSClient, name: string, attributes: Record<string, string>): Promise<void> {
  await sqs.send(new CreateQueueCommand({ QueueName: name, Attributes: attributes }));
}
