import { type DecodeData, type DecodeResult, type DecodeTask, startDecodeThread } from './threads.ts';

/** Tasks that a thread has at once: one that it works on, and one so that it need not wait for the next. */
const TASKS_PER_THREAD = 2;

/** A reader waits for these frames: a job that uses all cores would otherwise keep itself waiting. */
const URGENT_NICENESS = 0;

/** Frames that nothing needs yet are decoded with what the job leaves of the cores. */
const NICENESS = 10;

type Waiting = {
  frame: number;
  task: Omit<DecodeTask, 'id'>;
  resolve: (result: { bad?: string }) => void;
  reject: (error: Error) => void;
};

/** Threads that verify, decompress and write frames. */
export type Decoders = {
  /**
   * @param isUrgent a reader waits for the frame
   * @returns what is wrong with the frame, if anything
   * @throws if the local file cannot be written, or a thread has ended
   */
  run(frame: number, task: Omit<DecodeTask, 'id'>, isUrgent: boolean): Promise<{ bad?: string }>;
  /** A reader waits for the frame now. */
  hurry(frame: number): void;
  close(): Promise<void>;
};

/**
 * Starts `count` threads for all frames, and one with the priority of the job for those that a reader waits for.
 */
export function startDecoders(count: number, data: Omit<DecodeData, 'niceness'>): Decoders {
  const urgent: Waiting[] = [];
  const others: Waiting[] = [];
  const running = new Map<number, Waiting>();
  let lastId = 0;
  let problem: Error | undefined;
  let isClosed = false;
  const first = start(URGENT_NICENESS);
  const threads = Array.from({ length: count }, () => start(NICENESS));

  function start(niceness: number) {
    const thread = { worker: startDecodeThread({ ...data, niceness }), tasks: 0 };
    thread.worker.on('message', (result: DecodeResult) => {
      thread.tasks -= 1;
      const waiting = running.get(result.id);
      running.delete(result.id);
      if (result.failed !== undefined) waiting?.reject(new Error(`the local file: ${result.failed}`));
      else waiting?.resolve(result.bad === undefined ? {} : { bad: result.bad });
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
    while (first.tasks < TASKS_PER_THREAD && pass(urgent.shift(), first));
    for (;;) {
      const [idlest] = threads.toSorted((a, b) => a.tasks - b.tasks);
      if (!idlest || idlest.tasks >= TASKS_PER_THREAD) return;
      if (!pass(urgent.shift() ?? others.shift(), idlest)) return;
    }
  }

  function pass(waiting: Waiting | undefined, thread: typeof first): boolean {
    if (!waiting) return false;
    lastId += 1;
    running.set(lastId, waiting);
    thread.tasks += 1;
    thread.worker.postMessage({ id: lastId, ...waiting.task } satisfies DecodeTask);
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
      await Promise.all([first, ...threads].map(({ worker }) => worker.terminate()));
    },
  };
}
