import { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { expect, test } from 'vitest';
import { reportBus } from './bus.ts';
import { REPORTS } from './testing/fake-fleet.ts';

/** A real client whose calls are answered here, before they would leave the process. */
function answering(answer: object) {
  const client = new EventBridgeClient({ region: 'us-east-1' });
  const sent: { command: string | undefined; input: object }[] = [];
  client.middlewareStack.add(
    (_next, context) => async (args) => {
      sent.push({ command: context.commandName, input: args.input });
      return { output: { $metadata: {}, ...answer }, response: {} };
    },
    { step: 'initialize', name: 'answer' },
  );
  return { bus: reportBus(client, 'default'), sent };
}

test('a report is put on the bus as an event of this function', async () => {
  const { bus, sent } = answering({ FailedEntryCount: 0, Entries: [{ EventId: '1' }] });
  await bus.publish(REPORTS.ready);
  expect(sent).toEqual([
    {
      command: PutEventsCommand.name,
      input: {
        Entries: [
          {
            EventBusName: 'default',
            Source: 'aw.lifecycle',
            DetailType: 'Runner Ready',
            Detail: JSON.stringify(REPORTS.ready),
          },
        ],
      },
    },
  ]);
});

test('an entry that the bus did not take is tried again, though the call succeeded', async () => {
  const { bus } = answering({
    FailedEntryCount: 1,
    Entries: [{ ErrorCode: 'ThrottlingException', ErrorMessage: 'slow down' }],
  });
  await expect(bus.publish(REPORTS.failed)).rejects.toMatchObject({
    name: 'RetryableError',
    reason: 'report-not-published',
    message: expect.stringContaining('ThrottlingException: slow down'),
  });
});
