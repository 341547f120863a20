import { AutoScalingClient } from '@aws-sdk/client-auto-scaling';
import { clientSettings } from '../client-settings.ts';

/** A client for the function's own region, or for `region`. Make it once, outside of the record loop. */
export function autoScalingClient(region?: string): AutoScalingClient {
  return new AutoScalingClient(clientSettings(region));
}
