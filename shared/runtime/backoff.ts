/** First wait, in seconds. It doubles with each receive. */
const BASE_SECONDS = 2;

/** Longest wait, in seconds. It stays well below the heartbeat timeout of a lifecycle hook (300 s). */
const CAP_SECONDS = 120;

/** SQS's limit for a message's visibility timeout, in seconds (12 hours; SQS quotas). */
export const MAX_VISIBILITY_SECONDS = 43_200;

/**
 * Seconds until the next receive of a message that has been received `receiveCount` times: exponential, and the upper half
 * of the wait is random, so that messages which failed together do not return together.
 *
 * @param random in [0, 1)
 */
export function backoffSeconds(receiveCount: number, random: number = Math.random()): number {
  const ceiling = Math.min(CAP_SECONDS, BASE_SECONDS * 2 ** Math.max(0, receiveCount - 1));
  return Math.ceil(ceiling / 2 + (ceiling / 2) * random);
}
