import { setTimeout as sleep } from 'node:timers/promises';

/** Interval between two evaluations of a condition, in milliseconds. */
const POLL_MS = 100;

/** A condition did not become true in time. */
export class WaitTimeout extends Error {
  override readonly name = 'WaitTimeout';
}

/**
 * Waits until `probe` returns a value other than undefined or false, and returns that value.
 *
 * @param what names the condition in the error: "waited 30 s for …"
 * @param options.seconds longest wait
 * @param options.state returns the present state, for the error
 * @throws {WaitTimeout}, and every error of `probe`
 */
export async function waitFor<T>(
  what: string,
  probe: () => Promise<T | undefined | false> | T | undefined | false,
  options: { seconds: number; state?: () => unknown; signal?: AbortSignal },
): Promise<T> {
  const end = performance.now() + options.seconds * 1000;
  for (;;) {
    options.signal?.throwIfAborted();
    const found = await probe();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > end) {
      const state = options.state ? `; state: ${JSON.stringify(options.state())}` : '';
      throw new WaitTimeout(`waited ${options.seconds} s for ${what}${state}`);
    }
    await sleep(POLL_MS, undefined, options.signal && { signal: options.signal });
  }
}
