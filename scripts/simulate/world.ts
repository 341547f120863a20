import type { GroupSettings } from '../../shared/fleet/group-settings.ts';
import { autoScalingGroupName, type CiProvider, groupId } from '../../shared/fleet/names.ts';
import { Random } from './kernel.ts';
import type { Options } from './options.ts';

/** The prefix of the simulated deployment. */
export const PREFIX = 'aw';

/** Groups that share one list of jobs: a repository of GitHub, a cluster of Buildkite. */
const GROUPS_PER_REPOSITORY = 25;
const QUEUES_PER_CLUSTER = 20;

/** Sets whose snapshots the groups boot from. */
const SETS = 4;

/** A runner group of the simulated deployment. */
export type WorldGroup = {
  id: string;
  provider: CiProvider;
  settings: GroupSettings;
  pool: string;
  installation: string | undefined;
  /** The label key of its own jobs, and those of others that it takes too. */
  key: string;
  takes: readonly string[];
  purchase: 'spot' | 'on-demand';
  set: string;
  /** Mean length of its jobs, in seconds. */
  meanSeconds: number;
  /** Hours by which its day begins later. */
  shiftHours: number;
};

/** The group whose instances make the snapshots of a set. They take no jobs; the pool is there because every group has one. */
export type WarmingGroup = { id: string; set: string; settings: GroupSettings; pool: string };

export type World = { groups: WorldGroup[]; warming: WarmingGroup[] };

/** The groups of a world: a few large ones and many small ones. */
export function worldOf(options: Options): World {
  const random = new Random(options.seed, 'world');
  const maxima = sizes(options.groups, options.runners);
  const providers = shares(options);
  const counters: Record<CiProvider, number> = { gha: 0, bk: 0, cci: 0 };
  const inGithub = providers.filter((provider) => provider === 'gha').length;
  const perInstallation = Math.ceil(inGithub / options.installations);
  const groups = maxima.map((max, index): WorldGroup => {
    const provider = providers[index] as CiProvider;
    const number = counters[provider]++;
    const name = `g${index}`;
    const common = {
      role: autoScalingGroupName(PREFIX, { provider, name }),
      autoScalingGroup: autoScalingGroupName(PREFIX, { provider, name }),
      minRunners: 0,
      maxRunners: max,
      takesJobs: true,
      replaceOutdated: true,
    };
    const group = {
      id: groupId({ provider, name }),
      provider,
      purchase: random.chance(options.spot) ? ('spot' as const) : ('on-demand' as const),
      set: `set-${index % SETS}`,
      meanSeconds: options.jobMinutes * 60 * random.pick([0.3, 0.6, 1.2, 1.9]),
      shiftHours: random.pick([0, 0, 0, 3, 6]),
    };
    if (provider === 'gha') {
      const installation = Math.floor(number / perInstallation);
      const repository = Math.floor((number % perInstallation) / GROUPS_PER_REPOSITORY);
      const place = (number % perInstallation) % GROUPS_PER_REPOSITORY;
      // Each fifth group also takes the jobs of the one before it in its repository.
      const isLarger = place % 5 === 4;
      const labels = isLarger ? ['linux', `p${place - 1}`, `p${place}`] : ['linux', `p${place}`];
      const key = isLarger ? `linux,p${place}` : labels.join(',');
      return {
        ...group,
        pool: `org-${installation}/repo-${repository}`,
        installation: `org-${installation}`,
        key,
        takes: isLarger ? [key, `linux,p${place - 1}`] : [key],
        settings: {
          ...common,
          provider,
          apiUrl: 'https://api.github.com',
          owner: `org-${installation}`,
          repository: `repo-${repository}`,
          labels,
          appSecret: `app-${installation}`,
          tokenSecret: `token-${installation}`,
        },
      };
    }
    if (provider === 'bk') {
      const cluster = Math.floor(number / QUEUES_PER_CLUSTER);
      return {
        ...group,
        ...{ pool: `cluster-${cluster}`, installation: undefined, key: name, takes: [name] },
        settings: {
          ...common,
          ...{
            provider,
            apiUrl: 'https://agent.buildkite.com/v3',
            queue: name,
            tokenSecret: `bk-${cluster}`,
          },
        },
      };
    }
    return {
      ...group,
      ...{ pool: `class-${name}`, installation: undefined, key: group.id, takes: [group.id] },
      settings: {
        ...common,
        ...{ provider, apiUrl: 'https://runner.circleci.com', credentialsSecret: `cci-${name}` },
      },
    };
  });
  const warming = Array.from({ length: SETS }, (_, index): WarmingGroup => {
    const provider = options.providers[0] as CiProvider;
    const name = `warming-${index}`;
    const named = autoScalingGroupName(PREFIX, { provider, name });
    const shared = { role: named, autoScalingGroup: named, minRunners: 0, maxRunners: 1, takesJobs: false };
    return {
      ...{ id: groupId({ provider, name }), set: `set-${index}`, pool: groups[0]?.pool ?? '' },
      settings: settingsOf(provider, shared),
    };
  });
  return { groups, warming };
}

type Common = Pick<GroupSettings, 'role' | 'autoScalingGroup' | 'minRunners' | 'maxRunners' | 'takesJobs'>;

function settingsOf(provider: CiProvider, common: Common): GroupSettings {
  if (provider === 'gha')
    return {
      ...{ ...common, provider, apiUrl: 'https://api.github.com', owner: 'org-0', repository: 'repo-0' },
      ...{ labels: ['warming'], appSecret: 'app-0', tokenSecret: 'token-0' },
    };
  if (provider === 'bk')
    return {
      ...{
        ...common,
        provider,
        apiUrl: 'https://agent.buildkite.com/v3',
        queue: 'warming',
        tokenSecret: 'bk-0',
      },
    };
  return { ...common, provider, apiUrl: 'https://runner.circleci.com', credentialsSecret: 'cci-warming' };
}

/** Maxima whose sum is `runners`: the largest group has some hundreds, most have a few. */
function sizes(groups: number, runners: number): number[] {
  const weights = Array.from({ length: groups }, (_, index) => (index + 8) ** -0.85);
  const sum = weights.reduce((total, weight) => total + weight, 0);
  const rest = runners - groups;
  const maxima = weights.map((weight) => 1 + Math.floor((weight / sum) * rest));
  let left = runners - maxima.reduce((total, max) => total + max, 0);
  for (let index = 0; left > 0; index = (index + 1) % groups, left -= 1)
    maxima[index] = (maxima[index] ?? 0) + 1;
  return maxima;
}

/** Three of five groups are of GitHub where all three providers take part. */
function shares({ groups, providers }: Options): CiProvider[] {
  const weighted = providers.flatMap((provider) =>
    Array.from({ length: provider === 'gha' ? 3 : 1 }, () => provider),
  );
  return Array.from({ length: groups }, (_, index) => weighted[index % weighted.length] as CiProvider);
}
