import { GetSecretValueCommand, type SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { isAwsError } from '../runtime/aws-errors.ts';
import type { Clock } from '../runtime/clock.ts';
import { ConfigurationError } from '../runtime/errors.ts';
import { registerSecret } from '../runtime/redact.ts';

/** Life of a cached secret, in milliseconds: a rotation needs no redeploy. */
const FRESH_MS = 5 * 60_000;

/** A secret that is read at its first use, and again when the cached value is old or was refused. */
export type SecretReader = {
  /** The current text, or undefined if the secret exists but has no value yet. */
  get(): Promise<string | undefined>;
  /** Drops the cached text, because its receiver refused it. */
  refresh(): void;
};

/**
 * Reads one secret of Secrets Manager.
 *
 * @param secretId name or ARN
 * @throws (from `get`) {ConfigurationError} if the secret does not exist or is marked for deletion; SDK errors otherwise
 */
export function secretReader(
  client: Pick<SecretsManagerClient, 'send'>,
  secretId: string,
  clock: Clock,
): SecretReader {
  let cached: { text: string; at: number } | undefined;
  return {
    async get() {
      const now = clock.now().getTime();
      if (cached && now - cached.at < FRESH_MS) return cached.text;
      const text = await read(client, secretId);
      if (text !== undefined) registerSecret(text);
      // A first value works at once.
      cached = text === undefined ? undefined : { text, at: now };
      return text;
    },
    refresh() {
      cached = undefined;
    },
  };
}

async function read(
  client: Pick<SecretsManagerClient, 'send'>,
  secretId: string,
): Promise<string | undefined> {
  try {
    const { SecretString } = await client.send(new GetSecretValueCommand({ SecretId: secretId }));
    return SecretString === '' ? undefined : SecretString;
  } catch (error) {
    if (
      isAwsError(error, 'InvalidRequest') &&
      /marked for deletion|scheduled for deletion/i.test(error.message)
    ) {
      throw new ConfigurationError(`secret ${secretId} is marked for deletion`, { cause: error });
    }
    if (!isAwsError(error, 'ResourceNotFound')) throw error;
    // AWS has one error for a missing secret and for a secret without a value.
    if (/staging label|AWSCURRENT/i.test(error.message)) return undefined;
    throw new ConfigurationError(`secret ${secretId} does not exist`, { cause: error });
  }
}
