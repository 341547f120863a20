import { join } from 'node:path';
import { CACHE_BAZELRC } from '../cache/client-settings.ts';

/** Bazel's directories in a snapshot. */
export type BazelCaches = {
  /** Contains the output base of each workspace, named by the MD5 of the workspace's path: a job must check out to the path of the warming run. */
  outputUserRoot: string;
  /** Downloads by their checksum. */
  repositoryCache: string;
  /** Outputs by the hash of their action; outlives `bazel clean`. */
  diskCache: string;
};

/** @param warm the warm directory */
export function bazelCaches(warm: string): BazelCaches {
  const root = join(warm, 'bazel');
  return {
    outputUserRoot: join(root, 'output'),
    repositoryCache: join(root, 'repository-cache'),
    diskCache: join(root, 'disk-cache'),
  };
}

/** Commands that fetch and do not inherit the options of `build`. */
const FETCHING = ['build', 'fetch', 'query', 'sync'];

/**
 * The rc file that makes every Bazel of the instance use the caches. User data writes it, because it must exist before the
 * first job. A test compares both.
 */
export function bazelRc(warm: string): string {
  const { outputUserRoot, repositoryCache, diskCache } = bazelCaches(warm);
  return [
    `startup --output_user_root=${outputUserRoot}`,
    ...FETCHING.map((command) => `${command} --repository_cache=${repositoryCache}`),
    `build --disk_cache=${diskCache}`,
    `try-import ${CACHE_BAZELRC}`,
    '',
  ].join('\n');
}
