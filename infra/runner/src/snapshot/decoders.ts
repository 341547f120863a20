import { type MessagePort, Worker } from 'node:worker_threads';
import type { ZstdOptions } from 'node:zlib';
import { frameDecompression } from '../../../../shared/snapshot/frame.ts';
import type { UnitWrite } from '../../../../shared/snapshot/restore-plan.ts';
import { bytesOf, UNIT_BYTES } from '../../../../shared/snapshot/units.ts';

/** Tasks that a thread has at once: one that it works on, and one so that it need not wait for the next. */
const TASKS_PER_THREAD = 2;

/** Priority of a thread for frames that a reader waits for: a job that uses all cores would otherwise keep itself waiting. */
const URGENT_NICENESS = 0;

/** What the threads work on. */
export type DecodeData = {
  /** File that gets the units. Absent: frames are only verified. */
  image?: string;
  /** One number per unit of the image, which becomes 0 when the file has the unit. */
  missing?: Int32Array<SharedArrayBuffer>;
};

/** One frame as it was received, and the places of its units in the image. */
export type DecodeTask = {
  /** In shared memory, so that it can be used again. */
  stored: Uint8Array;
  /** Of the stored bytes. */
  sha256: Buffer;
  writes: UnitWrite[];
  frameUnits: number;
};

/** The same for a thread, which imports nothing. */
type ThreadTask = {
  id: number;
  stored: Uint8Array;
  sha256: string;
  writes: UnitWrite[];
  frameBytes: number;
  decompression: ZstdOptions;
};

type ThreadData = DecodeData & { unitBytes: number; niceness: number | undefined };

/** `bad`: the bytes differ from the index. `failed`: the file cannot be written. */
type DecodeResult = { id: number; bad?: string; failed?: { message: string; code: string | undefined } };

type Thread = { worker: Worker; tasks: number };

type Waiting = {
  frame: number;
  task: DecodeTask;
  resolve: (result: { bad?: string }) => void;
  reject: (error: Error) => void;
};

/** Threads that verify, decompress and write frames. */
export type Decoders = {
  /**
   * @param isUrgent a reader waits for the frame
   * @returns what is wrong with the frame, if anything
   * @throws the error of the file if it cannot be written, or if a thread has ended
   */
  run(frame: number, task: DecodeTask, isUrgent: boolean): Promise<{ bad?: string }>;
  /** A reader waits for the frame now. */
  hurry(frame: number): void;
  close(): Promise<void>;
};

/**
 * Starts threads that verify frames, decompress them and write their units.
 *
 * @param options.count threads for all frames
 * @param options.niceness of these threads: 0 to 19. Absent: that of the process, which only root can raise the priority of
 * @param options.hasReaders one more thread, with the priority of jobs, takes the frames that a reader waits for
 */
export function startDecoders(
  { count, niceness, hasReaders }: { count: number; niceness?: number; hasReaders: boolean },
  data: DecodeData,
): Decoders {
  const urgent: Waiting[] = [];
  const others: Waiting[] = [];
  const running = new Map<number, Waiting>();
  let lastId = 0;
  let problem: Error | undefined;
  let isClosed = false;
  const first = hasReaders ? start(URGENT_NICENESS) : undefined;
  const threads = Array.from({ length: count }, () => start(niceness));

  function start(own: number | undefined): Thread {
    const workerData: ThreadData = { ...data, unitBytes: UNIT_BYTES, niceness: own };
    const thread = { worker: new Worker(`(${decodeThread})()`, { eval: true, workerData }), tasks: 0 };
    thread.worker.on('message', (result: DecodeResult) => {
      thread.tasks -= 1;
      const waiting = running.get(result.id);
      running.delete(result.id);
      if (result.failed) {
        const { message, code } = result.failed;
        waiting?.reject(Object.assign(new Error(message), code !== undefined && { code }));
      } else waiting?.resolve(result.bad === undefined ? {} : { bad: result.bad });
      give();
    });
    thread.worker.on('error', end);
    thread.worker.on('exit', (code) => {
      if (!isClosed) end(new Error(`a thread that decodes frames ended with ${code}`));
    });
    return thread;
  }

  function end(error: Error): void {
    problem ??= error;
    for (const waiting of [...running.values(), ...urgent.splice(0), ...others.splice(0)]) {
      waiting.reject(problem);
    }
    running.clear();
  }

  function give(): void {
    while (first && first.tasks < TASKS_PER_THREAD && pass(urgent.shift(), first));
    for (;;) {
      const [idlest] = threads.toSorted((a, b) => a.tasks - b.tasks);
      if (!idlest || idlest.tasks >= TASKS_PER_THREAD) return;
      if (!pass(urgent.shift() ?? others.shift(), idlest)) return;
    }
  }

  function pass(waiting: Waiting | undefined, thread: Thread): boolean {
    if (!waiting) return false;
    lastId += 1;
    running.set(lastId, waiting);
    thread.tasks += 1;
    const { stored, sha256, writes, frameUnits } = waiting.task;
    thread.worker.postMessage({
      id: lastId,
      stored,
      sha256: sha256.toString('hex'),
      writes,
      frameBytes: bytesOf(frameUnits),
      decompression: frameDecompression(frameUnits),
    } satisfies ThreadTask);
    return true;
  }

  return {
    run(frame, task, isUrgent) {
      if (problem) return Promise.reject(problem);
      return new Promise((resolve, reject) => {
        (isUrgent ? urgent : others).push({ frame, task, resolve, reject });
        give();
      });
    },
    hurry(frame) {
      const position = others.findIndex((waiting) => waiting.frame === frame);
      if (position < 0) return;
      urgent.push(...others.splice(position, 1));
      give();
    },
    async close() {
      isClosed = true;
      await Promise.all([first ?? [], threads].flat().map(({ worker }) => worker.terminate()));
    },
  };
}

