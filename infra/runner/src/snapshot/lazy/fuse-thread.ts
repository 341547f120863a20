import type { MessagePort } from 'node:worker_threads';
import { Worker } from 'node:worker_threads';

/**
 * A thread of the process that serves an image. aw-runner is one file, so a thread receives the text of a function: it uses
 * built-in modules, its own data and nothing else of this module.
 */
export type FuseData = {
  image: string;
  /** Per unit 0 if the local file has it (`FrameTable.missing`). */
  missing: Int32Array<SharedArrayBuffer>;
  unitBytes: number;
  /** An open /dev/fuse. */
  fuse: number;
  /** Size of the image in bytes. */
  size: number;
};

/** A read that needs a unit which the local file does not have yet. */
export type MissedRead = { unique: bigint; offset: number; length: number };

/** The thread ended: the file was unmounted, or an error that is not one of the protocol. */
export type FuseEnd = { ended: string | null };

export function startFuseThread(data: FuseData): Worker {
  return new Worker(`(${fuseThread})()`, { eval: true, workerData: data });
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
