import type { CiProvider } from '../../../../shared/fleet/names.ts';
import type { AgentDriver } from './driver.ts';

/**
 * A host that this version has no driver for. Its runners fail their boot, which is reported, counted and paged, instead of
 * standing there without ever taking a job.
 */
export function unsupportedAgent(host: CiProvider): AgentDriver {
  return {
    async start() {
      throw new Error(
        `this version of aw-runner has no driver for ${host}: it can warm snapshots, not run jobs`,
      );
    },
    async stopIntake() {},
    status: async () => ({ state: 'gone' }),
  };
}
