import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { execute } from '../child-process.ts';
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
 * @throws if Bazel or git fails; the server is shut down before
 */
export async function warmBazel(settings: BazelWarming, warm: string, run: RunPrograms): Promise<void> {
  const { program, directory, targets } = settings;
  if (settings.git) await checkOut(settings.git, directory, run);
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

/**
 * Brings one commit of a repository, without its history, to a directory: a clone if there is none yet. Access to a private
 * repository is git's own business (a credential helper of the user, or a deploy key on the image).
 */
async function checkOut(
  git: NonNullable<BazelWarming['git']>,
  directory: string,
  run: RunPrograms,
): Promise<void> {
  const prompt = { ...run, env: { ...run.env, GIT_TERMINAL_PROMPT: '0' } };
  const inCheckout = (...args: string[]) => runProgram(['git', ...args], directory, prompt);
  if (!(await exists(join(directory, '.git')))) {
    // Jobs check out below directories that only root may write. The user of the programs owns the checkout itself.
    if (run.user !== undefined && !(await exists(directory)))
      await execute('install', ['-d', '-o', run.user, '--', directory]);
    await runProgram(['git', 'init', '--quiet', directory], '/', run);
  }
  await inCheckout('fetch', '--depth=1', '--force', '--', git.url, git.ref);
  await inCheckout('checkout', '--quiet', '--force', '--detach', 'FETCH_HEAD');
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return false;
      throw error;
    },
  );
}
