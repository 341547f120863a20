import { open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/** Time between two reads, in milliseconds. */
const POLL_MS = 500;

/** Bytes of one read. */
const PIECE_BYTES = 256 * 1024;

/** Most characters of a line; the rest of it becomes further lines. */
const MAX_LINE = 4_000;

/** A file that is larger is emptied when it was read: a program that prints without end must not fill the disk. */
const MAX_BYTES = 64 * 2 ** 20;

/** Passes on each line that a program appends to a file. */
export type Follower = {
  /** Passes on what is left, an incomplete last line included. */
  end(): Promise<void>;
};

/** @param file may not exist yet; its writer appends */
export function followFile(file: string, onLine: (line: string) => void): Follower {
  const stop = new AbortController();
  const decoder = new TextDecoder();
  const buffer = Buffer.allocUnsafe(PIECE_BYTES);
  let position = 0;
  let rest = '';

  function take(text: string): void {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) cut(line).forEach(onLine);
    const pieces = cut(rest);
    rest = pieces.pop() ?? '';
    pieces.forEach(onLine);
  }

  async function read(): Promise<void> {
    const handle = await open(file, 'r+').catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
      return undefined;
    });
    if (!handle) return;
    try {
      for (;;) {
        const { bytesRead } = await handle.read(buffer, 0, PIECE_BYTES, position);
        position += bytesRead;
        take(decoder.decode(buffer.subarray(0, bytesRead), { stream: true }));
        if (bytesRead < PIECE_BYTES) break;
      }
      if (position <= MAX_BYTES) return;
      await handle.truncate(0);
      position = 0;
    } finally {
      await handle.close();
    }
  }

  const following = (async () => {
    while (!stop.signal.aborted) {
      await read();
      await sleep(POLL_MS, undefined, { signal: stop.signal }).catch(() => undefined);
    }
  })();
  // A file that cannot be read ends the following, and not the program.
  following.catch((error: unknown) => onLine(`the output cannot be read: ${String(error)}`));

  return {
    async end() {
      stop.abort();
      await following.catch(() => undefined);
      await read().catch(() => undefined);
      if (rest !== '') onLine(rest);
      rest = '';
    },
  };
}

/** A text in pieces of at most `MAX_LINE` characters; at least one. */
function cut(text: string): string[] {
  if (text.length <= MAX_LINE) return [text];
  return Array.from({ length: Math.ceil(text.length / MAX_LINE) }, (_, index) =>
    text.slice(index * MAX_LINE, (index + 1) * MAX_LINE),
  );
}
