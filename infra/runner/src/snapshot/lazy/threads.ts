import type { MessagePort } from 'node:worker_threads';
import { Worker } from 'node:worker_threads';
import type { ZstdOptions } from 'node:zlib';
import type { UnitWrite } from '../../../../../shared/snapshot/restore-plan.ts';

/**
 * Threads of the process that serves an image. aw-runner is one file, so a thread receives the text of a function: each of these
 * functions uses built-in modules, its own data and nothing else of this module.
 */

/** What both kinds of threads share: the local file, and per unit 0 if the file has it (`FrameTable.missing`). */
type SharedData = { image: string; missing: Int32Array<SharedArrayBuffer>; unitBytes: number };

export type FuseData = SharedData & {
  /** An open /dev/fuse. */
  fuse: number;
  /** Size of the image in bytes. */
  size: number;
};

/** A read that needs a unit which the local file does not have yet. */
export type MissedRead = { unique: bigint; offset: number; length: number };

/** The thread ended: the file was unmounted, or an error that is not one of the protocol. */
export type FuseEnd = { ended: string | null };

export type DecodeData = SharedData & {
  /** Added to the priority of the thread: 0 to 19. */
  niceness: number;
};

/** One frame as it was received, and the places of its units in the image. */
export type DecodeTask = {
  id: number;
  /** In shared memory, so that it can be used again. */
  stored: Uint8Array;
  /** Sha256 of the stored bytes, hexadecimal. */
  sha256: string;
  writes: UnitWrite[];
  /** Of the decompressed frame. */
  frameBytes: number;
  decompression: ZstdOptions;
};

/** `bad`: the bytes differ from the index. `failed`: the local file cannot be written. */
export type DecodeResult = { id: number; bad?: string; failed?: string };

export function startFuseThread(data: FuseData): Worker {
  return new Worker(`(${fuseThread})()`, { eval: true, workerData: data });
}

export function startDecodeThread(data: DecodeData): Worker {
  return new Worker(`(${decodeThread})()`, { eval: true, workerData: data });
}

/**
 * Answers requests of the kernel for a file system that is one read-only file (Linux, include/uapi/linux/fuse.h). A read of
 * units that the local file has is answered here; any other read goes to the main thread.
 */
function fuseThread() {
  const fs = process.getBuiltinModule('node:fs');
  const threads = process.getBuiltinModule('node:worker_threads');
  const { fuse, image, size, missing, unitBytes } = threads.workerData as FuseData;
  const port = threads.parentPort as MessagePort;
  const local = fs.openSync(image, 'r');
  const MAX_READ = 1024 * 1024;
  const request = Buffer.allocUnsafe(MAX_READ + 64 * 1024);
  const answer = Buffer.alloc(16 + MAX_READ);
  const ENOSYS = 38;
  const EIO = 5;

  const send = (unique: bigint, error: number, length: number) => {
    answer.writeUInt32LE(16 + length, 0);
    answer.writeInt32LE(-error, 4);
    answer.writeBigUInt64LE(unique, 8);
    try {
      fs.writeSync(fuse, answer, 0, 16 + length);
    } catch (problem) {
      // ENOENT: the caller was killed, and its request with it.
      if ((problem as NodeJS.ErrnoException).code !== 'ENOENT') throw problem;
    }
  };

  const initialize = (unique: bigint) => {
    answer.fill(0, 16, 16 + 64);
    answer.writeUInt32LE(7, 16); // major
    answer.writeUInt32LE(31, 20); // minor
    answer.writeUInt32LE(MAX_READ, 24); // max_readahead
    // FUSE_ASYNC_READ, FUSE_ASYNC_DIO (a loop device with direct I/O sends several reads at once), FUSE_MAX_PAGES
    answer.writeUInt32LE((1 << 0) | (1 << 15) | (1 << 22), 28);
    answer.writeUInt16LE(64, 32); // max_background
    answer.writeUInt16LE(48, 34); // congestion_threshold
    answer.writeUInt32LE(4096, 36); // max_write
    answer.writeUInt32LE(1, 40); // time_gran
    answer.writeUInt16LE(MAX_READ / 4096, 44); // max_pages
    send(unique, 0, 64);
  };

  const attributes = (unique: bigint) => {
    answer.fill(0, 16, 16 + 104);
    answer.writeBigUInt64LE(3600n, 16); // validity in seconds
    answer.writeBigUInt64LE(1n, 32); // ino
    answer.writeBigUInt64LE(BigInt(size), 40);
    answer.writeBigUInt64LE(BigInt(Math.ceil(size / 512)), 48);
    answer.writeUInt32LE(0o100400, 92); // mode
    answer.writeUInt32LE(1, 96); // nlink
    answer.writeUInt32LE(4096, 112); // blksize
    send(unique, 0, 104);
  };

  const read = (unique: bigint) => {
    const offset = Number(request.readBigUInt64LE(48));
    const length = Math.max(0, Math.min(request.readUInt32LE(56), size - offset));
    const last = Math.floor((offset + length - 1) / unitBytes);
    for (let unit = Math.floor(offset / unitBytes); unit <= last; unit += 1) {
      if (Atomics.load(missing, unit) === 0) continue;
      port.postMessage({ unique, offset, length } satisfies MissedRead);
      return;
    }
    try {
      let done = 0;
      while (done < length) {
        const bytes = fs.readSync(local, answer, 16 + done, length - done, offset + done);
        if (bytes === 0) throw new Error(`${image} is shorter than the image`);
        done += bytes;
      }
    } catch {
      return send(unique, EIO, 0);
    }
    send(unique, 0, length);
  };

  const serve = () => {
    for (;;) {
      try {
        fs.readSync(fuse, request, 0, request.length, null);
      } catch (problem) {
        const { code } = problem as NodeJS.ErrnoException;
        if (code === 'ENODEV') return; // unmounted
        // ENOENT: the request was interrupted while it was read.
        if (code === 'EINTR' || code === 'ENOENT' || code === 'EAGAIN') continue;
        throw problem;
      }
      const unique = request.readBigUInt64LE(8);
      switch (request.readUInt32LE(4)) {
        case 26:
          initialize(unique);
          break;
        case 3:
          attributes(unique);
          break;
        case 14: // OPEN, with FOPEN_DIRECT_IO: the pages are cached above the loop device, and not twice
          answer.fill(0, 16, 32);
          answer.writeUInt32LE(1, 24);
          send(unique, 0, 16);
          break;
        case 15:
          read(unique);
          break;
        case 17: // STATFS
          answer.fill(0, 16, 96);
          send(unique, 0, 80);
          break;
        case 18: // RELEASE
        case 25: // FLUSH
        case 38: // DESTROY
          send(unique, 0, 0);
          break;
        case 2: // FORGET
        case 36: // INTERRUPT
        case 42: // BATCH_FORGET; these three have no answer
          break;
        default:
          send(unique, ENOSYS, 0);
      }
    }
  };

  try {
    serve();
    port.postMessage({ ended: null } satisfies FuseEnd);
  } catch (problem) {
    port.postMessage({ ended: String(problem) } satisfies FuseEnd);
  }
}

