import type { BazelWarming } from '../config.ts';
import { bazelCaches } from './bazel-caches.ts';
import type { WarmingProgram } from './run-script.ts';

/**
 * The default warming command: everything that a build of the targets needs is fetched and the whole graph is analysed, with
 * the caches in the warm directory; nothing is built, unless the settings ask for it. Analysis itself is in the server's
 * memory and is not kept: what is kept is that it has nothing to fetch any more.
 *
 * @param warm the warm directory
 */
export function bazelProgram(settings: BazelWarming, warm: string): WarmingProgram {
  const { program, directory, targets, build } = settings;
  const { outputUserRoot, repositoryCache, diskCache } = bazelCaches(warm);
  const caches = [`--repository_cache=${repositoryCache}`, `--disk_cache=${diskCache}`];
  const extent = build ? [] : ['--nobuild'];
  const argv = [
    program,
    `--output_user_root=${outputUserRoot}`,
    'build',
    ...extent,
    ...caches,
    '--',
    ...targets,
  ];
  return { argv, directory };
}
