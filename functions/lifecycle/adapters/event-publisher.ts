import { type EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { reportSource } from '../../../shared/fleet/report.ts';
import { RetryableError } from '../../../shared/runtime/errors.ts';
import type { EventPublisher } from '../ports.ts';

/**
 * Publishes to an event bus.
 *
 * @param bus name or ARN of the bus
 * @param prefix of the deployment, part of the event's source
 */
export function eventPublisher(
  client: Pick<EventBridgeClient, 'send'>,
  bus: string,
  prefix: string,
): EventPublisher {
  return {
    async publish(report) {
      const { FailedEntryCount, Entries } = await client.send(
        new PutEventsCommand({
          Entries: [
            {
              EventBusName: bus,
              Source: reportSource(prefix),
              DetailType: report.report,
              Detail: JSON.stringify(report),
            },
          ],
        }),
      );
      if (!FailedEntryCount) return;
      // PutEvents answers 200 also when it rejects the entry.
      const [entry] = Entries ?? [];
      throw new RetryableError('report-not-published', `${entry?.ErrorCode}: ${entry?.ErrorMessage}`);
    },
  };
}
