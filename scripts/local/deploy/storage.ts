import {
  type BucketLocationConstraint,
  CreateBucketCommand,
  PutBucketNotificationConfigurationCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { CreateSecretCommand, type SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { groupId } from '../../../shared/fleet/names.ts';
import { type Deployment, ROUTING_SECRET } from './settings.ts';

/** Makes the snapshot bucket with its events and versions. */
export async function makeBucket(s3: S3Client, deployment: Deployment): Promise<void> {
  const Bucket = deployment.bucket;
  await s3.send(
    new CreateBucketCommand({
      Bucket,
      CreateBucketConfiguration: { LocationConstraint: deployment.home.region as BucketLocationConstraint },
    }),
  );
  await s3.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: 'Enabled' } }));
  await s3.send(
    new PutBucketNotificationConfigurationCommand({
      Bucket,
      NotificationConfiguration: { EventBridgeConfiguration: {} },
    }),
  );
}

/** Writes the declared part of the tree of the deployment, which sends an event to `parameters`. */
export async function declareParameters(s3: S3Client, deployment: Deployment): Promise<void> {
  await s3.send(
    new PutObjectCommand({
      Bucket: deployment.bucket,
      Key: 'config/parameters.json',
      ContentType: 'application/json',
      Body: JSON.stringify({
        version: 1,
        parameters: declaredParameters(deployment),
        warmingSets: Object.keys(deployment.warmingSets),
      }),
    }),
  );
}

/** The declared part of the tree: what the deployment is, and each group's settings. */
export function declaredParameters(deployment: Deployment): Record<string, string> {
  const hosts = [...new Set(deployment.groups.map(({ provider }) => provider))];
  const groups = deployment.groups.map((group) => [
    `/${deployment.prefix}/groups/${groupId(group)}`,
    JSON.stringify({
      minRunners: group.min,
      maxRunners: group.max,
      ...(group.warmingSet !== undefined && { warmingSet: group.warmingSet }),
      warming: group.runner?.warming !== undefined,
    }),
  ]);
  return {
    [`/${deployment.prefix}/deployment`]: JSON.stringify({ customerId: 'local', version: 'local', hosts }),
    ...Object.fromEntries(groups),
  };
}

/**
 * Makes the secret for the PagerDuty key without a value, as the Terraform module does, and those of the CI providers with the values that
 * an operator puts into them. Several deployments of one local cloud share them.
 */
export async function makeSecrets(secrets: SecretsManagerClient, deployment: Deployment): Promise<void> {
  for (const [Name, SecretString] of Object.entries({
    [ROUTING_SECRET]: '',
    ...deployment.providers.secrets,
  })) {
    // Empty: without a value.
    const command = new CreateSecretCommand({ Name, ...(SecretString !== '' && { SecretString }) });
    await secrets.send(command).catch((error: Error) => {
      if (error.name !== 'ResourceExistsException') throw error;
    });
  }
}
