import { expect, test } from 'vitest';
import { SERVICE_SENDER } from './callers.ts';
import { createSenders } from './senders.ts';

test('a message is its sender’s, even if it is asked for before the sender has its answer', async () => {
  const senders = createSenders();
  const answer = Promise.withResolvers<string | undefined>();
  senders.watch('AROALOCALRUNNER:i-1', answer.promise);
  const asked = senders.of('m-1');
  answer.resolve('{"MessageId":"m-1","MD5OfMessageBody":"x"}');
  expect(await asked).toBe('AROALOCALRUNNER:i-1');
});

test('every message of a batch', async () => {
  const senders = createSenders();
  senders.watch('sender', Promise.resolve('{"Successful":[{"MessageId": "a"},{"MessageId": "b"}]}'));
  expect([await senders.of('a'), await senders.of('b')]).toEqual(['sender', 'sender']);
});

test('what nobody sent through the gateway came from the service, also while another call fails', async () => {
  const senders = createSenders();
  senders.watch('sender', Promise.resolve(undefined));
  expect(await senders.of('a')).toBe(SERVICE_SENDER);
});
