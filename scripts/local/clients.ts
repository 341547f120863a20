import { AutoScalingClient } from '@aws-sdk/client-auto-scaling';
import { CloudWatchClient } from '@aws-sdk/client-cloudwatch';
import { EventBridgeClient } from '@aws-sdk/client-eventbridge';
import { LambdaClient } from '@aws-sdk/client-lambda';
import { S3Client } from '@aws-sdk/client-s3';
import { SchedulerClient } from '@aws-sdk/client-scheduler';
import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { SQSClient } from '@aws-sdk/client-sqs';
import { SSMClient } from '@aws-sdk/client-ssm';
import type { AccessKey } from './gateway/callers.ts';

/** SDK clients of one caller of the local cloud. */
export type Clients = {
  autoScaling: AutoScalingClient;
  cloudWatch: CloudWatchClient;
  events: EventBridgeClient;
  lambda: LambdaClient;
  s3: S3Client;
  scheduler: SchedulerClient;
  secrets: SecretsManagerClient;
  sqs: SQSClient;
  ssm: SSMClient;
  /** SSM of another region: replicas of the /aw tree. */
  ssmOf(region: string): SSMClient;
};

export function createClients(endpoint: string, region: string, credentials: AccessKey): Clients {
  const settings = { endpoint, region, credentials };
  return {
    autoScaling: new AutoScalingClient(settings),
    cloudWatch: new CloudWatchClient(settings),
    events: new EventBridgeClient(settings),
    lambda: new LambdaClient(settings),
    s3: new S3Client({ ...settings, forcePathStyle: true }),
    scheduler: new SchedulerClient(settings),
    secrets: new SecretsManagerClient(settings),
    sqs: new SQSClient(settings),
    ssm: new SSMClient(settings),
    ssmOf: (other) => new SSMClient({ ...settings, region: other }),
  };
}
