import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { parseSetKey, pointerKey } from '../../../shared/snapshot/layout.ts';
import { emptyPointer, promote } from '../../../shared/snapshot/pointer.ts';
import { readManifest } from '../../../shared/snapshot/records.ts';
import { type ObjectStore, s3Store } from '../../../shared/snapshot/store.ts';
import { localS3 } from '../../support/s3-client.ts';

export const BUCKET = 'bench';
export const SET = 'default';

/** A local S3, and what the benchmarks do with it. */
export type Bucket = {
  url: string;
  store: ObjectStore;
  /** Environment of programs that are to use it. */
  env: Record<string, string>;
  urlOf(key: string): string;
  manifests(): Promise<string[]>;
  /** Makes a snapshot the set's current one. */
  makeCurrent(id: string): Promise<void>;
  empty(): Promise<void>;
  close(): void;
};

/** @param link `shaped`: with the rate and the latency of S3; `archive`: one stream of 400 MB/s */
export async function startBucket(link: 'shaped' | 'unshaped' | 'archive'): Promise<Bucket> {
  const server: ChildProcess = spawn(process.execPath, [join(import.meta.dirname, 'endpoint.ts'), link], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  if (!server.stdout || !server.stdin) throw new Error('the endpoint has no pipes');
  const [address] = await once(server.stdout, 'data');
  const url = String(address).trim();
  const env = {
    AWS_ENDPOINT_URL: url,
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'test',
  };
  const client = localS3(url);
  const store = s3Store(client, BUCKET);
  const keys = async (prefix: string) => {
    const found: string[] = [];
    for await (const { key } of store.list(prefix)) found.push(key);
    return found;
  };
  return {
    url,
    store,
    env,
    urlOf: (key) => `${url}/${BUCKET}/${key}`,
    async manifests() {
      return (await keys('sets/')).flatMap((key) => {
        const parsed = parseSetKey(key);
        return parsed?.kind === 'manifest' ? [parsed.id] : [];
      });
    },
    async makeCurrent(id) {
      const at = new Date();
      await store.remove(pointerKey(SET));
      const manifest = await readManifest(store, SET, id);
      if (!manifest) throw new Error(`there is no snapshot ${id}`);
      const pointer = promote(emptyPointer(at), { id, manifestSha256: manifest.sha256 }, at);
      await store.write(pointerKey(SET), pointer, { ifNoneMatch: true });
    },
    async empty() {
      for (const key of await keys('')) await store.remove(key);
    },
    close() {
      client.destroy();
      server.stdin?.end();
    },
  };
}
