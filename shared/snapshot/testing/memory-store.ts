import type { Listed, ObjectStore } from '../store.ts';

/** A bucket in memory with the conditions of S3 and listings in its order. */
export type MemoryStore = ObjectStore & {
  put(key: string, body: string | Uint8Array, lastModified?: Date): void;
  keys(): string[];
};

/** @param now time of a write */
export function memoryStore(now: () => Date = () => new Date(0)): MemoryStore {
  const objects = new Map<string, { body: Uint8Array; etag: string; lastModified: Date }>();
  let version = 0;

  function put(key: string, body: string | Uint8Array, lastModified = now()): string {
    version += 1;
    const etag = `"${version}"`;
    objects.set(key, {
      body: typeof body === 'string' ? new TextEncoder().encode(body) : body,
      etag,
      lastModified,
    });
    return etag;
  }

  return {
    put,
    keys: () => [...objects.keys()].sort(),
    async read(key) {
      const found = objects.get(key);
      return found && { text: new TextDecoder().decode(found.body), etag: found.etag };
    },
    async write(key, value, precondition) {
      const found = objects.get(key);
      const holds = 'ifMatch' in precondition ? found?.etag === precondition.ifMatch : !found;
      return holds ? put(key, JSON.stringify(value)) : undefined;
    },
    async remove(key, ifMatch) {
      if (ifMatch !== undefined && objects.get(key)?.etag !== ifMatch) return false;
      objects.delete(key);
      return true;
    },
    async *list(prefix) {
      const listed: Listed[] = [];
      for (const [key, { body, lastModified }] of objects) {
        if (key.startsWith(prefix)) listed.push({ key, bytes: body.length, lastModified });
      }
      yield* listed.sort((a, b) => (a.key < b.key ? -1 : 1));
    },
    async checksum() {
      return undefined;
    },
    async size(key) {
      return objects.get(key)?.body.length;
    },
    async readRange(key, start, length) {
      const found = objects.get(key);
      if (!found) throw Object.assign(new Error(`no object ${key}`), { name: 'NoSuchKey' });
      return found.body.subarray(start, start + length);
    },
  };
}
