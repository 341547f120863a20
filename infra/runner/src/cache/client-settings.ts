import type { CacheTool } from '../../../../shared/fleet/build-cache.ts';

/** How the tools of a job find the cache. A repository's own settings take precedence over all of them. */

/** The rc file for every Bazel of the instance. `/etc/aw-runner/bazelrc` imports it where it exists. */
export const CACHE_BAZELRC = '/etc/aw-runner/cache.bazelrc';

/** @param port of the cache on the loopback */
export function cacheBazelRc(port: number): string {
  // A request that waits for longer has lost its answer: the cache answers in half of that time.
  return `build --remote_cache=http://127.0.0.1:${port}/bazel\nbuild --remote_timeout=10\n`;
}

/** Variables of the agent, and so of its jobs. */
export function cacheEnvironment(port: number): Record<string, string> {
  const url = (tool?: CacheTool) => `http://127.0.0.1:${port}${tool === undefined ? '' : `/${tool}`}`;
  return {
    HEARTH_CACHE_URL: url(),
    CCACHE_REMOTE_STORAGE: url('ccache'),
    SCCACHE_WEBDAV_ENDPOINT: url('sccache'),
  };
}
