import { CloudWatchClient } from '@aws-sdk/client-cloudwatch';
import { clientSettings } from '../client-settings.ts';

/** A client for the function's own region, or for `region`. Make it once, outside of the record loop. */
export function cloudWatchClient(region?: string): CloudWatchClient {
  return new CloudWatchClient(clientSettings(region));
}
