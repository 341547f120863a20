import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { clientSettings } from '../client-settings.ts';

/** A client for the function's own region, or for `region`. Make it once, outside of the record loop. */
export function secretsManagerClient(region?: string): SecretsManagerClient {
  return new SecretsManagerClient(clientSettings(region));
}
