import { SERVICE_SENDER } from './callers.ts';

/** Records the sender of each message, as SQS does and the emulator does not. */
export type Senders = {
  /**
   * Watches one SendMessage or SendMessageBatch call.
   *
   * @param senderId of the caller that signed it
   * @param answer its response body, once there is one; undefined if the call failed
   */
  watch(senderId: string, answer: Promise<string | undefined>): void;
  /** The `SenderId` of a message. A message that did not pass the gateway is from a rule or a schedule. */
  of(messageId: string): Promise<string>;
};

export function createSenders(): Senders {
  const byMessage = new Map<string, string>();
  const pending = new Set<Promise<void>>();
  return {
    watch(senderId, answer) {
      const watched = answer.then((text) => {
        for (const id of messageIds(text ?? '')) byMessage.set(id, senderId);
        pending.delete(watched);
      });
      pending.add(watched);
    },
    async of(messageId) {
      // A function can receive a message before its sender has read the answer, so this waits for pending answers.
      if (!byMessage.has(messageId)) await Promise.all(pending);
      return byMessage.get(messageId) ?? SERVICE_SENDER;
    },
  };
}

function messageIds(text: string): string[] {
  return [...text.matchAll(/"MessageId"\s*:\s*"([^"]+)"/g)].flatMap(([, id]) => (id ? [id] : []));
}
