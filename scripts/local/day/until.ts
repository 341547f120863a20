import { setTimeout as sleep } from 'node:timers/promises';

/** How often a condition is looked at, in milliseconds. */
const EVERY_MS = 100;

/** What was waited for did not happen. */
export class WaitedInVain extends Error {
  override readonly name = 'WaitedInVain';
}

/**
 * Waits until `probe` gives something else than undefined or false, and returns it.
 *
 * @param what is waited for, as the end of "waited 30 s for …"
 * @param options.seconds after which waiting serves nothing
 * @param options.state tells what there was instead, for the error
 * @throws {WaitedInVain}; whatever `probe` throws
 */
export async function until<T>(
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
      const state = options.state ? `; there was ${JSON.stringify(options.state())}` : '';
      throw new WaitedInVain(`waited ${options.seconds} s for ${what}${state}`);
    }
    await sleep(EVERY_MS, undefined, options.signal && { signal: options.signal });
  }
}
