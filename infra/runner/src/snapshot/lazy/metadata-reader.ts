import { spawn } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import * as v from 'valibot';
import type { FrameIndex } from '../../../../../shared/snapshot/frame-index.ts';
import { bytesOf } from '../../../../../shared/snapshot/units.ts';
import { identify, signalProcess } from '../../processes.ts';
import type { LazyPaths } from './status.ts';

/**
 * Reads the metadata of a served image into the page cache, in large pieces and once: a walk over all files would otherwise ask
 * the process for each directory and each piece of an inode table, one after the other. It is a program of its own: a read that
 * waits for S3 must hold neither aw-runner nor the process that serves the image.
 */

/** Most metadata that is read, in bytes: some five million files. */
const MOST_BYTES = 512 * 1024 * 1024;

type Range = { start: number; bytes: number };

/** The places of the image that a restore fetches first, in order. */
export function metadataRanges(index: FrameIndex): Range[] {
  const ranges: Range[] = [];
  let total = 0;
  for (const record of index.fetchedFirst()) {
    const [start, bytes] = [bytesOf(index.firstUnit(record)), bytesOf(index.units(record))];
    total += bytes;
    if (total > MOST_BYTES) break;
    const last = ranges.at(-1);
    if (last && last.start + last.bytes === start) last.bytes += bytes;
    else ranges.push({ start, bytes });
  }
  return ranges;
}

/** Starts the reader. It ends by itself, also when a read fails. */
export async function startMetadataReader(paths: LazyPaths, device: string): Promise<void> {
  const child = spawn(process.execPath, ['-e', `(${readRanges})()`, device, paths.metadata], {
    detached: true,
    stdio: 'ignore',
  });
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', reject);
  });
  child.unref();
  const started = child.pid === undefined ? undefined : await identify(child.pid);
  if (started) await writeFile(paths.reader, JSON.stringify(started));
}

const identity = v.object({ pid: v.number(), startTime: v.string() });

/** Ends the reader, which has the loop device open. */
export async function endMetadataReader(paths: LazyPaths): Promise<void> {
  const text = await readFile(paths.reader, 'utf8').catch(() => undefined);
  if (text === undefined) return;
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), identity), text);
  if (parsed.success) await signalProcess(parsed.output, 'SIGKILL');
}

/** The program. It is text for another Node, so it uses nothing of this module. */
function readRanges() {
  const fs = process.getBuiltinModule('node:fs');
  const [device = '', file = ''] = process.argv.slice(1);
  const buffer = Buffer.allocUnsafe(1024 * 1024);
  const opened = fs.openSync(device, 'r');
  for (const { start, bytes } of JSON.parse(fs.readFileSync(file, 'utf8')) as Range[]) {
    for (let done = 0; done < bytes; ) {
      const read = fs.readSync(opened, buffer, 0, Math.min(buffer.length, bytes - done), start + done);
      if (read === 0) break;
      done += read;
    }
  }
}
