import { spawn } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';

/** A lock that this process holds. The kernel releases it with the process, however it ends. */
export type Lock = { release(): Promise<void> };

/** Another process holds the lock. */
export class Locked extends Error {
  override readonly name = 'Locked';
}

/**
 * Takes an exclusive lock on a file, for all processes of the instance. Node has no call for it, so `flock` (util-linux) holds it
 * and ends as soon as its standard input is closed. Systems without Linux are laptops and have no lock.
 *
 * @param file is created if it does not exist
 * @param options.wait waits for the lock until `signal` is aborted; else a held lock is an error at once
 * @throws {Locked}; the reason of `signal`
 */
export async function lockFile(
  file: string,
  options: { wait?: boolean; signal?: AbortSignal } = {},
): Promise<Lock> {
  if (process.platform !== 'linux') return { release: async () => {} };
  options.signal?.throwIfAborted();
  await mkdir(dirname(file), { recursive: true });
  const mode = options.wait ? [] : ['--nonblock'];
  // Exit code 75 distinguishes a held lock from a failure of flock.
  const child = spawn(
    'flock',
    [
      '--exclusive',
      '--conflict-exit-code',
      '75',
      ...mode,
      file,
      'sh',
      '-c',
      'echo locked && exec cat >/dev/null',
    ],
    { stdio: ['pipe', 'pipe', 'pipe'] },
  );
  let problem = '';
  child.stderr.setEncoding('utf8').on('data', (piece: string) => (problem += piece));
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  const abort = () => child.stdin.destroy();
  const stop = () => child.kill('SIGKILL');
  options.signal?.addEventListener('abort', stop, { once: true });
  try {
    await new Promise<void>((resolve, reject) => {
      child.once('error', (cause) => reject(new Error(`flock did not run: ${cause.message}`, { cause })));
      child.stdout.once('data', () => resolve());
      void ended.then((code) => {
        if (options.signal?.aborted) return reject(options.signal.reason);
        reject(
          code === 75 ? new Locked(`${file} is held by another process`) : new Error(`flock: ${problem}`),
        );
      });
    });
  } finally {
    options.signal?.removeEventListener('abort', stop);
  }
  return {
    async release() {
      abort();
      await ended;
    },
  };
}
