import { EventBridgeClient } from '@aws-sdk/client-eventbridge';
import { clientSettings } from '../client-settings.ts';

/** A client for the function's own region, or for `region`. Make it once, outside of the record loop. */
export function eventBridgeClient(region?: string): EventBridgeClient {
  return new EventBridgeClient(clientSettings(region));
}
