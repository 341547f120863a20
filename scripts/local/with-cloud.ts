import type { Cloud, CloudOptions } from './cloud.ts';
import { startCloud } from './start-cloud.ts';

/** The run ended early. The message is for the terminal. */
export class CloudEnded extends Error {
  override readonly name = 'CloudEnded';
  /** For the process: 130 after Ctrl-C, as shells have it, otherwise 1. */
  readonly exitCode: number;

  constructor(message: string, exitCode: number) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** Within this time a second signal is the same Ctrl-C, from the terminal and from npm, in milliseconds. */
const SAME_SIGNAL_MS = 1_000;

/** Signals that ask a program to end, with the exit code that shells expect of it then. */
const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/**
 * Starts a cloud, runs `use`, and stops the cloud when `use` ends: by itself, by an error, by Ctrl-C or another signal, or because
 * MiniStack ended. A second Ctrl-C does not wait; the cleanup process then removes the rest.
 *
 * @param use stops soon after its signal is aborted
 * @throws {CloudEnded} if a signal or MiniStack's death ended it; and every error of `use`
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
      // After the end of the cloud, other errors are consequences of it.
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
  let receivedAt: number | undefined;
  const listeners = Object.entries(SIGNALS).map(([signal, exitCode]) => {
    const listener = () => {
      if (receivedAt !== undefined) {
        if (performance.now() - receivedAt > SAME_SIGNAL_MS) process.exit(exitCode);
        return;
      }
      receivedAt = performance.now();
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
