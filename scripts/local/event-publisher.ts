import { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import type { Home, OutgoingEvent, PublishEvent } from './service.ts';

/**
 * Puts events of AWS services on the default bus, past the gateway: these are no calls that anybody makes, and AWS
 * lets nobody but itself use a source that starts with `aws.`.
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
  };
}
