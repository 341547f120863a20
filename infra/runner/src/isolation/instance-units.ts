import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { isolatedUnits, type PlacedUnits, sharedUnits } from '../agents/placed-units.ts';
import { workDirectory } from '../agents/settings.ts';
import type { AgentUnits } from '../agents/units.ts';
import type { RunnerConfig } from '../config.ts';
import { runnerDirectories } from '../directories.ts';
import { inTree, WARM, warmTree } from '../snapshot/index.ts';
import { jobPlaces, type KernelPort, type PlaceSettings } from './job-places.ts';
import { jobTrees, treeOfRun } from './job-trees.ts';

/** Whether each job of the instance has a place of its own. A warming run has the instance to itself. */
export function isClean({ jobs, warming }: RunnerConfig): boolean {
  return jobs.isolation === 'clean' && warming === false;
}

/** The units of the agents of an instance. */
export function jobUnits(
  config: RunnerConfig,
  units: AgentUnits,
  kernel: KernelPort,
  log: (line: string) => void,
): PlacedUnits {
  if (!isClean(config)) return sharedUnits(units);
  const sockets = dirname(config.jobSocket);
  // The directory and not the socket: a restart of aw-runner makes a new one.
  const settings = { ...placeSettings(config), files: [{ source: sockets, target: sockets }] };
  return isolatedUnits(units, jobPlaces(settings, jobTrees(runnerDirectories(config), log), kernel), log);
}

function placeSettings(config: RunnerConfig): PlaceSettings {
  const { jobs, agent } = config;
  const directories = runnerDirectories(config);
  return {
    stateDirectory: directories.state,
    warm: [
      { source: WARM, target: directories.warm },
      ...directories.paths.map((path) => ({ source: inTree(path), target: path, ifPresent: true })),
    ],
    views: [workDirectory(agent)],
    sharedMounts: jobs.sharedMounts,
    hidden: [directories.state, directories.images],
    files: [],
    docker: jobs.docker,
    jobsUseInstanceRole: jobs.useInstanceRole,
  };
}

/**
 * The unit of a warming run: the place of a job, whose tree is the one that is saved afterwards. Without trees, or where jobs share
 * the root of the instance, it is a unit alone. Both close the metadata service.
 */
export async function warmingUnits(
  config: RunnerConfig,
  units: AgentUnits,
  kernel: KernelPort,
  log: (line: string) => void,
): Promise<PlacedUnits> {
  const directories = runnerDirectories(config);
  if (config.jobs.isolation === 'clean' && (await warmTree(directories)) !== undefined) {
    const settings = placeSettings(config);
    // No agent has made it.
    const views = settings.views.filter((path) => existsSync(path));
    return isolatedUnits(units, jobPlaces({ ...settings, views }, treeOfRun(directories, log), kernel), log);
  }
  return {
    ...sharedUnits(units),
    prepare: () => (config.jobs.useInstanceRole ? kernel.openMetadata() : kernel.closeMetadata()),
  };
}
