import { S3Client } from '@aws-sdk/client-s3';
import { SQSClient } from '@aws-sdk/client-sqs';

/** Without these a connection that has gone silent would be waited for without end; in milliseconds. */
export const PATIENCE = { connectionTimeout: 5_000, socketTimeout: 20_000 };

/** Region, credentials and endpoint of the machine. */
export function s3Client(region: string): S3Client {
  return new S3Client({ region, requestHandler: PATIENCE });
}

/** Region, credentials and endpoint of the machine. */
export function sqsClient(region: string): SQSClient {
  return new SQSClient({ region, requestHandler: PATIENCE });
}
