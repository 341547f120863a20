import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import * as v from 'valibot';

/** A core computes sha256 of more than one gigabyte per second: two keep up with 16 Gbit/s. Each takes 20 MB of memory. */
const MOST_THREADS = 2;

/** Memory limits of a thread, in megabytes. It creates hardly any objects. */
const SMALL = { maxYoungGenerationSizeMb: 1, maxOldGenerationSizeMb: 16 };

/** Computes checksums of parts of files in threads. */
export type HashThreads = {
  /**
   * Sha256 in hexadecimal of `length` bytes of a file from `start`.
   *
   * @throws if the file cannot be read or is too short, and if the thread ends
   */
  hash(file: string, start: number, length: number): Promise<string>;
  close(): Promise<void>;
};

/** Source of a thread. It is text, because the program is one file. */
const THREAD = `
const { createHash } = require('node:crypto');
const { openSync, readSync, closeSync } = require('node:fs');
const { parentPort } = require('node:worker_threads');
const piece = Buffer.allocUnsafe(1024 * 1024);
function sha256(path, start, length) {
  const hash = createHash('sha256');
  const file = openSync(path, 'r');
  try {
    for (let done = 0; done < length; ) {
      const read = readSync(file, piece, 0, Math.min(piece.length, length - done), start + done);
      if (read === 0) throw new Error(path + ' ends before byte ' + (start + length));
      hash.update(piece.subarray(0, read));
      done += read;
    }
  } finally {
    closeSync(file);
  }
  return hash.digest('hex');
}
parentPort.on('message', ({ id, path, start, length }) => {
  try {
    parentPort.postMessage({ id, sha256: sha256(path, start, length) });
  } catch (error) {
    parentPort.postMessage({ id, problem: String(error && error.message) });
  }
});
`;

const answerSchema = v.union([
  v.object({ id: v.number(), sha256: v.string() }),
  v.object({ id: v.number(), problem: v.string() }),
]);

type Pending = { resolve: (sha256: string) => void; reject: (error: Error) => void };

type Thread = { worker: Worker; pending: Map<number, Pending> };

/**
 * Starts threads on demand. The caller closes them.
 *
 * @param source of each thread; tests replace it
 */
export function hashThreads(
  most = Math.min(MOST_THREADS, availableParallelism()),
  source = THREAD,
): HashThreads {
  const threads = new Set<Thread>();
  let lastId = 0;

  function start(): Thread {
    const worker = new Worker(source, { eval: true, resourceLimits: SMALL });
    const thread: Thread = { worker, pending: new Map() };
    // A thread that has ended answers nothing: it gets no further work, and the calls that wait for it fail.
    const remove = (error: Error) => {
      threads.delete(thread);
      for (const call of thread.pending.values()) call.reject(error);
      thread.pending.clear();
    };
    worker.on('message', (message: unknown) => {
      const answer = v.parse(answerSchema, message);
      const call = thread.pending.get(answer.id);
      thread.pending.delete(answer.id);
      if ('sha256' in answer) call?.resolve(answer.sha256);
      else call?.reject(new Error(answer.problem));
    });
    worker.on('error', remove);
    worker.on('exit', (code) => remove(new Error(`a thread that computes checksums ended with ${code}`)));
    threads.add(thread);
    return thread;
  }

  /** The thread with the fewest calls, or a new one if all are at work. */
  function next(): Thread {
    const [first] = [...threads].sort((a, b) => a.pending.size - b.pending.size);
    return first && (first.pending.size === 0 || threads.size >= most) ? first : start();
  }

  return {
    hash(path, from, length) {
      lastId += 1;
      const id = lastId;
      const { worker, pending } = next();
      return new Promise((resolve, reject) => {
        pending.set(id, { resolve, reject });
        worker.postMessage({ id, path, start: from, length });
      });
    },
    async close() {
      await Promise.all([...threads].map(({ worker }) => worker.terminate()));
    },
  };
}
