import { handleScalingMessage, RETRY_FOR_MS } from '../../../functions/scaling/handle.ts';
import { type FleetGroup, freshMemory, type ScalingDeps } from '../../../functions/scaling/ports.ts';
import type { GroupState } from '../../../shared/aws/auto-scaling.ts';
import type { GroupSettings } from '../../../shared/fleet/group-settings.ts';
import type { Message } from '../../../shared/runtime/message.ts';
import { PREFIX } from '../world.ts';
import { activeGroups, type Deployment } from './functions.ts';

export { RETRY_FOR_MS };

/** The function `scaling` in one execution environment. `restart` makes a new one, which remembers nothing. */
export function scalingFunction(
  deployment: Deployment,
  ask: (group: GroupState, desired: number) => number = (_, desired) => desired,
) {
  const { ci, autoScaling, bucket, metrics, clock, random, kernel, world } = deployment;
  const pools = new Map(world.groups.map(({ settings, pool }) => [sourceKey(settings), pool]));
  const poolOf = (settings: GroupSettings) => {
    const pool = ci.pools.get(pools.get(sourceKey(settings)) ?? '');
    if (!pool) throw new Error('the simulated provider has no such pool');
    return pool;
  };

  const active = activeGroups(deployment);

  function connect(): ScalingDeps {
    return {
      prefix: PREFIX,
      groups: { all: async () => active() },
      backlogs: {
        github: async (settings, _workflows, options) => {
          const pool = poolOf(settings);
          return { installation: pool.installation, read: (reserve) => ci.jobs(pool, options, reserve) };
        },
        buildkite: async (settings) => ({ queues: await ci.metrics(poolOf(settings)), pollSeconds: 10 }),
        circleci: async (settings) => {
          const [counts = { queued: 0, running: 0 }] = (await ci.metrics(poolOf(settings))).values();
          return counts;
        },
      },
      autoScaling: {
        list: async () => autoScaling.listGroups() as Map<string, GroupState & FleetGroup>,
        describe: async (name) => autoScaling.describeGroup(name),
        setDesired: async (name, desired) => {
          const group = autoScaling.describeGroup(name);
          if (group) autoScaling.setDesired(name, ask(group, desired));
        },
        failedLaunch: async (name, since) => autoScaling.failedLaunch(name, since),
      },
      store: bucket,
      memory: freshMemory(),
      metrics,
      logger: {
        info() {},
        warn: (line, fields) => deployment.log(`scaling: ${line} ${JSON.stringify(fields)}`),
        error() {},
      },
      clock,
      sleep: (milliseconds) => kernel.sleep(milliseconds),
      random: random.next,
    };
  }

  let deps = connect();
  return {
    handle: (message: Message) => handleScalingMessage(message, deps),
    restart: () => {
      deps = connect();
    },
    deps: () => deps,
  };
}

function sourceKey(settings: GroupSettings): string {
  switch (settings.provider) {
    case 'gha':
      return `${settings.owner}/${settings.repository}`;
    case 'bk':
      return settings.tokenSecret;
    case 'cci':
      return settings.credentialsSecret;
  }
}
