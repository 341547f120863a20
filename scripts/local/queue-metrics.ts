import { GetQueueAttributesCommand, ListQueuesCommand, SQSClient } from '@aws-sdk/client-sqs';
import type { Home } from './service.ts';

/** SQS sends its metrics once a minute (SQS Developer Guide, "Available CloudWatch metrics"). */
const EVERY_SECONDS = 60;

const METRIC = 'ApproximateNumberOfMessagesVisible';

/**
 * Publishes the number of messages per queue, which SQS sends to CloudWatch and the emulator does not. The alarms of the
 * dead-letter queues read it.
 *
 * @param options.emulator MiniStack's address: SQS's own measuring is no call that anybody makes
 * @param options.ingest takes one line in CloudWatch's embedded format
 * @param options.timeScale by which the minute is shortened
 */
export function startQueueMetrics(options: {
  emulator: string;
  home: Home;
  timeScale: number;
  ingest(line: string): void;
  onError(error: unknown): void;
}): { stop(): void } {
  const credentials = { accessKeyId: 'LKIASERVICES', secretAccessKey: 'local' };
  const sqs = new SQSClient({ endpoint: options.emulator, region: options.home.region, credentials });
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;

  async function measure(): Promise<void> {
    const { QueueUrls = [] } = await sqs.send(new ListQueuesCommand({}));
    for (const QueueUrl of QueueUrls) {
      const { Attributes } = await sqs.send(
        new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ['ApproximateNumberOfMessages'] }),
      );
      const waiting = Number(Attributes?.ApproximateNumberOfMessages ?? 0);
      if (!stopped) options.ingest(metricLine(QueueUrl.slice(QueueUrl.lastIndexOf('/') + 1), waiting));
    }
  }

  function again(): void {
    timer = setTimeout(
      async () => {
        await measure().catch((error: unknown) => stopped || options.onError(error));
        if (!stopped) again();
      },
      (EVERY_SECONDS * 1000) / options.timeScale,
    );
  }

  again();
  return {
    stop() {
      stopped = true;
      clearTimeout(timer);
      sqs.destroy();
    },
  };
}

function metricLine(QueueName: string, waiting: number): string {
  const metrics = {
    Namespace: 'AWS/SQS',
    Dimensions: [['QueueName']],
    Metrics: [{ Name: METRIC, Unit: 'Count' }],
  };
  const _aws = { Timestamp: Date.now(), CloudWatchMetrics: [metrics] };
  return JSON.stringify({ _aws, QueueName, [METRIC]: waiting });
}
