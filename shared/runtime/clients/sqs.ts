import { SQSClient } from '@aws-sdk/client-sqs';
import { clientSettings } from '../client-settings.ts';

/** A client for the function's own region, or for `region`. Make it once, outside of the record loop. */
export function sqsClient(region?: string): SQSClient {
  return new SQSClient(clientSettings(region));
}