/**
 * aw-runner is one file, so a thread receives the text of this function: it uses built-in modules, its own data and nothing else of
 * this module.
 */
function decodeThread() {
  const fs = process.getBuiltinModule('node:fs');
  const zlib = process.getBuiltinModule('node:zlib');
  const crypto = process.getBuiltinModule('node:crypto');
  const os = process.getBuiltinModule('node:os');
  const threads = process.getBuiltinModule('node:worker_threads');
  const { image, missing, unitBytes, niceness } = threads.workerData as ThreadData;
  const port = threads.parentPort as MessagePort;
  const file = image === undefined ? undefined : fs.openSync(image, 'r+');
  if (niceness !== undefined) {
    // Linux takes the number of a thread for that of a process (setpriority(2)).
    const thread = Number(fs.readlinkSync('/proc/thread-self').split('/').at(-1));
    os.setPriority(thread, niceness);
  }

  const decoded = ({ stored, sha256, frameBytes, decompression }: ThreadTask) => {
    if (crypto.hash('sha256', stored, 'hex') !== sha256) throw new Error('has another sha256');
    let frame: Uint8Array;
    try {
      // One byte more than the content: with a full piece Node allocates another one and continues, which takes a fifth of the time.
      frame = zlib.zstdDecompressSync(stored, { ...decompression, chunkSize: frameBytes + 1 });
    } catch {
      throw new Error('does not decompress to its units');
    }
    if (frame.length !== frameBytes) throw new Error(`has ${frame.length} bytes of content`);
    return frame;
  };

  const write = (frame: Uint8Array, { firstUnit, units, firstUnitInFrame }: UnitWrite) => {
    if (file === undefined) return;
    const from = firstUnitInFrame * unitBytes;
    for (let done = 0; done < units * unitBytes; ) {
      const rest = units * unitBytes - done;
      done += fs.writeSync(file, frame, from + done, rest, firstUnit * unitBytes + done);
    }
    if (missing === undefined) return;
    for (let unit = firstUnit; unit < firstUnit + units; unit += 1) Atomics.store(missing, unit, 0);
  };

  // A decompressed frame is garbage at once. Left alone, V8 lets 64 MB of them pile up in each thread, and then looks at all
  // objects; the collection of the youngest objects takes a fraction of a millisecond, and the next frame gets the same memory.
  process.getBuiltinModule('node:v8').setFlagsFromString('--expose-gc');
  const collect = process.getBuiltinModule('node:vm').runInNewContext('gc') as (options: object) => void;
  const FRAMES_PER_COLLECTION = 2;
  let frames = 0;

  port.on('message', (task: ThreadTask) => {
    const { id, writes } = task;
    frames += 1;
    if (frames % FRAMES_PER_COLLECTION === 0) collect({ type: 'minor' });
    let frame: Uint8Array;
    try {
      frame = decoded(task);
    } catch (problem) {
      port.postMessage({ id, bad: String((problem as Error).message) } satisfies DecodeResult);
      return;
    }
    try {
      for (const each of writes) write(frame, each);
      port.postMessage({ id } satisfies DecodeResult);
    } catch (problem) {
      const { message, code } = problem as NodeJS.ErrnoException;
      port.postMessage({ id, failed: { message, code } } satisfies DecodeResult);
    }
  });
}
