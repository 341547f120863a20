import { availableParallelism } from 'node:os';
import { errorText } from '../../../../../shared/runtime/errors.ts';
import { BrokenFrame } from '../../../../../shared/snapshot/frame.ts';
import type { FrameTable } from './frame-table.ts';

/**
 * Most requests under way at once: for frames that a reader waits for, and in the background. S3 gives each connection some
 * 90 MB/s (S3 performance guidelines), so the background fills 10 Gbit/s. A core decodes less than two connections give.
 */
const MISSED_REQUESTS = 16;
const BACKGROUND_REQUESTS = Math.min(16, 4 * availableParallelism());

/**
 * The background while readers miss frames. Each request has its share of the link, so with many of them a missed frame would be
 * slow; with too few, readers would miss frame after frame, each for the time of a request.
 */
const BACKGROUND_REQUESTS_BESIDE_MISSES = 4;

/** Time since a reader last waited after which the background uses all of its requests again, in milliseconds. */
const MISS_MEMORY_MS = 100;

/** Stored bytes per request. A missed frame is the first of its request, and a reader needs those behind it next. */
const REQUEST_BYTES = 2 * 1024 * 1024;

/** Received frames that wait for a thread. Receiving pauses at this number, which bounds memory. */
const MOST_RECEIVED = 16;

/** Time without a byte after which a connection is given up, in milliseconds (S3 performance guidelines, retries). */
const SILENCE_MS = 10_000;

/** Pause after the first failed request in a row, and the longest, in milliseconds. */
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 2_000;

/** A frame whose bytes are wrong this many times is broken. */
const MOST_BAD = 3;

/** S3 does not have an object that the index names; no later attempt can succeed. */
export class MissingObject extends Error {
  override readonly name = 'MissingObject';
}

export type FetcherOptions = {
  table: FrameTable;
  /** Bytes of an object. @throws {MissingObject}; any other error is tried again */
  read(
    object: number,
    start: number,
    length: number,
    signal: AbortSignal,
  ): Promise<AsyncIterable<Uint8Array>>;
  /** Memory for a frame; the bytes are then passed to `store`, or dropped. */
  allocate(length: number): Uint8Array;
  drop(stored: Uint8Array): void;
  /**
   * Verifies a frame and writes it; first those that a reader waits for.
   *
   * @returns what is wrong with the bytes, if anything
   * @throws if the file cannot be written
   */
  store(frame: number, stored: Uint8Array, isMissed: boolean): Promise<{ bad?: string }>;
  /** A reader waits for a frame that `store` may have already. */
  hurry(frame: number): void;
  /** Time without one further frame after which the fetcher gives up, in milliseconds. */
  patienceMs: number;
  /** A connection without a byte for this time is given up; tests shorten it. */
  silenceMs?: number;
  warn(line: string): void;
};

export type Progress = {
  frames: number;
  ofFrames: number;
  fetchedBytes: number;
  /** Reads that waited for a frame. */
  misses: number;
  /** Since the first request. */
  seconds: number;
};

export type Fetcher = {
  /** Resolves when the local file has the frame. Rejects if the fetcher has given up or does so meanwhile. */
  need(frame: number): Promise<void>;
  progress(): Progress;
  /** Resolves when the local file has all frames; rejects if the fetcher gives up. */
  finished: Promise<void>;
  stop(): void;
};

const ABSENT = 0;
const UNDER_WAY = 1;
const PRESENT = 2;

/**
 * Fetches all frames of an image: those that a reader misses first, the others in the order of the index. Each frame is
 * requested once at a time. Failed requests are repeated with growing pauses until the patience is over.
 */
