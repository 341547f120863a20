import { open, readFile, rm } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { GetObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import { BrokenFrame } from '../../../../shared/snapshot/frame.ts';
import { framesKey } from '../../../../shared/snapshot/layout.ts';
import type { Manifest } from '../../../../shared/snapshot/manifest.ts';
import type { FrameFetch } from '../../../../shared/snapshot/restore-plan.ts';
import { bytesOf } from '../../../../shared/snapshot/units.ts';
import { type Decoders, startDecoders } from './decoders.ts';
import { bufferCollector, frameMemory } from './frame-memory.ts';
import { isTemporary, type Patience, patiently } from './patience.ts';
import type { Progress } from './progress.ts';

/**
 * Parallel ranges. S3 gives each connection some 90 MB/s (S3 performance guidelines), so this many nearly fill 10 Gbit/s. Each holds one
 * stored frame: at most 1.1 MiB.
 */
const PARALLEL_RANGES = 12;

/**
 * Most threads that verify, decompress and write frames. Two of them make 800 MB of an image per second; each takes some 40 MB of memory.
 */
const MOST_THREADS = 2;

/** Largest range of one request, in bytes: large enough that its latency is small beside its transfer. */
const RANGE_BYTES = 8 * 1024 * 1024;

/** Frames that are sorted by their place in the objects at once, which bounds the memory of a large restore. */
const WINDOW = 16_384;

/** Attempts per frame whose bytes are wrong: a damaged transfer is rare, three in a row mean a broken object. */
const MAX_ATTEMPTS = 3;

export type FrameSource = { s3: Pick<S3Client, 'send'>; bucket: string; manifest: Manifest };

/** Successive frames of one object. */
type Range = { object: number; start: number; frames: FrameFetch[] };

/** The file that gets the units, and who is told how many bytes it has got. */
export type Target = { file: string; wrote(bytes: number): void };

/** What the workers of a fetch share. */
type Fetch = {
  target: Target | undefined;
  source: FrameSource;
  decoders: Decoders;
  memory: ReturnType<typeof frameMemory>;
  received(bytes: number): void;
  done: FrameLog;
  progress: Progress;
  patience: Patience;
};

/**
 * Fetches frames in parallel ranges. Each is verified and decompressed, and its units are written in place.
 *
 * @param target undefined: the frames are only verified
 * @param done the frames that an interrupted restore has fetched, and where finished ones are recorded
 * @returns bytes that were fetched
 * @throws {BrokenFrame} if an object does not have the frames of its index; errors of S3 and of the file system
 */
export async function fetchFrames(
  target: Target | undefined,
  fetches: Iterable<FrameFetch>,
  done: FrameLog,
  source: FrameSource,
  progress: Progress,
  patience: Patience,
): Promise<number> {
  const stop = new AbortController();
  const signal = patience.signal ? AbortSignal.any([patience.signal, stop.signal]) : stop.signal;
  const queue = rangesOf(fetches, done);
  const decoders = startDecoders(
    { count: Math.min(MOST_THREADS, availableParallelism()), hasReaders: false },
    target ? { image: target.file } : {},
  );
  const shared: Fetch = {
    target,
    source,
    decoders,
    memory: frameMemory(),
    received: bufferCollector(),
    done,
    progress,
    patience: { until: patience.until, signal },
  };
  let fetched = 0;
  const worker = async () => {
    for (const range of queue) {
      signal.throwIfAborted();
      const bytes = await fetchRange(range, shared);
      // Not in one statement: it would read the sum before the wait, and lose what the other workers add meanwhile.
      fetched += bytes;
    }
  };
  try {
    const workers = Array.from({ length: PARALLEL_RANGES }, worker);
    try {
      await Promise.all(workers);
    } catch (error) {
      // The other workers stop. Until then the threads can write.
      stop.abort(error);
      await Promise.allSettled(workers);
      throw patience.signal?.aborted ? patience.signal.reason : error;
    }
  } finally {
    await decoders.close();
  }
  return fetched;
}

function* rangesOf(fetches: Iterable<FrameFetch>, done: FrameLog): Generator<Range> {
  let window: FrameFetch[] = [];
  for (const fetch of fetches) {
    if (done.has(fetch)) continue;
    window.push(fetch);
    if (window.length < WINDOW) continue;
    yield* joined(window);
    window = [];
  }
  yield* joined(window);
}

/** Frames that follow each other in an object share a request. */
function* joined(window: FrameFetch[]): Generator<Range> {
  window.sort((a, b) => a.object - b.object || a.offset - b.offset);
  let range: Range | undefined;
  let end = 0;
  for (const frame of window) {
    const follows = range?.object === frame.object && end === frame.offset;
    if (range && follows && end + frame.storedBytes - range.start <= RANGE_BYTES) range.frames.push(frame);
    else {
      if (range) yield range;
      range = { object: frame.object, start: frame.offset, frames: [frame] };
    }
    end = frame.offset + frame.storedBytes;
  }
  if (range) yield range;
}

async function fetchRange(range: Range, shared: Fetch): Promise<number> {
  const { patience, memory, done, progress } = shared;
  let next = 0;
  let fetched = 0;
  let wrong = 0;
  while (next < range.frames.length) {
    try {
      await patiently(patience, async () => {
        const before = next;
        try {
          for await (const stored of framesOf(range.frames.slice(next), shared)) {
            const frame = range.frames[next] as FrameFetch;
            fetched += stored.length;
            await store(frame, stored, shared).finally(() => memory.give(stored));
            await done.add(frame);
            progress.advance(stored.length);
            next += 1;
          }
        } catch (error) {
          // A range that advances is not without hope, however often its connection breaks.
          if (next > before && isTemporary(error)) return;
          throw error;
        }
      });
    } catch (error) {
      wrong += 1;
      if (!(error instanceof BrokenFrame) || wrong >= MAX_ATTEMPTS) throw error;
    }
  }
  return fetched;
}

/** @throws {BrokenFrame}; the error of the file */
async function store(
  frame: FrameFetch,
  stored: Uint8Array,
  { target, source, decoders }: Fetch,
): Promise<void> {
  const { offset, frameUnits, sha256, writes } = frame;
  const { bad } = await decoders.run(offset, { stored, sha256, writes, frameUnits }, false);
  if (bad === undefined) {
    target?.wrote(bytesOf(writes.reduce((sum, { units }) => sum + units, 0)));
    return;
  }
  const place = { object: source.manifest.frames[frame.object]?.id ?? '', offset };
  throw new BrokenFrame(`the frame at byte ${offset} of object ${place.object} ${bad}`, { place });
}

/** The stored bytes of successive frames, by one request. */
async function* framesOf(
  frames: readonly FrameFetch[],
  { source, memory, received, patience: { signal } }: Fetch,
): AsyncGenerator<Uint8Array> {
  const [first, last] = [frames[0], frames.at(-1)];
  if (!first || !last) return;
  const body = await openRange(source, first.object, first.offset, last.offset + last.storedBytes, signal);
  let index = 0;
  let frame = memory.take(first.storedBytes);
  let filled = 0;
  for await (const piece of body) {
    received(piece.length);
    for (let at = 0; at < piece.length; ) {
      const length = Math.min(piece.length - at, frame.length - filled);
      frame.set(piece.subarray(at, at + length), filled);
      [at, filled] = [at + length, filled + length];
      if (filled < frame.length) continue;
      yield frame;
      index += 1;
      const following = frames[index];
      if (!following) return;
      [frame, filled] = [memory.take(following.storedBytes), 0];
    }
  }
  // Shorter than it was announced, which a connection that breaks looks like too.
  throw Object.assign(new Error(`the answer ends within frame ${index} of ${frames.length}`), {
    name: 'IncompleteBody',
  });
}

async function openRange(
  { s3, bucket: Bucket, manifest: { set, frames } }: FrameSource,
  object: number,
  start: number,
  end: number,
  signal: AbortSignal | undefined,
): Promise<AsyncIterable<Uint8Array>> {
  const Key = framesKey(set, frames[object]?.id ?? '');
  try {
    const get = new GetObjectCommand({ Bucket, Key, Range: `bytes=${start}-${end - 1}` });
    const { Body } = await s3.send(get, signal && { abortSignal: signal });
    return Body as AsyncIterable<Uint8Array>;
  } catch (error) {
    // Another attempt does not bring back an object that is missing or too short.
    if (error instanceof Error && /^(NoSuchKey|NotFound|InvalidRange)$/.test(error.name)) {
      throw new BrokenFrame(`${Key} is missing or too short: ${error.name}`, { cause: error });
    }
    throw error;
  }
}

/** What an interrupted fill belongs to. */
export type FillOrigin = { index: string; base: string | null };

/** The frames that a file has already: a restore that was killed goes on where it was. */
export type FrameLog = {
  /** Whether the file has frames of an earlier fill. */
  isResumed: boolean;
  has(frame: FrameFetch): boolean;
  add(frame: FrameFetch): Promise<void>;
  close(): Promise<void>;
};

/** The record of a fetch that keeps nothing. */
export const NO_LOG: FrameLog = {
  isResumed: false,
  has: () => false,
  add: async () => {},
  close: async () => {},
};

/** Bytes of an entry: 1 of the number of the object, 5 of the offset. */
const ENTRY = 6;

/**
 * Opens the record of a fill. It is valid only within one boot: the kernel keeps what a killed process has written, and not what
 * it had not written back at a crash.
 *
 * @param origin index and base of the fill: another one begins anew
 * @param begin makes the file that is filled, before a new record exists; is not called if the earlier one is continued
 */
export async function openFrameLog(
  file: string,
  origin: FillOrigin,
  begin: () => Promise<void>,
): Promise<FrameLog> {
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => `${process.pid}`);
  const header = `${JSON.stringify({ boot: boot.trim(), ...origin })}\n`;
  const found = await readFile(file).catch(() => undefined);
  const frames = found && entriesOf(found, header);
  if (!frames) {
    await rm(file, { force: true });
    await begin();
  }
  const log = await open(file, 'a');
  if (!frames) await log.write(header);
  // An entry that is cut off would shift the following ones.
  else await log.truncate(Buffer.byteLength(header) + frames.size * ENTRY);
  const done = frames ?? new Set<number>();
  const numberOf = ({ object, offset }: FrameFetch) => object * 2 ** 40 + offset;
  return {
    isResumed: (frames?.size ?? 0) > 0,
    has: (frame) => done.has(numberOf(frame)),
    async add(frame) {
      const entry = Buffer.alloc(ENTRY);
      entry.writeUInt8(frame.object);
      entry.writeUIntLE(frame.offset, 1, 5);
      await log.write(entry);
    },
    close: () => log.close(),
  };
}

/** The entries behind the header, or undefined if the header is another one. A last entry that is cut off does not count. */
function entriesOf(content: Buffer, header: string): Set<number> | undefined {
  const end = content.indexOf('\n') + 1;
  if (content.toString('utf8', 0, end) !== header) return undefined;
  const frames = new Set<number>();
  for (let at = end; at + ENTRY <= content.length; at += ENTRY) {
    frames.add(content.readUInt8(at) * 2 ** 40 + content.readUIntLE(at + 1, 5));
  }
  return frames;
}
