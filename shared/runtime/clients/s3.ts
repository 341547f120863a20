import { S3Client } from '@aws-sdk/client-s3';
import { clientSettings } from '../client-settings.ts';

/** A client for the function's own region, or for `region`. Make it once, outside of the record loop. */
export function s3Client(region?: string): S3Client {
  return new S3Client(clientSettings(region));
}
