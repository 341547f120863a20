import { PutObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import {
  type GroupSettings as DeclaredGroup,
  GROUPS_KEY,
  type GroupsFile,
} from '../../../shared/fleet/group-settings.ts';
import { autoScalingGroupName, groupId } from '../../../shared/fleet/names.ts';
import {
  circleciSecret,
  type Deployment,
  type GroupSettings,
  PROVIDER_SECRETS,
  REPOSITORY,
  targetOf,
} from './settings.ts';

/** Writes what the functions need to know about the runner groups. */
export async function declareGroups(s3: S3Client, deployment: Deployment): Promise<void> {
  await s3.send(
    new PutObjectCommand({
      Bucket: deployment.bucket,
      Key: GROUPS_KEY,
      ContentType: 'application/json',
      Body: JSON.stringify(groupsFile(deployment)),
    }),
  );
}

export function groupsFile(deployment: Deployment): GroupsFile {
  const groups = deployment.groups.map((group) => [groupId(group), declared(group, deployment)]);
  return { version: 1, groups: Object.fromEntries(groups) };
}

function declared(group: GroupSettings, deployment: Deployment): DeclaredGroup {
  const autoScalingGroup = autoScalingGroupName(deployment.prefix, group);
  return {
    // The role of the instances has the name of the group, as in the Terraform module.
    role: autoScalingGroup,
    autoScalingGroup,
    minRunners: group.min,
    maxRunners: group.max,
    takesJobs: group.runner?.warming === undefined,
    ...(group.maxInstanceLifetimeSeconds !== undefined && {
      maxInstanceLifetimeSeconds: group.maxInstanceLifetimeSeconds,
    }),
    ...(group.replaceOutdated !== undefined && { replaceOutdated: group.replaceOutdated }),
    ...(group.pollsPerMinute !== undefined && { pollsPerMinute: group.pollsPerMinute }),
    ...providerSettings(group, deployment.providers.apiUrls[group.provider]),
  };
}

function providerSettings(group: GroupSettings, apiUrl: string) {
  const target = targetOf(group);
  switch (group.provider) {
    case 'gha': {
      const { githubApp: appSecret, githubToken: tokenSecret } = PROVIDER_SECRETS;
      const labels = [target];
      return { provider: group.provider, apiUrl, ...REPOSITORY, labels, appSecret, tokenSecret };
    }
    case 'bk':
      return {
        provider: group.provider,
        apiUrl,
        queue: target,
        tokenSecret: PROVIDER_SECRETS.buildkiteToken,
      };
    case 'cci':
      return { provider: group.provider, apiUrl, credentialsSecret: circleciSecret(group.name) };
  }
}
