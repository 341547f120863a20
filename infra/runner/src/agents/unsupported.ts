import type { AgentDriver } from './driver.ts';

/**
 * The driver for a CI provider that this version does not support. Its runners fail their boot, which is reported, counted and
 * paged; otherwise they would stay up without ever taking a job.
 */
export function unsupportedAgent(provider: string): AgentDriver {
  return {
    async start() {
      throw new Error(
        `this version of aw-runner has no driver for ${provider}: it can warm snapshots, not run jobs`,
      );
    },
    async stopIntake() {},
    status: async () => ({ state: 'gone' }),
  };
}
