/**
 * Lets all who ask while a call is waiting to begin share it. A batch of ten records asks for ten looks at the same tree;
 * the first look begins after all of them have asked, and the others need none of their own.
 *
 * One who asks after the shared call has begun gets the next one: what they heard of may be newer than what it reads.
 */
export function coalesce<T>(call: () => Promise<T>): () => Promise<T> {
  let running: Promise<unknown> = Promise.resolve();
  let waiting: Promise<T> | undefined;
  return () => {
    waiting ??= running.then(() => {
      const begun = Promise.resolve().then(() => {
        waiting = undefined;
        return call();
      });
      running = begun.catch(() => undefined);
      return begun;
    });
    return waiting;
  };
}
