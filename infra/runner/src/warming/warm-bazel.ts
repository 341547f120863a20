import type { BazelWarming } from '../config.ts';
import { bazelCaches } from './bazel-caches.ts';
import { runThenAlways } from './finally.ts';
import { type RunPrograms, runProgram } from './run-program.ts';

/**
 * The default warming command: everything that a build of the targets needs is fetched and the whole graph is analysed, with
 * the caches in the warm directory; nothing is built, unless the settings ask for it. Analysis itself is in the server's
 * memory and is not kept: what is kept is that it has nothing to fetch any more.
 *
 * @param warm the warm directory
 * @throws if Bazel fails; the server is shut down before
 */
export async function warmBazel(settings: BazelWarming, warm: string, run: RunPrograms): Promise<void> {
  const { program, directory, targets } = settings;
  const { outputUserRoot, repositoryCache, diskCache } = bazelCaches(warm);
  const startup = [program, `--output_user_root=${outputUserRoot}`];
  const caches = [`--repository_cache=${repositoryCache}`, `--disk_cache=${diskCache}`];
  const extent = settings.build ? [] : ['--nobuild'];
  const build = runProgram([...startup, 'build', ...extent, ...caches, '--', ...targets], directory, run);
  // Not ended by `run.signal`: a run that is out of time has a server to shut down as well.
  const shutdown = () =>
    runProgram([...startup, 'shutdown'], directory, { ...run, signal: AbortSignal.timeout(SHUTDOWN_MS) });
  await runThenAlways(build, shutdown, run.log);
}

/** After this long `bazel shutdown` has not worked, in milliseconds. */
const SHUTDOWN_MS = 120_000;
