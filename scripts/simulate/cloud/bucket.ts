import { createHash } from 'node:crypto';
import { CorruptRecord } from '../../../shared/snapshot/errors.ts';
import type { Listed, ObjectStore, Stored } from '../../../shared/snapshot/store.ts';

type StoredObject = {
  body: string | Uint8Array;
  etag: string;
  lastModified: Date;
  checksum: string | undefined;
};

/** Called with every text that is written. */
export type BucketWatcher = (key: string, text: string) => void;

/**
 * A bucket in memory with the conditions of S3. Its folders are maps of their own, since a sweep lists one of them every few minutes. It
 * keeps texts as they are and hashes them only when a hash is read.
 */
export class Bucket implements ObjectStore {
  /** The largest object of each folder, in characters. */
  readonly largest = new Map<string, number>();
  /** Whether S3 fails at present. */
  isFailing: () => boolean = () => false;
  onWrite: BucketWatcher = () => {};
  onCall: () => void = () => {};
  private readonly folders = new Map<string, Map<string, StoredObject>>();
  private readonly now: () => number;
  private version = 0;

  constructor(now: () => number) {
    this.now = now;
  }

  put(
    key: string,
    body: string | Uint8Array,
    lastModified = new Date(this.now()),
    checksum?: string,
  ): string {
    this.version += 1;
    const etag = `"${this.version}"`;
    this.folder(key).set(key, { body, etag, lastModified, checksum });
    return etag;
  }

  async read(key: string, maxBytes = 1024 * 1024): Promise<Stored | undefined> {
    this.call();
    const found = this.folder(key).get(key);
    if (!found) return undefined;
    if (found.body.length > maxBytes) throw new CorruptRecord(key, `has more than ${maxBytes} bytes`);
    const { body, etag } = found;
    return {
      text: typeof body === 'string' ? body : Buffer.from(body).toString('utf8'),
      etag,
      get sha256() {
        return createHash('sha256').update(body).digest('hex');
      },
    };
  }

  async write(
    key: string,
    value: unknown,
    precondition: { ifNoneMatch: true } | { ifMatch: string },
  ): Promise<string | undefined> {
    this.call();
    const found = this.folder(key).get(key);
    const holds = 'ifMatch' in precondition ? found?.etag === precondition.ifMatch : !found;
    if (!holds) return undefined;
    const text = JSON.stringify(value);
    this.onWrite(key, text);
    const folder = folderOf(key);
    if (text.length > (this.largest.get(folder) ?? 0)) this.largest.set(folder, text.length);
    return this.put(key, text);
  }

  async remove(key: string, ifMatch?: string): Promise<boolean> {
    this.call();
    const folder = this.folder(key);
    if (ifMatch !== undefined && folder.get(key)?.etag !== ifMatch) return false;
    folder.delete(key);
    return true;
  }

  async *list(prefix: string): AsyncGenerator<Listed> {
    this.call();
    const listed: Listed[] = [];
    for (const [folder, objects] of this.folders) {
      if (!folder.startsWith(prefix) && !prefix.startsWith(folder)) continue;
      for (const [key, { body, lastModified }] of objects) {
        if (key.startsWith(prefix)) listed.push({ key, bytes: body.length, lastModified });
      }
    }
    yield* listed.sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  async head(key: string) {
    this.call();
    const found = this.folder(key).get(key);
    return found && { bytes: found.body.length, checksum: found.checksum };
  }

  async readRange(key: string, start: number, length: number): Promise<Uint8Array> {
    this.call();
    const found = this.folder(key).get(key);
    if (!found) throw Object.assign(new Error(`no object ${key}`), { name: 'NoSuchKey' });
    return Buffer.from(found.body as Uint8Array).subarray(start, start + length);
  }

  /** Reads that do not fail: of the simulation itself, and of runners, which try again for minutes. */
  async patiently<T>(read: () => Promise<T>): Promise<T> {
    const { isFailing } = this;
    this.isFailing = () => false;
    try {
      return await read();
    } finally {
      this.isFailing = isFailing;
    }
  }

  private call(): void {
    this.onCall();
    if (this.isFailing()) {
      throw Object.assign(new Error('Please reduce your request rate.'), {
        name: 'SlowDown',
        $metadata: { httpStatusCode: 503 },
      });
    }
  }

  private folder(key: string): Map<string, StoredObject> {
    const name = folderOf(key);
    let folder = this.folders.get(name);
    if (!folder) {
      folder = new Map();
      this.folders.set(name, folder);
    }
    return folder;
  }
}

function folderOf(key: string): string {
  return key.slice(0, key.lastIndexOf('/') + 1);
}
