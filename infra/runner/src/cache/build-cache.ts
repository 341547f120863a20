import { hash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import * as v from 'valibot';
import {
  actionKey,
  type CachePlace,
  type CacheTool,
  CLAIM_MS,
  epochKey,
  epochSchema,
  OUTPUT_MS,
  outputKey,
  toolKey,
} from '../../../../shared/fleet/build-cache.ts';
import { errorText } from '../../../../shared/runtime/errors.ts';
import {
  type ActionRecord,
  decodeRecord,
  encodeRecord,
  MAX_RECORD,
  SMALL_OUTPUT,
  splitOutputs,
} from './action-record.ts';
import {
  type ActionReferences,
  type Digest,
  MAX_OUTPUTS,
  readActionResult,
  readDirectory,
  readTree,
  TooManyOutputs,
  UnreadableMessage,
} from './action-result.ts';
import type { DiskTier, TemporaryFile } from './disk-tier.ts';
import { limiter } from './limiter.ts';
import { MemoryTier } from './memory-tier.ts';
import { CorruptObject, seal, sealFile, unseal, unsealed, unsealSmall } from './sealed.ts';
import type { CacheStore, StoredObject } from './store.ts';
import type { Uploads } from './uploads.ts';

/** Largest output, and largest entry of another tool, in bytes. S3 takes 5 GB in one request. */
export const MAX_OUTPUT = 2 * 2 ** 30;
export const MAX_ENTRY = 2 ** 30;

/** Largest size of all messages of one action that name the files of directories, in bytes. An action with more is not cached. */
const MAX_TREE = 32 * 2 ** 20;

/**
 * Objects above this size are sent while they arrive, since a client does not wait for all of them; their last piece is held back
 * until the digest is checked. Others are checked first. In bytes.
 */
const STREAM_ABOVE = 32 * 2 ** 20;

/** Objects up to this size are read into memory, if their content is no larger than `SMALL_CONTENT`; in bytes. */
const SMALL_OBJECT = 256 * 1024;
const SMALL_CONTENT = 2 * 2 ** 20;

/** Content of small outputs in memory, in bytes. */
const MEMORY_BYTES = 16 * 2 ** 20;

/** Time of the uploads of a job after its end, in milliseconds. */
const TURNOVER_MS = 10_000;

/** Large outputs that are stored at once, in all uploads, and questions whether one exists. */
const LARGE_AT_ONCE = 4;
const QUESTIONS_AT_ONCE = 32;

/** Long results, lists of directories and long records that are read at once: each can take some 60 MB. */
const LONG_AT_ONCE = 2;

/** What one output of an action takes of the memory, in bytes. */
const DIGEST_MEMORY = 200;

/** Most facts in memory about objects in S3. */
const MOST_KNOWN = 100_000;

/** The digest of no content, which always exists. */
const EMPTY = hash('sha256', '', 'hex');

/** Content that does not have the digest of its name. */
export class WrongDigest extends Error {
  override readonly name = 'WrongDigest';
}

/** An action lacks an output, so it is not stored. */
class Incomplete extends Error {
  override readonly name = 'Incomplete';
}

/** What an instance may do with the cache. Permissions of its role enforce the same. */
export type CacheAccess = {
  mode: 'read' | 'write';
  /** The scope that the group reads first, and the only one that it writes. */
  scope: string;
  /** Further scopes that it reads, in this order. */
  reads: readonly string[];
  /** Whether each job starts without the claims of the one before. */
  perJob: boolean;
};

/** A body as a client has sent it. Without content and file it found no room. */
export type Received = { bytes: number; sha256: string; content?: Buffer; file?: TemporaryFile };

/** Content of an answer. */
export type Content = { bytes: Buffer } | { file: string; size: number } | { pieces: AsyncIterable<Buffer> };

/** Counted since the start of the process. */
export type CacheNumbers = {
  hits: number;
  misses: number;
  /** Bytes that jobs have got. */
  servedBytes: number;
  /** Bytes that were stored in S3. */
  storedBytes: number;
  /** Actions and entries that were not stored in S3 although they should have been. */
  dropped: number;
  /** Requests to S3 that failed. */
  failures: number;
};

export type CacheParts = {
  access: CacheAccess;
  disk: DiskTier;
  store: CacheStore;
  uploads: Uploads;
  log(line: string): void;
  /** Milliseconds since 1970. */
  now(): number;
};

/**
 * The build cache of one instance. An output proves itself by its digest, so all jobs share those on the disk. An action and an
 * entry of another tool are claims: those of a job are kept with that job, and those on the disk for all jobs came from S3, where
 * the permissions of roles decide who may claim.
 */
export class BuildCache {
  readonly #access: CacheAccess;
  readonly #disk: DiskTier;
  readonly #store: CacheStore;
  readonly #uploads: Uploads;
  readonly #log: (line: string) => void;
  readonly #now: () => number;
  readonly #memory = new MemoryTier(MEMORY_BYTES);
  readonly #scopes: readonly string[];
  /** The epoch of each scope. A scope whose epoch is not known is not used. */
  readonly #epochs = new Map<string, number>();
  /** Large outputs in S3: where, and since when. */
  readonly #known = new Map<string, { scope: string; storedAt: number }>();
  /** Large outputs whose object in S3 is broken. */
  readonly #broken = new Set<string>();
  readonly #flights = new Map<string, Promise<unknown>>();
  readonly #large = limiter(LARGE_AT_ONCE);
  readonly #questions = limiter(QUESTIONS_AT_ONCE);
  readonly #results = limiter(LONG_AT_ONCE);
  readonly #directories = limiter(LONG_AT_ONCE);
  readonly #records = limiter(LONG_AT_ONCE);
  #job = 1;
  #hits = 0;
  #misses = 0;
  #servedBytes = 0;
  #storedBytes = 0;
  #dropped = 0;

  constructor({ access, disk, store, uploads, log, now }: CacheParts) {
    this.#access = access;
    this.#disk = disk;
    this.#store = store;
    this.#uploads = uploads;
    this.#log = log;
    this.#now = now;
    this.#scopes = [access.scope, ...access.reads];
  }

  numbers(): CacheNumbers {
    return {
      hits: this.#hits,
      misses: this.#misses,
      servedBytes: this.#servedBytes,
      storedBytes: this.#storedBytes,
      dropped: this.#dropped + this.#uploads.dropped(),
      failures: this.#store.failures(),
    };
  }

  served(bytes: number): void {
    this.#servedBytes += bytes;
  }

  /** Reads the epoch of each scope. One that cannot be read keeps its epoch. @returns whether all are known */
  async readEpochs(): Promise<boolean> {
    await Promise.all(
      this.#scopes.map(async (scope) => {
        try {
          const text = await this.#store.text(epochKey(scope));
          const epoch =
            text === null ? 0 : v.parse(v.pipe(v.string(), v.parseJson(), epochSchema), text).epoch;
          const before = this.#epochs.get(scope);
          if (before !== undefined && before !== epoch) {
            this.#log(`the scope ${scope} has the epoch ${epoch} now: what was stored before is not used`);
          }
          this.#epochs.set(scope, epoch);
        } catch (error) {
          this.#log(`the epoch of the scope ${scope} cannot be read: ${errorText(error)}`);
        }
      }),
    );
    return this.#scopes.every((scope) => this.#epochs.has(scope));
  }

  /** Whether each job starts without the claims of the one before. */
  get isPerJob(): boolean {
    return this.#access.perJob;
  }

  /** Which job runs. What a job has sent makes no claim for a later one, however late it is read. */
  get job(): number {
    return this.#access.perJob ? this.#job : 0;
  }

  /** The job of the instance has ended: its claims are gone at once, and its uploads have a time limit. */
  turnover(): void {
    if (!this.#access.perJob) return;
    const ended = jobFolder(this.#job);
    this.#job += 1;
    this.#uploads.limit(TURNOVER_MS);
    // Uploads read these files.
    setTimeout(() => {
      this.#disk.removeFolder(ended).catch((error: unknown) => this.#log(`${ended}: ${errorText(error)}`));
    }, TURNOVER_MS).unref();
  }

  /** Waits until everything is stored, at most for this time. */
  drain(milliseconds: number): Promise<void> {
    return this.#uploads.finish(milliseconds);
  }

  /** The result of an action whose outputs all exist; undefined: the client runs the action. */
  async action(sha256: string): Promise<Buffer | undefined> {
    const result =
      (await this.#localAction(sha256)) ??
      (await this.#once(`act/${sha256}`, () => this.#fetchAction(sha256)));
    this.#count(result !== undefined);
    return result;
  }

  /**
   * Keeps the result of an action for the job that sent it, and stores it in S3 if the group may.
   *
   * @throws {UnreadableMessage}
   */
  async putAction(job: number, sha256: string, { content, file }: Received): Promise<void> {
    try {
      if (content) await this.#putResult(job, sha256, content);
      else if (!file) this.#dropped += 1;
      else await this.#results(async () => this.#putResult(job, sha256, await readFile(file.path)));
    } finally {
      await file?.discard();
    }
  }

  async #putResult(job: number, sha256: string, result: Buffer): Promise<void> {
    const outputs = await this.#outputsOf(job, result).catch((error: unknown) => {
      if (error instanceof TooManyOutputs) return undefined;
      throw error;
    });
    if (!outputs) {
      this.#dropped += 1;
      return;
    }
    if (job !== this.job) return;
    const record = { result, outputs };
    await this.#disk.write(`${jobFolder(job)}/act/${spread(sha256)}`, encodeRecord(record));
    if (this.#access.mode !== 'write') return;
    this.#uploads.add({
      name: `action ${sha256}`,
      bytes: outputs.reduce((sum, output) => sum + output.bytes, result.length),
      memory: result.length + outputs.length * DIGEST_MEMORY,
      run: (signal) => this.#storeAction(sha256, record, signal),
    });
  }

  async output(sha256: string): Promise<Content | undefined> {
    if (sha256 === EMPTY) return { bytes: Buffer.alloc(0) };
    const local = await this.#localContent(sha256);
    if (local) return local;
    return this.#fetch(outputName(sha256), MAX_OUTPUT, sha256, async () => {
      for (const scope of this.#scopesOf(sha256)) {
        const place = this.#place(scope);
        const object = place && (await this.#store.get(outputKey(place, sha256)));
        if (object) return object;
        this.#known.delete(sha256);
      }
      return undefined;
    });
  }

  /** Keeps an output on this instance. It is stored in S3 with the action that names it. @throws {WrongDigest} */
  async putOutput(sha256: string, { sha256: found, content, file }: Received): Promise<void> {
    if (found !== sha256) {
      await file?.discard();
      throw new WrongDigest(`the content has the digest ${found}`);
    }
    if (content) await this.#keep(sha256, content);
    else await file?.adopt(outputName(sha256));
  }

  /** @param key in the characters of a URL path */
  async entry(tool: CacheTool, key: string): Promise<Content | undefined> {
    const found = await this.#findEntry(tool, key);
    this.#count(found !== undefined);
    return found;
  }

  async putEntry(
    job: number,
    tool: CacheTool,
    key: string,
    { bytes, sha256, content, file }: Received,
  ): Promise<void> {
    if (job !== this.job) return file?.discard();
    const name = `${jobFolder(job)}/${tool}/${spread(hash('sha256', key, 'hex'))}`;
    const isKept = content ? await this.#disk.write(name, content) : await file?.adopt(name);
    if (this.#access.mode !== 'write') return;
    if (!isKept) {
      this.#dropped += 1;
      return;
    }
    this.#uploads.add({
      name: `${tool} ${key}`,
      bytes,
      memory: key.length,
      run: async (signal) => {
        const object = toolKey(this.#ownPlace(), tool, key);
        await this.#storeFile(object, this.#disk.path(name), sha256, { isNew: true, signal });
      },
    });
  }

  #count(isHit: boolean): void {
    if (isHit) this.#hits += 1;
    else this.#misses += 1;
  }

  #place(scope: string): CachePlace | undefined {
    const epoch = this.#epochs.get(scope);
    return epoch === undefined ? undefined : { scope, epoch };
  }

  #ownPlace(): CachePlace {
    const place = this.#place(this.#access.scope);
    if (!place) throw new Error(`the epoch of the scope ${this.#access.scope} is not known`);
    return place;
  }

  /** The scopes in which an output can be, the likeliest first. */
  #scopesOf(sha256: string): readonly string[] {
    const known = this.#known.get(sha256)?.scope;
    return known === undefined ? this.#scopes : [known, ...this.#scopes.filter((scope) => scope !== known)];
  }

  async #localAction(sha256: string): Promise<Buffer | undefined> {
    const names = [`${jobFolder(this.job)}/act/${spread(sha256)}`];
    for (const scope of this.#scopes) {
      const place = this.#place(scope);
      if (place) names.push(actionName(place, sha256));
    }
    for (const name of names) {
      const bytes =
        this.#disk.bytes(name) === undefined ? undefined : await readOrMissing(this.#disk.path(name));
      if (!bytes) continue;
      try {
        const record = decodeRecord(bytes);
        if (await this.#isComplete(record)) return record.result;
      } catch (error) {
        if (!(error instanceof UnreadableMessage)) throw error;
        this.#log(`${name} is not used: ${error.message}`);
        this.#disk.remove(name);
      }
    }
    return undefined;
  }

  /** Whether every output is on this instance, or is a large one that S3 has. */
  async #isComplete({ outputs }: ActionRecord): Promise<boolean> {
    const { bundled, large } = splitOutputs(outputs);
    if (!bundled.every((output) => this.#has(output.sha256))) return false;
    return this.#areStored(large.filter((output) => !this.#has(output.sha256)));
  }

  #has(sha256: string): boolean {
    return this.#memory.get(sha256) !== undefined || this.#disk.bytes(outputName(sha256)) !== undefined;
  }

  async #areStored(outputs: readonly Digest[]): Promise<boolean> {
    let isMissing = false;
    // After the first one that is missing the others do not matter, and each question has a price.
    const ask = async (sha256: string) => {
      if (!isMissing && !(await this.#isStored(sha256))) isMissing = true;
    };
    await Promise.all(outputs.map(({ sha256 }) => this.#questions(() => ask(sha256))));
    return !isMissing;
  }

  async #isStored(sha256: string): Promise<boolean> {
    const known = this.#known.get(sha256);
    if (known && this.#now() - known.storedAt < OUTPUT_MS) return true;
    for (const scope of this.#scopes) {
      const place = this.#place(scope);
      const storedAt = place && (await this.#store.storedAt(outputKey(place, sha256)));
      if (storedAt === undefined) continue;
      this.#learn(sha256, { scope, storedAt });
      return true;
    }
    return false;
  }

  #learn(sha256: string, where: { scope: string; storedAt: number }): void {
    if (this.#known.size >= MOST_KNOWN) this.#known.clear();
    this.#known.set(sha256, where);
  }

  async #fetchAction(sha256: string): Promise<Buffer | undefined> {
    for (const scope of this.#scopes) {
      const place = this.#place(scope);
      const object = place && (await this.#store.get(actionKey(place, sha256)));
      if (!object) continue;
      const record = await this.#readRecord(object, `the action ${sha256}`);
      if (!record) continue;
      await Promise.all([...record.contents].map(([name, content]) => this.#keep(name, content)));
      const alone = record.outputs.filter((output) => !record.contents.has(output.sha256));
      if (!(await this.#areStored(alone.filter((output) => !this.#has(output.sha256))))) continue;
      await this.#disk.write(actionName(place, sha256), encodeRecord(record));
      return record.result;
    }
    return undefined;
  }

  async #readRecord(
    object: StoredObject,
    what: string,
  ): Promise<ReturnType<typeof decodeRecord> | undefined> {
    // A lifecycle rule removes an object at some time after its lifetime. Its outputs can be gone by then.
    if (this.#isExpired(object) || object.bytes > MAX_RECORD) {
      object.abort();
      return undefined;
    }
    try {
      if (object.bytes > SMALL_OBJECT)
        return await this.#records(async () => decodeRecord(await unseal(await whole(object), MAX_RECORD)));
      const body = await whole(object);
      const content = unsealSmall(body, SMALL_CONTENT);
      if (content) return decodeRecord(content);
      return await this.#records(async () => decodeRecord(await unseal(body, MAX_RECORD)));
    } catch (error) {
      this.#log(`${what} is not used: ${errorText(error)}`);
      return undefined;
    }
  }

  #isExpired({ storedAt }: StoredObject): boolean {
    return this.#now() - storedAt > CLAIM_MS;
  }

  /** Content that has its digest. */
  async #keep(sha256: string, content: Buffer): Promise<void> {
    if (content.length <= SMALL_OUTPUT) this.#memory.set(sha256, content);
    if (this.#disk.bytes(outputName(sha256)) === undefined)
      await this.#disk.write(outputName(sha256), content);
  }

  async #localContent(sha256: string): Promise<Content | undefined> {
    const bytes = this.#memory.get(sha256);
    return bytes ? { bytes } : this.#file(outputName(sha256));
  }

  async #file(name: string): Promise<Content | undefined> {
    const size = this.#disk.bytes(name);
    if (size === undefined) return undefined;
    if (size > SMALL_OUTPUT) return { file: this.#disk.path(name), size };
    const bytes = await readOrMissing(this.#disk.path(name));
    return bytes && { bytes };
  }

  async #findEntry(tool: CacheTool, key: string): Promise<Content | undefined> {
    const name = spread(hash('sha256', key, 'hex'));
    const own = await this.#file(`${jobFolder(this.job)}/${tool}/${name}`);
    if (own) return own;
    for (const scope of this.#scopes) {
      const place = this.#place(scope);
      if (!place) continue;
      const file = `${tool}/${scope}/${place.epoch}/${name}`;
      const found =
        (await this.#file(file)) ??
        (await this.#fetch(file, MAX_ENTRY, undefined, async () => {
          const object = await this.#store.get(toolKey(place, tool, key));
          if (!object || !this.#isExpired(object)) return object;
          object.abort();
          return undefined;
        }));
      if (found) return found;
    }
    return undefined;
  }

  /**
   * Content from S3, which is kept on the disk. Requests for the same content at the same time share one.
   *
   * @param name of the file
   * @param sha256 of the content, where it is known
   */
  async #fetch(
    name: string,
    maxBytes: number,
    sha256: string | undefined,
    find: () => Promise<StoredObject | undefined>,
  ): Promise<Content | undefined> {
    let pieces: AsyncIterable<Buffer> | undefined;
    const found = await this.#once(name, async () => {
      const stored = await find();
      if (!stored) return false;
      const { bytes, object } = await this.#small(stored, name, sha256);
      if (!object) return bytes;
      const saving = this.#saving(object, name, maxBytes, sha256);
      if (this.#disk.isOff() || object.bytes > STREAM_ABOVE) {
        pieces = saving;
        return true;
      }
      try {
        for await (const _ of saving) {
          // Written by then.
        }
        return true;
      } catch {
        return false;
      }
    });
    if (pieces) return { pieces };
    if (typeof found === 'object') return { bytes: found };
    // One that another request streams, or that found no room, is missing.
    return found ? this.#file(name) : undefined;
  }

  /**
   * Reads a small object at once, and writes its content to the disk meanwhile: of most objects the latency counts.
   *
   * @returns the content, or false for a broken one; for other objects one that can be read
   */
  async #small(
    object: StoredObject,
    name: string,
    sha256: string | undefined,
  ): Promise<{ bytes: Buffer | false; object?: StoredObject }> {
    if (object.bytes > SMALL_OBJECT) return { bytes: false, object };
    try {
      const body = await whole(object);
      const bytes = unsealSmall(body, SMALL_CONTENT);
      if (!bytes) return { bytes: false, object: { ...object, body: Readable.from([body]) } };
      if (sha256 !== undefined && hash('sha256', bytes, 'hex') !== sha256)
        throw new CorruptObject('the content of the object has another digest');
      this.#disk.write(name, bytes).catch((error: unknown) => this.#log(`${name}: ${errorText(error)}`));
      return { bytes };
    } catch (error) {
      this.#notUsed(name, sha256, error);
      return { bytes: false };
    }
  }

  #notUsed(name: string, sha256: string | undefined, error: unknown): void {
    if (error instanceof CorruptObject && sha256 !== undefined) {
      if (this.#broken.size >= MOST_KNOWN) this.#broken.clear();
      this.#broken.add(sha256);
    }
    this.#log(`${name} is not used: ${errorText(error)}`);
  }

  /** The content of an object, which is a file of the disk tier after the last piece. */
  async *#saving(
    object: StoredObject,
    name: string,
    maxBytes: number,
    sha256: string | undefined,
  ): AsyncGenerator<Buffer> {
    const file = this.#disk.create();
    try {
      for await (const piece of unsealed(object.body, maxBytes, sha256)) {
        await file.write(piece);
        yield piece;
      }
      if (await file.close()) await file.adopt(name);
    } catch (error) {
      this.#notUsed(name, sha256, error);
      throw error;
    } finally {
      object.abort();
      await file.discard();
    }
  }

  /** Everything that a result names, also within directories; undefined if that cannot be known. @throws {UnreadableMessage} */
  async #outputsOf(job: number, result: Buffer): Promise<Digest[] | undefined> {
    const references = readActionResult(result);
    const { files, trees, directories } = references;
    if (trees.length + directories.length > 0)
      return this.#directories(() => this.#withDirectories(job, references));
    return [...new Map(files.map((digest) => [digest.sha256, digest])).values()];
  }

  async #withDirectories(
    job: number,
    { files, trees, directories }: ActionReferences,
  ): Promise<Digest[] | undefined> {
    const found = new Map<string, Digest>();
    let left = MAX_TREE;
    const message = async ({ sha256, bytes }: Digest): Promise<Buffer | undefined> => {
      left -= bytes;
      return left < 0 || found.size > MAX_OUTPUTS || job !== this.job ? undefined : this.#read(sha256, bytes);
    };
    const add = (digests: readonly Digest[]) => {
      for (const digest of digests) found.set(digest.sha256, digest);
    };
    add(files);
    for (const tree of trees) {
      const content = await message(tree);
      if (!content) return undefined;
      add([tree, ...readTree(content)]);
    }
    const open = [...directories];
    const seen = new Set<string>();
    for (let next = open.pop(); next; next = open.pop()) {
      if (seen.has(next.sha256)) continue;
      seen.add(next.sha256);
      const content = await message(next);
      if (!content) return undefined;
      const inside = readDirectory(content);
      add([next, ...inside.files]);
      open.push(...inside.directories);
    }
    return found.size > MAX_OUTPUTS ? undefined : [...found.values()];
  }

  /** Local content with this size, which a job can have made up. */
  async #read(sha256: string, bytes: number): Promise<Buffer | undefined> {
    const local = await this.#localContent(sha256);
    if (!local || 'pieces' in local) return undefined;
    if ('bytes' in local) return local.bytes.length === bytes ? local.bytes : undefined;
    return local.size === bytes ? readOrMissing(local.file) : undefined;
  }

  /** Stores an action after its large outputs. */
  async #storeAction(sha256: string, record: ActionRecord, signal: AbortSignal): Promise<void> {
    const { bundled, large } = splitOutputs(record.outputs);
    let hasFailed = false;
    const store = async (output: Digest) => {
      // Without one of them the action is not stored, so the others do not matter.
      if (hasFailed) return;
      try {
        await this.#storeOutput(output, signal);
      } catch (error) {
        hasFailed = true;
        throw error;
      }
    };
    await Promise.all(large.map((output) => this.#large(() => store(output))));
    const contents = new Map<string, Buffer>();
    for (const { sha256: name, bytes } of bundled) {
      const content = await this.#read(name, bytes);
      if (!content) throw new Incomplete(`the output ${name} is not there any more`);
      contents.set(name, content);
    }
    const object = await seal(encodeRecord(record, contents));
    const result = await this.#store.put(actionKey(this.#ownPlace(), sha256), object, {
      isNew: true,
      signal,
    });
    if (result === 'stored') this.#storedBytes += object.length;
  }

  /**
   * Stores a large output, unless it is there and so new that no action which is stored now outlives it: an output lives for 30
   * days, an action for 14, and an output that is older than 14 days is stored again.
   */
  async #storeOutput({ sha256 }: Digest, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const place = this.#ownPlace();
    await this.#once(`store ${sha256}`, async () => {
      const isNew = (storedAt: number | undefined) =>
        storedAt !== undefined && this.#now() - storedAt < CLAIM_MS && !this.#broken.has(sha256);
      const known = this.#known.get(sha256);
      if (known?.scope === place.scope && isNew(known.storedAt)) return;
      const storedAt = await this.#store.storedAt(outputKey(place, sha256));
      if (storedAt !== undefined && isNew(storedAt))
        return this.#learn(sha256, { scope: place.scope, storedAt });
      if (this.#disk.bytes(outputName(sha256)) === undefined)
        throw new Incomplete(`the output ${sha256} is not there any more`);
      const began = this.#now();
      const path = this.#disk.path(outputName(sha256));
      await this.#storeFile(outputKey(place, sha256), path, sha256, { isNew: false, signal });
      this.#broken.delete(sha256);
      this.#learn(sha256, { scope: place.scope, storedAt: began });
    });
  }

  async #storeFile(
    key: string,
    path: string,
    sha256: string,
    options: { isNew: boolean; signal: AbortSignal },
  ): Promise<void> {
    const temporary = this.#disk.create();
    try {
      const sealed = await sealFile(path, temporary, sha256, options.signal);
      const result = await this.#store.put(key, { file: temporary.path, ...sealed }, options);
      if (result === 'stored') this.#storedBytes += sealed.bytes;
    } finally {
      await temporary.discard();
    }
  }

  /** Calls with the same name at the same time share one. */
  #once<T>(name: string, work: () => Promise<T>): Promise<T> {
    const running = this.#flights.get(name) as Promise<T> | undefined;
    if (running) return running;
    const begun = work().finally(() => this.#flights.delete(name));
    this.#flights.set(name, begun);
    return begun;
  }
}

/** Where the claims of a job are. */
const jobFolder = (job: number) => `job-${job}`;

/** Two folders deep, so that no folder has many files. */
function spread(sha256: string): string {
  return `${sha256.slice(0, 2)}/${sha256}`;
}

const outputName = (sha256: string) => `cas/${spread(sha256)}`;
const actionName = ({ scope, epoch }: CachePlace, sha256: string) =>
  `act/${scope}/${epoch}/${spread(sha256)}`;

/** The file can be removed at any moment, to make room. */
async function readOrMissing(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return undefined;
  }
}

async function whole({ body }: StoredObject): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of body) pieces.push(piece);
  return Buffer.concat(pieces);
}
