import { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import type { Home, OutgoingEvent, PublishEvent } from './service.ts';

/**
 * Publishes events of AWS services and partners, on the default bus unless they name another one. It bypasses the gateway, which records calls only, and which refuses
 * sources that start with `aws.`, as AWS does.
 *
 * @param emulator `http://127.0.0.1:<port>` of MiniStack
 * @throws (from the returned function) if the bus refuses the event
 */
export function servicePublisher(emulator: string, home: Home): PublishEvent {
  const credentials = { accessKeyId: 'LKIASERVICES', secretAccessKey: 'local' };
  const events = new EventBridgeClient({ endpoint: emulator, region: home.region, credentials });
  return async (event) => {
    const { FailedEntryCount, Entries } = await events.send(
      new PutEventsCommand({ Entries: [entry(event)] }),
    );
    if (FailedEntryCount)
      throw new Error(`the bus refused an event of ${event.source}: ${JSON.stringify(Entries)}`);
  };
}

function entry(event: OutgoingEvent) {
  return {
    Source: event.source,
    DetailType: event.detailType,
    Detail: JSON.stringify(event.detail),
    Resources: [...event.resources],
    Time: event.time ?? new Date(),
    ...(event.bus !== undefined && { EventBusName: event.bus }),
  };
}
