import type { RunnerGroup } from './ports.ts';

/** Groups whose backlog is read together. */
export type Source = {
  /** For the log and for errors. */
  name: string;
  groups: readonly [RunnerGroup, ...RunnerGroup[]];
  pollsPerMinute: number;
};

/**
 * The sources of all groups that take jobs: one per repository of GitHub, per cluster of Buildkite, and per group of CircleCI. A
 * source is read as often as the group of it that is read most often.
 */
export function sourcesOf(groups: readonly RunnerGroup[]): Source[] {
  const sources = new Map<string, [RunnerGroup, ...RunnerGroup[]]>();
  for (const group of groups.filter(({ settings }) => settings.takesJobs)) {
    const name = sourceName(group);
    const sharing = sources.get(name);
    if (sharing) sharing.push(group);
    else sources.set(name, [group]);
  }
  return [...sources].map(([name, sharing]) => ({
    name,
    groups: sharing,
    pollsPerMinute: Math.max(...sharing.map(({ settings }) => settings.pollsPerMinute ?? 1)),
  }));
}

function sourceName({ id, settings }: RunnerGroup): string {
  switch (settings.provider) {
    case 'gha':
      return `${settings.apiUrl} ${settings.owner}/${settings.jobsRepository ?? settings.repository ?? ''}`;
    case 'bk':
      return `${settings.apiUrl} ${settings.tokenSecret}`;
    case 'cci':
      return `${settings.apiUrl} ${id}`;
  }
}
