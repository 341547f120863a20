import { join } from 'node:path';
import { autoScalingGroupName, groupId } from '../../../shared/fleet/names.ts';
import { type Deployment, type GroupSettings, USUAL_RUNNER } from '../deploy/settings.ts';

/** Where a runner's instance keeps what; all below one folder of the instance's own. */
export type InstanceDirectories = { layers: string; warm: string; state: string };

export function instanceDirectories(folder: string): InstanceDirectories {
  return { layers: join(folder, 'layers'), warm: join(folder, 'warm'), state: join(folder, 'state') };
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
    metadataEndpoint: string;
    directories: InstanceDirectories;
    agent: Record<string, unknown>;
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
    directories: options.directories,
    jobSocket: join(options.directories.state, 'job.sock'),
    agent: options.agent,
    ...runner,
  };
}