export function startFetcher(options: FetcherOptions): Fetcher {
  const { table, warn, silenceMs = SILENCE_MS } = options;
  const state = new Uint8Array(table.count);
  const badTimes = new Map<number, number>();
  const waiting = new Map<number, { resolve: () => void; reject: (error: Error) => void }[]>();
  /** Missed frames that no request has yet, oldest first. */
  const missed: number[] = [];
  const stopped = new AbortController();
  let present = 0;
  let fetchedBytes = 0;
  let misses = 0;
  let lastMiss = Number.NEGATIVE_INFINITY;
  const began = performance.now();
  let lastFrame = began;
  let failuresInRow = 0;
  let pausedUntil = 0;
  let missedRequests = 0;
  let backgroundRequests = 0;
  /** Position in the order of the background: all frames before it are under way or present. */
  let position = 0;
  let received = 0;
  const receivers: (() => void)[] = [];
  let failure: Error | undefined;
  let timer: NodeJS.Timeout | undefined;

  const { promise: finished, resolve: finish, reject: failAll } = Promise.withResolvers<void>();
  // A caller that only needs frames does not handle it.
  finished.catch(() => {});

  const watch = setInterval(() => {
    if (performance.now() - lastFrame > options.patienceMs)
      giveUp(new Error(`no frame for ${options.patienceMs / 1000} s`));
    schedule();
  }, MISS_MEMORY_MS);

  function giveUp(error: Error): void {
    if (failure) return;
    failure = error;
    end();
    for (const waiters of waiting.values()) for (const { reject } of waiters) reject(error);
    waiting.clear();
    failAll(error);
  }

  function end(): void {
    clearInterval(watch);
    clearTimeout(timer);
    stopped.abort();
    wake();
  }

  /** Lets the requests that wait for room look again. */
  function wake(): void {
    for (const go of receivers.splice(0)) go();
  }

  function arrived(frame: number): void {
    state[frame] = PRESENT;
    present += 1;
    failuresInRow = 0;
    lastFrame = performance.now();
    for (const { resolve } of waiting.get(frame) ?? []) resolve();
    if (waiting.delete(frame)) lastMiss = performance.now();
    if (present < table.count || failure) return;
    end();
    finish();
  }

  /** Returns a frame to those that are to be fetched. */
  function absent(frame: number): void {
    if (state[frame] !== UNDER_WAY) return;
    state[frame] = ABSENT;
    if (waiting.has(frame)) missed.unshift(frame);
    position = 0;
  }

  /** The frame, and those that follow it in the order and in the object, up to the bytes of a request. */
  function group(first: number): number[] {
    const frames = [first];
    const end = table.offset(first) + REQUEST_BYTES;
    for (let frame = first + 1; ; frame += 1) {
      const last = frame - 1;
      if (
        frame === table.count ||
        state[frame] !== ABSENT ||
        table.object(frame) !== table.object(first) ||
        table.offset(frame) !== table.offset(last) + table.storedBytes(last) ||
        table.offset(frame) + table.storedBytes(frame) > end
      ) {
        return frames;
      }
      frames.push(frame);
    }
  }

  /** Starts as many requests as may be under way. */
  function schedule(): void {
    if (failure || stopped.signal.aborted) return;
    const now = performance.now();
    if (now < pausedUntil) {
      timer ??= setTimeout(() => {
        timer = undefined;
        schedule();
      }, pausedUntil - now);
      return;
    }
    while (missedRequests < MISSED_REQUESTS) {
      const frame = missed.shift();
      if (frame === undefined) break;
      if (state[frame] !== ABSENT) continue;
      const frames = group(frame);
      missedRequests += 1;
      void request(frames).finally(() => {
        missedRequests -= 1;
        schedule();
      });
    }
    const isRead = waiting.size > 0 || now - lastMiss < MISS_MEMORY_MS;
    const most = isRead ? BACKGROUND_REQUESTS_BESIDE_MISSES : BACKGROUND_REQUESTS;
    while (backgroundRequests < most) {
      while (position < table.count && state[position] !== ABSENT) position += 1;
      if (position === table.count) return;
      const frames = group(position);
      backgroundRequests += 1;
      void request(frames).finally(() => {
        backgroundRequests -= 1;
        schedule();
      });
    }
  }

  /** One request for neighbouring frames. Never rejects: what it did not get is absent again. */
  async function request(frames: readonly number[]): Promise<void> {
    for (const frame of frames) state[frame] = UNDER_WAY;
    const first = frames[0] as number;
    const start = table.offset(first);
    const last = frames[frames.length - 1] as number;
    const length = table.offset(last) + table.storedBytes(last) - start;
    const given = new AbortController();
    const signal = AbortSignal.any([stopped.signal, given.signal]);
    let silence: NodeJS.Timeout | undefined;
    const listen = () => {
      clearTimeout(silence);
      silence = setTimeout(() => given.abort(new Error('the connection went silent')), silenceMs);
    };
    let next = 0;
    let stored: Uint8Array | undefined;
    let filled = 0;
    try {
      listen();
      const pieces = await options.read(table.object(first), start, length, signal);
      for await (const piece of pieces) {
        fetchedBytes += piece.length;
        for (let at = 0; at < piece.length && next < frames.length; ) {
          stored ??= options.allocate(table.storedBytes(frames[next] as number));
          const bytes = Math.min(piece.length - at, stored.length - filled);
          stored.set(piece.subarray(at, at + bytes), filled);
          at += bytes;
          filled += bytes;
          if (filled < stored.length) continue;
          // The time that a full queue takes is not the connection's.
          clearTimeout(silence);
          await room(frames, next);
          void verified(frames[next] as number, stored);
          next += 1;
          filled = 0;
          stored = undefined;
        }
        listen();
      }
      if (next < frames.length) throw new Error('the answer was too short');
    } catch (error) {
      if (!stopped.signal.aborted) failed(error);
    } finally {
      clearTimeout(silence);
      if (stored) options.drop(stored);
      for (const frame of frames.slice(next)) absent(frame);
    }
  }

  function failed(error: unknown): void {
    if (error instanceof MissingObject) {
      giveUp(error);
      return;
    }
    if (failuresInRow === 0) warn(`a request for frames failed and is repeated: ${errorText(error)}`);
    failuresInRow += 1;
    const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(failuresInRow - 1, 10));
    pausedUntil = Math.max(pausedUntil, performance.now() + longest * (0.5 + Math.random() / 2));
  }

  /**
   * Waits until fewer frames than the most are with the threads. A request with a frame that a reader waits for goes on: the
   * threads decode that frame before all that are with them. Its size bounds what it adds.
   */
  async function room(frames: readonly number[], next: number): Promise<void> {
    const isWaitedFor = () => frames.some((frame, index) => index >= next && waiting.has(frame));
    while (received >= MOST_RECEIVED && !isWaitedFor() && !stopped.signal.aborted) {
      await new Promise<void>((resolve) => receivers.push(resolve));
    }
    stopped.signal.throwIfAborted();
    received += 1;
  }

  async function verified(frame: number, stored: Uint8Array): Promise<void> {
    try {
      const { bad } = await options.store(frame, stored, waiting.has(frame));
      if (bad === undefined) return arrived(frame);
      const times = (badTimes.get(frame) ?? 0) + 1;
      badTimes.set(frame, times);
      const where = `the frame at byte ${table.offset(frame)} of object ${table.object(frame)}`;
      if (times >= MOST_BAD) return giveUp(new BrokenFrame(`${where} ${bad}`));
      warn(`${where} is fetched again: it ${bad}`);
      absent(frame);
      schedule();
    } catch (error) {
      giveUp(error instanceof Error ? error : new Error(String(error)));
    } finally {
      received -= 1;
      wake();
    }
  }

  if (table.count === 0) {
    end();
    finish();
  } else schedule();

  return {
    async need(frame) {
      if (state[frame] === PRESENT) return;
      if (failure) throw failure;
      misses += 1;
      lastMiss = performance.now();
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      waiting.set(frame, [...(waiting.get(frame) ?? []), { resolve, reject }]);
      if (state[frame] === ABSENT) {
        missed.push(frame);
        schedule();
      } else {
        options.hurry(frame);
        wake();
      }
      await promise;
    },
    progress: () => ({
      frames: present,
      ofFrames: table.count,
      fetchedBytes,
      misses,
      seconds: (performance.now() - began) / 1000,
    }),
    finished,
    stop: end,
  };
}
