import { CorruptRecord } from '../errors.ts';
import { type Listed, type ObjectStore, storedOf } from '../store.ts';

/** A bucket in memory with the conditions of S3 and listings in its order. */
export type MemoryStore = ObjectStore & {
  /** @param checksum the SHA-256 that S3 would report; none if absent */
  put(key: string, body: string | Uint8Array, lastModified?: Date, checksum?: string): void;
  keys(): string[];
};

/** @param now time of a write */
export function memoryStore(now: () => Date = () => new Date(0)): MemoryStore {
  const objects = new Map<
    string,
    { body: Uint8Array; etag: string; lastModified: Date; checksum?: string }
  >();
  let version = 0;

  function put(key: string, body: string | Uint8Array, lastModified = now(), checksum?: string): string {
    version += 1;
    const etag = `"${version}"`;
    objects.set(key, {
      body: typeof body === 'string' ? new TextEncoder().encode(body) : body,
      etag,
      lastModified,
      ...(checksum !== undefined && { checksum }),
    });
    return etag;
  }

  return {
    put,
    keys: () => [...objects.keys()].sort(),
    async read(key, maxBytes = 1024 * 1024) {
      const found = objects.get(key);
      if (found && found.body.length > maxBytes)
        throw new CorruptRecord(key, `has more than ${maxBytes} bytes`);
      return found && storedOf(found.body, found.etag);
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
    async head(key) {
      const found = objects.get(key);
      return found && { bytes: found.body.length, checksum: found.checksum };
    },
    async readRange(key, start, length) {
      const found = objects.get(key);
      if (!found) throw Object.assign(new Error(`no object ${key}`), { name: 'NoSuchKey' });
      return found.body.subarray(start, start + length);
    },
  };
}
