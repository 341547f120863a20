import type { BazelWarming } from '../config.ts';
import { bazelProgram } from './bazel-program.ts';
import { runThenAlways } from './finally.ts';
import { type RunPrograms, runProgram } from './run-program.ts';

/**
 * Runs the default warming command by hand, and shuts its server down.
 *
 * @param warm the warm directory
 * @throws if Bazel fails; the server is shut down before
 */
export async function warmBazel(settings: BazelWarming, warm: string, run: RunPrograms): Promise<void> {
  const { argv, directory } = bazelProgram(settings, warm);
  const build = runProgram(argv, directory, run);
  // Not ended by `run.signal`: a run that is out of time has a server to shut down as well.
  const shutdown = () =>
    runProgram([...argv.slice(0, 2), 'shutdown'], directory, {
      ...run,
      signal: AbortSignal.timeout(SHUTDOWN_MS),
    });
  await runThenAlways(build, shutdown, run.log);
}

/** After this long `bazel shutdown` has not worked, in milliseconds. */
const SHUTDOWN_MS = 120_000;
