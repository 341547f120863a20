import type { RecordedCall } from '../../scripts/local/gateway/call-recording.ts';
import { text } from '../infra/state.ts';
import { type Deployed, reportBus } from './deployment.ts';
import type { IamRequest } from './judge.ts';

/** Operations whose permission has another name (Service Authorization Reference). */
const RENAMED: Record<string, string> = {
  's3:HeadObject': 's3:GetObject',
  's3:ListObjectsV2': 's3:ListBucket',
  's3:CreateMultipartUpload': 's3:PutObject',
  's3:UploadPart': 's3:PutObject',
  's3:CompleteMultipartUpload': 's3:PutObject',
  's3:ListParts': 's3:ListMultipartUploadParts',
  'sqs:SendMessageBatch': 'sqs:SendMessage',
  'sqs:ChangeMessageVisibilityBatch': 'sqs:ChangeMessageVisibility',
  'sqs:DeleteMessageBatch': 'sqs:DeleteMessage',
};

/** Operations of a multipart upload that create no object (S3 User Guide, "Enforce conditional writes on Amazon S3 buckets"). */
const PARTS = ['CreateMultipartUpload', 'UploadPart'];

/** Names of services in signatures, and in policies. */
const SERVICES: Record<string, string> = { monitoring: 'cloudwatch' };

/**
 * What IAM evaluates for a recorded call. Names of the local cloud become those of the applied module: the account, the bucket, and the
 * random ends of secrets.
 *
 * @throws for a call whose resource is not known: then it has to be added here
 */
export function requestsOf(call: RecordedCall, made: Deployed): IamRequest[] {
  const service = SERVICES[call.service] ?? call.service;
  const action = RENAMED[`${service}:${call.operation}`] ?? `${service}:${call.operation}`;
  const request = { role: call.role, action };
  const { parameters } = call;
  const arn = (name: string, region = made.region) => `arn:aws:${service}:${region}:${made.account}:${name}`;
  switch (service) {
    case 's3':
      return [{ ...request, resource: objectArn(call, made), context: conditionsOfS3(call) }];
    case 'sqs':
      return [{ ...request, resource: arn(parameters.Queue ?? '') }];
    case 'secretsmanager':
      return [{ ...request, resource: secretArn(parameters.SecretId ?? '', made) }];
    case 'ssm':
      return [{ ...request, resource: arn(`parameter${parameters.Name ?? parameters.Path ?? ''}`) }];
    case 'events':
      return [
        {
          ...request,
          resource: reportBus(made),
          context: { 'events:source': parameters.Source ?? '' },
        },
      ];
    case 'cloudwatch':
      return [
        { ...request, resource: parameters.ResourceARN?.replace(/\d{12}/, made.account) ?? arn('alarm:*') },
      ];
    case 'autoscaling':
      if (call.operation.startsWith('Describe')) return [{ ...request, resource: '*' }];
      // An instance is terminated by its id alone; IAM looks at its group.
      return [
        {
          ...request,
          resource: arn(
            `autoScalingGroup:00000000-0000-0000-0000-000000000000:autoScalingGroupName/${parameters.AutoScalingGroupName ?? 'aw-gha-default'}`,
          ),
        },
      ];
    case 'lambda': {
      if (call.operation !== 'InvokeFunctionUrl') break;
      const resource = arn(`function:${parameters.FunctionName}`);
      // A URL needs both permissions (Lambda Developer Guide, "Control access to Lambda function URLs").
      return [
        { ...request, resource, context: { 'lambda:FunctionUrlAuthType': 'AWS_IAM' } },
        {
          ...request,
          action: 'lambda:InvokeFunction',
          resource,
          context: { 'lambda:InvokedViaFunctionUrl': 'true' },
        },
      ];
    }
  }
  throw new Error(
    `${call.role} calls ${action}, whose resource is not known here: ${JSON.stringify(parameters)}`,
  );
}

function objectArn({ parameters }: RecordedCall, { bucket }: Deployed): string {
  const { Key = '' } = parameters;
  return `arn:aws:s3:::${bucket}${Key === '' ? '' : `/${Key}`}`;
}

function conditionsOfS3({ operation, parameters }: RecordedCall): Record<string, string> {
  if (!['PutObject', 'CompleteMultipartUpload', ...PARTS].includes(operation)) return {};
  const condition = parameters['if-none-match'];
  return {
    's3:ObjectCreationOperation': String(!PARTS.includes(operation)),
    ...(condition !== undefined && { 's3:if-none-match': condition }),
  };
}

/** The secret of the module with the name of the local one, `aw_gha_app_local`, but for its random end. */
function secretArn(secretId: string, made: Deployed): string {
  const prefix = secretId.replaceAll('-', '_').replace(/local$/, '');
  const found = made.of('aws_secretsmanager_secret').filter(({ values }) => values.name_prefix === prefix);
  if (found.length !== 1) throw new Error(`the module has ${found.length} secrets ${prefix}`);
  return text(found[0]?.values.arn);
}
