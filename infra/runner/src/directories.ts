import { join } from 'node:path';
import { CI_PROVIDERS } from '../../../shared/fleet/names.ts';
import { JOB_USER, workDirectory } from './agents/settings.ts';
import { BadConfig, type RunnerConfig } from './config.ts';
import { type Directories, warmPathsProblem } from './snapshot/index.ts';

/** Directory of lazy starts. It ends with the boot, as their mounts do. */
const LAZY_DIRECTORY = '/run/aw-image';

/**
 * The directories of the snapshot engine on this instance.
 *
 * @param paths in place of those of the configuration
 * @throws {BadConfig} if a directory of the set cannot be warm, with the reason
 */
export function runnerDirectories(
  config: Pick<RunnerConfig, 'directories' | 'agent' | 'warming' | 'lazy'>,
  paths: readonly string[] = config.directories.paths,
): Directories & { paths: readonly string[] } {
  const { directories, agent, warming, lazy } = config;
  const { images, warm, state } = directories;
  const work = workDirectory(agent);
  const problem =
    warmPathsProblem(paths, [images, warm, state, join(work, 'gha/runner')]) ?? aboveAgents(paths, work);
  if (problem !== undefined) throw new BadConfig(`directories.paths: ${problem}`);
  const owner = warmUser({ agent, warming });
  const ofOwner = CI_PROVIDERS.map((provider) => join(work, provider));
  return { images, warm, state, paths, owner, ofOwner, ...(lazy === 'auto' && { lazy: LAZY_DIRECTORY }) };
}

/** Why a directory cannot be warm that contains everything of an agent, or undefined. */
function aboveAgents(paths: readonly string[], work: string): string | undefined {
  const above = paths.find((path) =>
    CI_PROVIDERS.some((provider) => `${join(work, provider)}/`.startsWith(`${path}/`)),
  );
  return above && `${above} contains what agents keep: name directories inside ${work}/<provider>`;
}

/** The user that works in warm directories: that of jobs, unless the set names another one for its warming run. */
export function warmUser({ agent, warming }: Pick<RunnerConfig, 'agent' | 'warming'>): string {
  if (warming && warming.user !== undefined) return warming.user;
  return typeof agent.user === 'string' ? agent.user : JOB_USER;
}
