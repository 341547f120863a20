import { readFile } from 'node:fs/promises';
import type { CacheStore } from '../store.ts';

type Stored = { body: Buffer; storedAt: number };

/** S3 in memory: conditional writes, and lifecycle rules that remove objects as late as the test wants. */
export function fakeStore(now: () => number) {
  const objects = new Map<string, Stored>();
  const calls: string[] = [];
  let isDown = false;
  let failures = 0;

  const store: CacheStore = {
    async get(key) {
      calls.push(`GET ${key}`);
      if (isDown) failures += 1;
      const found = isDown ? undefined : objects.get(key);
      if (!found) return undefined;
      async function* body() {
        yield found?.body.subarray(0, 10) ?? Buffer.alloc(0);
        yield found?.body.subarray(10) ?? Buffer.alloc(0);
      }
      return { body: body(), bytes: found.body.length, storedAt: found.storedAt, abort() {} };
    },
    async storedAt(key) {
      calls.push(`HEAD ${key}`);
      return isDown ? undefined : objects.get(key)?.storedAt;
    },
    async put(key, body, { isNew, signal }) {
      calls.push(`PUT ${key}`);
      signal.throwIfAborted();
      if (isDown) {
        failures += 1;
        throw new Error('S3 is down');
      }
      if (isNew && objects.has(key)) return 'exists';
      objects.set(key, { body: Buffer.isBuffer(body) ? body : await readFile(body.file), storedAt: now() });
      return 'stored';
    },
    async text(key) {
      if (isDown) throw new Error('S3 is down');
      return objects.get(key)?.body.toString() ?? null;
    },
    failures: () => failures,
  };
  return {
    store,
    objects,
    calls,
    setDown: (value: boolean) => {
      isDown = value;
    },
    keys: (kind: string) => [...objects.keys()].filter((key) => key.includes(`/${kind}/`)),
  };
}
