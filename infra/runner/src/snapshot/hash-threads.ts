import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import * as v from 'valibot';

/** A core takes sha256 of more than a gigabyte a second: two keep up with 16 Gbit/s, and each takes 20 MB of memory. */
const MOST_THREADS = 2;

/** A thread makes hardly any objects; in megabytes. */
const SMALL = { maxYoungGenerationSizeMb: 1, maxOldGenerationSizeMb: 16 };

/** Takes checksums of parts of files, beside whatever else the program does. */
export type HashThreads = {
  /**
   * Sha256 in hexadecimal of `length` bytes of a file from `start`.
   *
   * @throws if the file cannot be read, or ends before
   */
  hash(file: string, start: number, length: number): Promise<string>;
  close(): Promise<void>;
};

/** As text, since the program is one file: a thread has no other to start from. */
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

type Waiting = { resolve: (sha256: string) => void; reject: (error: Error) => void };

/** Starts threads as they are needed; the caller closes them. */
export function hashThreads(most = Math.min(MOST_THREADS, availableParallelism())): HashThreads {
  const threads: { worker: Worker; waiting: Map<number, Waiting> }[] = [];
  let asked = 0;

  function start() {
    const worker = new Worker(THREAD, { eval: true, resourceLimits: SMALL });
    const waiting = new Map<number, Waiting>();
    const failAll = (error: Error) => {
      for (const one of waiting.values()) one.reject(error);
      waiting.clear();
    };
    worker.on('message', (message: unknown) => {
      const answer = v.parse(answerSchema, message);
      const one = waiting.get(answer.id);
      waiting.delete(answer.id);
      if ('sha256' in answer) one?.resolve(answer.sha256);
      else one?.reject(new Error(answer.problem));
    });
    worker.on('error', failAll);
    worker.on('exit', (code) => failAll(new Error(`a thread that takes checksums ended with ${code}`)));
    const thread = { worker, waiting };
    threads.push(thread);
    return thread;
  }

  /** The one with the least to do, or a new one if all have something. */
  function next() {
    const [idlest] = [...threads].sort((a, b) => a.waiting.size - b.waiting.size);
    return idlest && (idlest.waiting.size === 0 || threads.length >= most) ? idlest : start();
  }

  return {
    hash(path, from, length) {
      asked += 1;
      const id = asked;
      const { worker, waiting } = next();
      return new Promise((resolve, reject) => {
        waiting.set(id, { resolve, reject });
        worker.postMessage({ id, path, start: from, length });
      });
    },
    async close() {
      await Promise.all(threads.splice(0).map(({ worker }) => worker.terminate()));
    },
  };
}
