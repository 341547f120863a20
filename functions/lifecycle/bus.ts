import { type EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { REPORT_SOURCE } from '../../shared/fleet/report.ts';
import { RetryableError } from '../../shared/runtime/errors.ts';
import type { ReportBus } from './ports.ts';

/** The event bus called `name`. */
export function reportBus(client: Pick<EventBridgeClient, 'send'>, name: string): ReportBus {
  return {
    async publish(report) {
      const { FailedEntryCount, Entries } = await client.send(
        new PutEventsCommand({
          Entries: [
            {
              EventBusName: name,
              Source: REPORT_SOURCE,
              DetailType: report.report,
              Detail: JSON.stringify(report),
            },
          ],
        }),
      );
      if (!FailedEntryCount) return;
      // EventBridge answers 200 to entries that it did not take.
      const [entry] = Entries ?? [];
      throw new RetryableError('report-not-published', `${entry?.ErrorCode}: ${entry?.ErrorMessage}`);
    },
  };
}
