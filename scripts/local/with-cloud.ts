import { type Cloud, type CloudOptions, startCloud } from './cloud.ts';

/** Why a run ended before its time; the message is for the person at the terminal. */
export class CloudEnded extends Error {
  override readonly name = 'CloudEnded';
  /** For the process: 130 after Ctrl-C, as shells have it, otherwise 1. */
  readonly exitCode: number;

  constructor(message: string, exitCode: number) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** One Ctrl-C can arrive twice, from the terminal and from npm; a person who insists takes longer, in milliseconds. */
const INSIST_MS = 1_000;

/** Signals that ask a program to end, with the exit code that shells expect of it then. */
const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/**
 * Starts a cloud, lets `use` work with it, and stops it, however `use` ends: by itself, by an error, by Ctrl-C or
 * another signal, or because MiniStack died. A second Ctrl-C does not wait: what is left then is cleaned up by the
 * process that stands guard.
 *
 * @param use should stop soon after its signal is aborted; it is not waited for longer than the stop takes
 * @throws {CloudEnded} if a signal or MiniStack's death ended it; whatever `use` throws
 */
export async function withCloud<T>(
  options: CloudOptions,
  use: (cloud: Cloud, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const ended = new AbortController();
  const listening = listenForSignals((error) => ended.abort(error));
  try {
    const cloud = await startCloud(options);
    cloud.died.then((what) => ended.abort(new CloudEnded(what, 1)));
    try {
      ended.signal.throwIfAborted();
      return await Promise.race([use(cloud, ended.signal), rejection(ended.signal)]);
    } catch (error) {
      // What fails because the cloud has gone is a consequence: the cause is worth more.
      throw ended.signal.aborted ? ended.signal.reason : error;
    } finally {
      await cloud.stop();
    }
  } finally {
    listening.close();
  }
}

function rejection(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

function listenForSignals(end: (error: CloudEnded) => void): { close(): void } {
  let heardAt: number | undefined;
  const listeners = Object.entries(SIGNALS).map(([signal, exitCode]) => {
    const listener = () => {
      if (heardAt !== undefined) {
        if (performance.now() - heardAt > INSIST_MS) process.exit(exitCode);
        return;
      }
      heardAt = performance.now();
      end(new CloudEnded(`interrupted by ${signal}`, exitCode));
    };
    process.on(signal, listener);
    return { signal, listener };
  });
  return {
    close() {
      for (const { signal, listener } of listeners) process.off(signal, listener);
    },
  };
}
