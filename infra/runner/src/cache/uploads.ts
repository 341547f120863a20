import { setTimeout as sleep } from 'node:timers/promises';
import { errorText } from '../../../../shared/runtime/errors.ts';

/** Uploads that run at once, those that wait, their bytes, and what they take of the memory. What does not fit is dropped. */
const AT_ONCE = 16;
const MOST_WAITING = 4_096;
const MOST_BYTES = 8 * 2 ** 30;
const MOST_MEMORY = 32 * 2 ** 20;

/** Tries of one upload while S3 throttles or fails, the wait before the second one, doubling, and the longest wait; in milliseconds. */
const TRIES = 3;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 30_000;

/** One upload: an action or an entry with everything that must be stored before it. */
export type Upload = {
  name: string;
  bytes: number;
  /** Bytes in memory until it has run. */
  memory: number;
  run(signal: AbortSignal): Promise<void>;
};

/** An upload that can succeed later, since S3 throttles, fails, or is switched off. */
export class TryLater extends Error {
  override readonly name = 'TryLater';
  /** Least wait, in milliseconds; undefined: this try has failed. */
  readonly waitMs: number | undefined;

  constructor(message: string, options: { waitMs?: number; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.waitMs = options.waitMs;
  }
}

/** Uploads in the background. No build waits for them, so one that can succeed later is tried again. */
export type Uploads = {
  add(upload: Upload): void;
  /** Gives what was added so far a time limit; what is not stored by then is dropped. Does not wait. */
  limit(milliseconds: number): void;
  /** Waits until everything that was added so far is stored or dropped, at most for this time; then drops the rest. */
  finish(milliseconds: number): Promise<void>;
  /** Uploads that were dropped since the start: no room, no time, or a failure. */
  dropped(): number;
  waiting(): number;
};

/** @param wait replaces the time between two tries */
export function backgroundUploads(
  log: (line: string) => void,
  wait: (milliseconds: number, signal: AbortSignal) => Promise<void> = (milliseconds, signal) =>
    sleep(milliseconds, undefined, { signal, ref: false }),
): Uploads {
  let queue: { upload: Upload; signal: AbortSignal }[] = [];
  const running = new Set<Promise<void>>();
  let bytes = 0;
  let memory = 0;
  let dropped = 0;
  let lastReason = '';
  let group = new AbortController();

  function drop({ name }: Upload, reason: string): void {
    dropped += 1;
    if (reason !== lastReason) log(`uploads are dropped: ${name}: ${reason}`);
    lastReason = reason;
  }

  async function run(upload: Upload, signal: AbortSignal): Promise<void> {
    try {
      await tried(upload, signal);
    } catch (error) {
      drop(upload, signal.aborted ? 'no time is left' : errorText(error));
    } finally {
      removed(upload);
    }
  }

  async function tried({ run: store }: Upload, signal: AbortSignal): Promise<void> {
    for (let tries = 1; ; ) {
      signal.throwIfAborted();
      try {
        return await store(signal);
      } catch (error) {
        if (!(error instanceof TryLater) || tries >= TRIES) throw error;
        const waitMs = error.waitMs ?? FIRST_WAIT_MS * 2 ** (tries - 1) * (1 + Math.random());
        if (waitMs > LONGEST_WAIT_MS) throw error;
        if (error.waitMs === undefined) tries += 1;
        await wait(waitMs, signal);
      }
    }
  }

  function removed(upload: Upload): void {
    bytes -= upload.bytes;
    memory -= upload.memory;
  }

  function start(): void {
    while (running.size < AT_ONCE) {
      const next = queue.shift();
      if (!next) return;
      const done = run(next.upload, next.signal).finally(() => {
        running.delete(done);
        start();
      });
      running.add(done);
    }
  }

  /** Ends what was added so far after this time. Later uploads belong to the next group. */
  function close(milliseconds: number): void {
    const closed = group;
    group = new AbortController();
    const timer = setTimeout(() => {
      closed.abort(new Error('no time is left'));
      const late = queue.filter(({ signal }) => signal === closed.signal);
      queue = queue.filter(({ signal }) => signal !== closed.signal);
      for (const { upload } of late) {
        removed(upload);
        drop(upload, 'no time is left');
      }
    }, milliseconds);
    timer.unref();
  }

  return {
    add(upload) {
      // Compared before it is added: a sum of sizes that a job has made up would lose the others.
      const isTooMuch = bytes + upload.bytes > MOST_BYTES || memory + upload.memory > MOST_MEMORY;
      if (queue.length >= MOST_WAITING || isTooMuch) return drop(upload, 'too many wait');
      bytes += upload.bytes;
      memory += upload.memory;
      queue.push({ upload, signal: group.signal });
      start();
    },
    limit: close,
    async finish(milliseconds) {
      close(milliseconds);
      while (running.size > 0) await Promise.race(running);
    },
    dropped: () => dropped,
    waiting: () => queue.length + running.size,
  };
}
