/** A list of items in the order of their occurrence, with subscriptions to later items. */
export type Feed<T> = {
  /** Everything so far. */
  readonly all: readonly T[];
  add(item: T): void;
  /** Calls `listener` with each later item. The returned function ends the subscription. */
  follow(listener: (item: T) => void): () => void;
};

export function createFeed<T>(): Feed<T> {
  const all: T[] = [];
  const listeners = new Set<(item: T) => void>();
  return {
    all,
    add(item) {
      all.push(item);
      for (const listener of listeners) listener(item);
    },
    follow(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