/** Verifies frames, decompresses them and writes their units into the local file. */
function decodeThread() {
  const fs = process.getBuiltinModule('node:fs');
  const zlib = process.getBuiltinModule('node:zlib');
  const crypto = process.getBuiltinModule('node:crypto');
  const os = process.getBuiltinModule('node:os');
  const threads = process.getBuiltinModule('node:worker_threads');
  const { image, missing, unitBytes, niceness } = threads.workerData as DecodeData;
  const port = threads.parentPort as MessagePort;
  const local = fs.openSync(image, 'r+');
  // The job and the threads that answer it come first. Linux takes the number of a thread for that of a process (setpriority(2)).
  const thread = Number(fs.readlinkSync('/proc/thread-self').split('/').at(-1));
  os.setPriority(thread, niceness);

  const decoded = ({ stored, sha256, frameBytes, decompression }: DecodeTask) => {
    if (crypto.hash('sha256', stored, 'hex') !== sha256) throw new Error('has another sha256');
    const frame = zlib.zstdDecompressSync(stored, { ...decompression, chunkSize: frameBytes + 1 });
    if (frame.length !== frameBytes) throw new Error(`has ${frame.length} bytes instead of ${frameBytes}`);
    return frame;
  };

  const write = (frame: Uint8Array, { firstUnit, units, firstUnitInFrame }: UnitWrite) => {
    const from = firstUnitInFrame * unitBytes;
    for (let done = 0; done < units * unitBytes; ) {
      const rest = units * unitBytes - done;
      done += fs.writeSync(local, frame, from + done, rest, firstUnit * unitBytes + done);
    }
    for (let unit = firstUnit; unit < firstUnit + units; unit += 1) Atomics.store(missing, unit, 0);
  };

  // A decompressed frame is garbage at once. Left alone, V8 lets 64 MB of them pile up in each thread, and then looks at all
  // objects; the collection of the youngest objects takes a fraction of a millisecond, and the next frame gets the same memory.
  process.getBuiltinModule('node:v8').setFlagsFromString('--expose-gc');
  const collect = process.getBuiltinModule('node:vm').runInNewContext('gc') as (options: object) => void;
  const FRAMES_PER_COLLECTION = 4;
  let frames = 0;

  port.on('message', (task: DecodeTask) => {
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
      port.postMessage({ id, failed: String((problem as Error).message) } satisfies DecodeResult);
    }
  });
}
