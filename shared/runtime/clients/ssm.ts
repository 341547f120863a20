import { SSMClient } from '@aws-sdk/client-ssm';
import { clientSettings } from '../client-settings.ts';

/** A client for the function's own region, or for `region`. Make it once, outside of the record loop. */
export function ssmClient(region?: string): SSMClient {
  return new SSMClient(clientSettings(region));
}
