/** Things in the order in which they happened, for those who look back and for those who look on. */
export type Feed<T> = {
  /** Everything so far. */
  readonly all: readonly T[];
  add(item: T): void;
  /** Calls `look` with each later item; the returned function ends it. */
  follow(look: (item: T) => void): () => void;
};

export function createFeed<T>(): Feed<T> {
  const all: T[] = [];
  const followers = new Set<(item: T) => void>();
  return {
    all,
    add(item) {
      all.push(item);
      for (const look of followers) look(item);
    },
    follow(look) {
      followers.add(look);
      return () => followers.delete(look);
    },
  };
}
