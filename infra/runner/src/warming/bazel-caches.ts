import { join } from 'node:path';

/** Where Bazel keeps what a snapshot brings back. */
export type BazelCaches = {
  /** Holds the output base of each workspace, by the MD5 of the workspace's path: a job has to check out where the run did. */
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

/** Commands that fetch without being kinds of `build`, which hand their options on to no other. */
const FETCHING = ['build', 'fetch', 'query', 'sync'];

/**
 * The rc file that makes every Bazel of the machine use the caches. User data writes it, since it has to be there before
 * the first job; a test holds what it writes against this.
 */
export function bazelRc(warm: string): string {
  const { outputUserRoot, repositoryCache, diskCache } = bazelCaches(warm);
  return [
    `startup --output_user_root=${outputUserRoot}`,
    ...FETCHING.map((command) => `${command} --repository_cache=${repositoryCache}`),
    `build --disk_cache=${diskCache}`,
    '',
  ].join('\n');
}
