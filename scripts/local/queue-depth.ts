import { GetQueueAttributesCommand } from '@aws-sdk/client-sqs';
import type { Cloud } from './cloud.ts';

/** How many messages a queue holds, waiting and being handled. */
export async function messagesIn(cloud: Cloud, queue: string): Promise<number> {
  const { Attributes = {} } = await cloud.clients.sqs.send(
    new GetQueueAttributesCommand({
      QueueUrl: cloud.queues.url(queue),
      AttributeNames: ['ApproximateNumberOfMessages', 'ApproximateNumberOfMessagesNotVisible'],
    }),
  );
  return Object.values(Attributes).reduce((sum, count) => sum + Number(count), 0);
}
