import { setTimeout as sleep } from 'node:timers/promises';
import { ChildProcessFailed, execute } from './child-process.ts';

/** Longest wait until systemd has removed the unit before, and the time between two tries; in milliseconds. */
const REMOVAL_MS = 10_000;
const REMOVAL_POLL_MS = 100;

/**
 * Starts a unit whose name an earlier one had, which is ended and removed first (systemd-run(1)).
 *
 * @param name with its suffix, as `aw-cache.service`
 * @param settings further options of systemd-run
 * @throws {ChildProcessFailed} if it does not start, or the earlier one is still there after ten seconds
 */
export async function startTransientUnit(
  name: string,
  settings: readonly string[],
  command: readonly string[],
): Promise<void> {
  const start = ['--quiet', '--no-ask-password', `--unit=${name}`, ...settings, '--', ...command];
  for (const end = performance.now() + REMOVAL_MS; ; await sleep(REMOVAL_POLL_MS)) {
    // Of a unit that is about to start again, or has failed.
    await execute('systemctl', ['stop', name]).catch(() => undefined);
    await execute('systemctl', ['reset-failed', name]).catch(() => undefined);
    try {
      await execute('systemd-run', start);
      return;
    } catch (error) {
      // systemd removes a unit some time after its end.
      const isLeft = error instanceof ChildProcessFailed && /already loaded/.test(error.output);
      if (!isLeft || performance.now() > end) throw error;
    }
  }
}
