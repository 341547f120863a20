import { spawnSync } from 'node:child_process';
import { hash } from 'node:crypto';
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { open, readFile, writeFile } from 'node:fs/promises';
import { availableParallelism, setPriority } from 'node:os';
import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { clientSettings } from '../../../../../shared/runtime/client-settings.ts';
import { errorText } from '../../../../../shared/runtime/errors.ts';
import { CorruptRecord } from '../../../../../shared/snapshot/errors.ts';
import { BrokenFrame } from '../../../../../shared/snapshot/frame.ts';
import { type FrameIndex, openIndex } from '../../../../../shared/snapshot/frame-index.ts';
import { planRestore } from '../../../../../shared/snapshot/restore-plan.ts';
import { bytesOf, UNIT_BYTES, unitsOf } from '../../../../../shared/snapshot/units.ts';
import { startTime } from '../../processes.ts';
import { startDecoders } from '../decoders.ts';
import { frameMemory } from '../frame-memory.ts';
import { startWriteBack } from '../write-back.ts';
import { MissingObject, startFetcher } from './fetcher.ts';
import { frameTable } from './frame-table.ts';
import { type FuseEnd, type MissedRead, startFuseThread } from './fuse-thread.ts';
import { metadataRanges } from './metadata-reader.ts';
import {
  type LazyPaths,
  type LazyRequest,
  type LazyStatus,
  lazyPaths,
  readRequest,
  type StoredIndex,
  writeStatus,
} from './status.ts';

/** Threads that answer the kernel: a read of a large run of the local file does not delay the next one. */
const FUSE_THREADS = 2;

/** Frames that nothing needs yet are decoded with what the job leaves of the cores. */
const DECODER_NICENESS = 10;

/** Most threads that decode frames: each decodes some 200 MB/s of stored bytes, so these exceed a link of 10 Gbit/s. */
const MOST_DECODERS = 8;

/** Of the threads that answer the kernel: they need little time, but every program that reads the image waits for it. */
const PRIORITY = -10;

/** Interval of the status while the image is being filled, in milliseconds. */
const STATUS_MS = 100;

const EIO = 5;

/**
 * Serves the image of a lazy start as one file, and completes the local image. Runs as a process of its own and ends when the
 * file is unmounted. It reads the index and the local image only, never a path below the tree that it serves: such a read would
 * wait for itself.
 *
 * @param directory of the lazy start; has the request
 * @returns the exit code: 0 after an unmount
 */
export async function serveImage(directory: string, log: (line: string) => void): Promise<number> {
  const paths = lazyPaths(directory);
  const own = { pid: process.pid, startTime: (await startTime(process.pid)) ?? '' };
  const none = { frames: 0, ofFrames: 0, fetchedBytes: 0, misses: 0, seconds: 0 };
  // First of all, so that aw-runner can always find and end this process.
  await writeStatus(paths, { process: own, state: 'starting', progress: none });
  const die = async (error: unknown) => {
    const failure = { reason: errorText(error).slice(0, 1000), isBroken: error instanceof CorruptRecord };
    log(`the image is not served any more: ${failure.reason}`);
    try {
      await writeStatus(paths, { process: own, state: 'failed', failure, progress: none });
    } finally {
      // Node waits for its threads at an exit, and they wait in the kernel for requests that would never be answered.
      process.kill(process.pid, 'SIGKILL');
    }
  };
  process.on('uncaughtException', die);
  try {
    setPriority(PRIORITY);
  } catch (error) {
    log(`the priority of the process stays: ${errorText(error)}`);
  }
  try {
    return await serve(paths, own, log);
  } catch (error) {
    await die(error);
    return 1;
  }
}

