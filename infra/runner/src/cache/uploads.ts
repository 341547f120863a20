import { errorText } from '../../../../shared/runtime/errors.ts';

/** Uploads that run at once, those that wait, and the bytes of all of them. What does not fit is dropped. */
const AT_ONCE = 16;
const MOST_WAITING = 4_096;
const MOST_BYTES = 8 * 2 ** 30;

/** One upload: an action or an entry with everything that must be stored before it. */
export type Upload = {
  name: string;
  bytes: number;
  run(signal: AbortSignal): Promise<void>;
};

/** Uploads in the background. */
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

export function backgroundUploads(log: (line: string) => void): Uploads {
  let queue: { upload: Upload; signal: AbortSignal }[] = [];
  const running = new Set<Promise<void>>();
  let bytes = 0;
  let dropped = 0;
  let lastReason = '';
  let group = new AbortController();

  function drop({ name, bytes: size }: Upload, reason: string): void {
    dropped += 1;
    bytes -= size;
    if (reason !== lastReason) log(`uploads are dropped: ${name}: ${reason}`);
    lastReason = reason;
  }

  async function run(upload: Upload, signal: AbortSignal): Promise<void> {
    try {
      signal.throwIfAborted();
      await upload.run(signal);
      bytes -= upload.bytes;
    } catch (error) {
      drop(upload, signal.aborted ? 'no time is left' : errorText(error));
    }
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
      for (const { upload } of late) drop(upload, 'no time is left');
    }, milliseconds);
    timer.unref();
  }

  return {
    add(upload) {
      bytes += upload.bytes;
      if (queue.length >= MOST_WAITING || bytes > MOST_BYTES) return drop(upload, 'too many wait');
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
