import { userInfo } from 'node:os';
import { join } from 'node:path';
import { autoScalingGroupName, type CiProvider, groupId } from '../../../shared/fleet/names.ts';
import { type Deployment, type GroupSettings, targetOf, USUAL_RUNNER } from '../deploy/settings.ts';

/** Where a runner's instance keeps what; all below one folder of the instance's own. */
export type InstanceDirectories = { images: string; warm: string; state: string };

export function instanceDirectories(folder: string): InstanceDirectories {
  return { images: join(folder, 'images'), warm: join(folder, 'warm'), state: join(folder, 'state') };
}

/** Where the program of an agent is, as on an image. */
export function agentDirectory(runFolder: string, provider: CiProvider): string {
  return join(runFolder, 'agents', provider);
}

/** The root of a job has a `/tmp` and a `/run` of its own: it would not show the programs of a repository that is there. */
function canIsolate({ hasTrees, runFolder }: { hasTrees: boolean; runFolder: string }): boolean {
  return hasTrees && !/^\/(?:tmp|run|dev)\//.test(runFolder);
}

/**
 * What user data writes to `/etc/aw-runner/config.json` on a real instance.
 *
 * @param options.metadataEndpoint of this machine
 */
export function runnerConfig(
  group: GroupSettings,
  deployment: Deployment,
  options: {
    reportsUrl: string;
    registrationUrl: string;
    metadataEndpoint: string;
    /** Of the run. */
    runFolder: string;
    /** Of the instance. */
    folder: string;
    /** Whether its disk has clones and this user may mount them. */
    hasTrees: boolean;
    /** Of the build cache: the instances share the loopback of this computer. */
    cachePort: number;
  },
): Record<string, unknown> {
  const { warming, ...runner } = { ...USUAL_RUNNER, ...group.runner };
  return {
    version: 1,
    region: deployment.home.region,
    bucket: deployment.bucket,
    reportsUrl: options.reportsUrl,
    group: groupId(group),
    autoScalingGroup: autoScalingGroupName(deployment.prefix, group),
    ...(group.warmingSet !== undefined && { warmingSet: group.warmingSet }),
    warming: warming ?? false,
    metadataEndpoint: options.metadataEndpoint,
    directories: instanceDirectories(options.folder),
    // Without clones and mounts the jobs of an instance share its root.
    jobs: { isolation: canIsolate(options) ? 'clean' : 'shared', docker: false },
    jobSocket: join(options.folder, 'job', 'socket'),
    ...(group.cache && { cache: { ...group.cache, port: options.cachePort } }),
    ...(warming === undefined && { registrationUrl: options.registrationUrl }),
    agent: {
      driver: group.provider,
      directory: agentDirectory(options.runFolder, group.provider),
      workDirectory: join(options.folder, 'work'),
      // Agents run as the user of the local cloud: a user of their own would need root.
      user: userInfo().username,
      ...(group.provider === 'bk' && { queue: targetOf(group) }),
      ...(group.provider === 'cci' && { apiUrl: deployment.providers.apiUrls.cci }),
    },
    ...runner,
  };
}