async function serve(
  paths: LazyPaths,
  own: LazyStatus['process'],
  log: (line: string) => void,
): Promise<number> {
  const request = await readRequest(paths);
  const { image } = request;
  const index = await readStoredIndex(request.index);
  const plan = planRestore(index, request.base && (await readStoredIndex(request.base)));
  await writeFile(paths.metadata, JSON.stringify(metadataRanges(index)));
  const table = frameTable(() => plan.fetches(), index.imageUnits);
  const shared = { image: image.file, missing: table.missing, unitBytes: UNIT_BYTES };
  const decoders = startDecoders(
    {
      count: Math.max(2, Math.min(MOST_DECODERS, availableParallelism() >> 1)),
      niceness: DECODER_NICENESS,
      hasReaders: true,
    },
    shared,
  );
  const read = frameReader(request);
  const memory = frameMemory();
  const local = await open(image.file, 'r+');
  const writeBack = startWriteBack(local);
  const fetcher = startFetcher({
    table,
    read: (object, start, length, signal) => read(object, start, length, signal),
    allocate: (length) => memory.take(length),
    drop: (stored) => memory.give(stored),
    async store(frame, stored, isMissed) {
      const frameUnits = table.frameUnits(frame);
      const task = { stored, sha256: table.sha256(frame), writes: table.writes(frame), frameUnits };
      const result = await decoders.run(frame, task, isMissed).finally(() => memory.give(stored));
      writeBack.add(bytesOf(frameUnits));
      return result;
    },
    hurry: (frame) => decoders.hurry(frame),
    patienceMs: request.patienceSeconds * 1000,
    warn: log,
  });

  const fuse = mountServed(paths.served);
  const isAlive = { value: true };
  const ended = Promise.all(
    Array.from({ length: FUSE_THREADS }, () => serveThread({ fuse, ...shared, size: image.bytes })),
  );

  let state: LazyStatus['state'] = 'filling';
  let failure: LazyStatus['failure'];
  let reported = Promise.resolve();
  /** One after the other, the last one with the last state. */
  const report = () => {
    reported = reported
      .catch(() => {})
      .then(() =>
        writeStatus(paths, {
          process: own,
          state,
          ...(failure && { failure }),
          progress: fetcher.progress(),
        }),
      );
    return reported;
  };
  // The status is the sign that the file is mounted.
  await report();
  const timer = setInterval(() => {
    void report().catch((error) => log(`the status cannot be written: ${errorText(error)}`));
  }, STATUS_MS);

  const filled = fetcher.finished
    .then(async () => {
      await decoders.close();
      await writeBack.end();
      state = 'complete';
      const { frames, fetchedBytes, misses } = fetcher.progress();
      log(`the image is complete: ${frames} frames, ${fetchedBytes} bytes, ${misses} missed reads`);
    })
    .catch((error: unknown) => {
      if (!isAlive.value) return;
      state = 'failed';
      const isBroken = error instanceof BrokenFrame || error instanceof MissingObject;
      failure = { reason: errorText(error).slice(0, 1000), isBroken };
      log(`the image stays incomplete: ${failure.reason}`);
    })
    .finally(async () => {
      clearInterval(timer);
      if (isAlive.value) await report();
    });

  await ended;
  isAlive.value = false;
  clearInterval(timer);
  fetcher.stop();
  if (state !== 'filling') await filled;
  await decoders.close();
  await local.close();
  closeSync(fuse);
  return 0;

  /** One thread that answers the kernel, until the file is unmounted. */
  async function serveThread(data: Parameters<typeof startFuseThread>[0]): Promise<void> {
    const thread = startFuseThread(data);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    thread.on('message', (message: MissedRead | FuseEnd) => {
      if (!('ended' in message)) void answerMissed(message);
      else if (message.ended === null) resolve();
      else reject(new Error(`a thread of the served file ended: ${message.ended}`));
    });
    thread.on('error', reject);
    await promise;
    await thread.terminate();
  }

  async function answerMissed({ unique, offset, length }: MissedRead): Promise<void> {
    const answer = Buffer.allocUnsafe(16 + length);
    let problem = 0;
    try {
      const needed = new Set<number>();
      const last = Math.floor((offset + length - 1) / UNIT_BYTES);
      for (let unit = Math.floor(offset / UNIT_BYTES); unit <= last; unit += 1) {
        const number = Atomics.load(table.missing, unit);
        if (number > 0) needed.add(number - 1);
      }
      await Promise.all([...needed].map((frame) => fetcher.need(frame)));
      for (let done = 0; done < length; ) {
        const bytes = readSync(local.fd, answer, 16 + done, length - done, offset + done);
        if (bytes === 0) throw new Error(`${image.file} is shorter than the image`);
        done += bytes;
      }
    } catch {
      // The status has the reason.
      problem = EIO;
    }
    const size = problem === 0 ? 16 + length : 16;
    answer.writeUInt32LE(size, 0);
    answer.writeInt32LE(-problem, 4);
    answer.writeBigUInt64LE(unique, 8);
    try {
      writeSync(fuse, answer, 0, size);
    } catch (error) {
      // ENOENT: the reader was killed. ENODEV: the file was unmounted.
      if (!/^(ENOENT|ENODEV)$/.test((error as NodeJS.ErrnoException).code ?? '')) throw error;
    }
  }
}

/** @throws {CorruptRecord} if the file is not the index that the manifest names */
async function readStoredIndex({ file, sha256, imageBytes, objects }: StoredIndex): Promise<FrameIndex> {
  const bytes = await readFile(file);
  if (hash('sha256', bytes) !== sha256) throw new CorruptRecord(file, 'has another sha256 than the manifest');
  return openIndex(file, bytes, { imageUnits: unitsOf(imageBytes), objects });
}

/**
 * Mounts a file at a file. The program `mount` receives /dev/fuse as an open file, so neither libfuse nor its set-uid program is
 * needed. Only root and the kernel can read the file: there is no `allow_other`.
 *
 * @returns the open /dev/fuse
 */
function mountServed(target: string): number {
  const fuse = openSync('/dev/fuse', 'r+');
  const options = 'fd=3,rootmode=100400,user_id=0,group_id=0,ro,nodev,nosuid,noexec';
  const { status, stderr, error } = spawnSync(
    'mount',
    ['-i', '-t', 'fuse', '-o', options, 'hearth-image', target],
    { stdio: ['ignore', 'ignore', 'pipe', fuse], encoding: 'utf8' },
  );
  if (status === 0) return fuse;
  closeSync(fuse);
  throw new Error(`the image cannot be served at ${target}: ${error?.message ?? stderr.trim()}`);
}

/** Reads parts of the frames objects. Retries are the fetcher's, which knows how long a reader may wait. */
function frameReader(request: LazyRequest) {
  const s3 = new S3Client({ ...clientSettings('daemon', request.region), maxAttempts: 1 });
  return async (object: number, start: number, length: number, signal: AbortSignal) => {
    const Key = request.objects[object];
    if (Key === undefined) throw new MissingObject(`the manifest names no object ${object}`);
    const Range = `bytes=${start}-${start + length - 1}`;
    try {
      const { Body } = await s3.send(new GetObjectCommand({ Bucket: request.bucket, Key, Range }), {
        abortSignal: signal,
      });
      return Body as AsyncIterable<Uint8Array>;
    } catch (error) {
      if (error instanceof Error && /^(NoSuchKey|NotFound|NoSuchBucket|InvalidRange)$/.test(error.name)) {
        throw new MissingObject(`${Key} is missing or too short: ${error.name}`, { cause: error });
      }
      throw error;
    }
  };
}
