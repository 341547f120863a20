import { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { expect, test } from 'vitest';
import { REPORTS } from '../testing/fake-fleet.ts';
import { eventPublisher } from './event-publisher.ts';

/** A real client whose calls are answered before they leave the process. */
function answering(answer: object, prefix = 'aw') {
  const client = new EventBridgeClient({ region: 'us-east-1' });
  const sent: { command: string | undefined; input: object }[] = [];
  client.middlewareStack.add(
    (_next, context) => async (args) => {
      sent.push({ command: context.commandName, input: args.input });
      return { output: { $metadata: {}, ...answer }, response: {} };
    },
    { step: 'initialize', name: 'answer' },
  );
  return { events: eventPublisher(client, 'default', prefix), sent };
}

test('a report is published as an event of this deployment', async () => {
  const { events, sent } = answering({ FailedEntryCount: 0, Entries: [{ EventId: '1' }] });
  await events.publish(REPORTS.ready);
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

test('the source of an event has the prefix of its deployment, so that two deployments of one account stay apart', async () => {
  const { events, sent } = answering({ FailedEntryCount: 0 }, 'ci');
  await events.publish(REPORTS.failed);
  expect(sent).toMatchObject([{ input: { Entries: [{ Source: 'ci.lifecycle' }] } }]);
});

test('an entry that EventBridge rejects is retried, although the call succeeded', async () => {
  const { events } = answering({
    FailedEntryCount: 1,
    Entries: [{ ErrorCode: 'ThrottlingException', ErrorMessage: 'slow down' }],
  });
  await expect(events.publish(REPORTS.failed)).rejects.toMatchObject({
    name: 'RetryableError',
    reason: 'report-not-published',
    message: expect.stringContaining('ThrottlingException: slow down'),
  });
});
