import type { AgentDriver } from './driver.ts';

/**
 * The driver of an instance that runs no agent. Its boot succeeds, it takes no job, and it reports that it is idle.
 *
 * @param reason logged with each boot
 */
export function noAgent(reason: string, log: (line: string) => void): AgentDriver {
  return {
    async prepare() {
      log(`no agent: ${reason}`);
    },
    async start() {},
    async stopIntake() {},
    status: async () => ({ state: 'gone' }),
    facts: () => ({ registers: false }),
  };
}
