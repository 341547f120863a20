import { SendMessageCommand, type SQSClient } from '@aws-sdk/client-sqs';
import type { HintMessage } from '../../../shared/fleet/backlog-hint.ts';
import type { ScalingInbox } from '../ports.ts';

/** @param queueUrl of the inbox of the function `scaling` */
export function scalingInbox(client: Pick<SQSClient, 'send'>, queueUrl: string): ScalingInbox {
  return {
    async send(about, at, delaySeconds) {
      const message: HintMessage = { hint: 'Job Queued', about, at: at.toISOString() };
      await client.send(
        new SendMessageCommand({
          QueueUrl: queueUrl,
          MessageBody: JSON.stringify(message),
          DelaySeconds: delaySeconds,
        }),
      );
    },
  };
}
