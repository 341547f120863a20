import { GetSecretValueCommand, type SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import type { Clock } from '../runtime/clock.ts';
import { ConfigurationError } from '../runtime/errors.ts';
import { registerSecret } from '../runtime/redact.ts';

/** How long a read secret is used before it is read again, in milliseconds: rotation needs no redeploy. */
const FRESH_MS = 5 * 60_000;

/** A secret that is read when first needed and again when it is old or was refused. */
export type SecretReader = {
  /** The current text, or undefined if the secret exists but has no value yet. */
  get(): Promise<string | undefined>;
  /** Forgets the text, because whoever it was shown to refused it. */
  refresh(): void;
};

/**
 * @param client where to read it
 * @param secretId name or ARN
 * @throws (from `get`) {ConfigurationError} if the secret does not exist; SDK errors otherwise
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
      // Somebody who has just given the secret its first value expects it to work.
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
    if (!(error instanceof Error) || error.name !== 'ResourceNotFoundException') throw error;
    // AWS answers the same name for a missing secret and for one that nobody has given a value yet.
    if (/staging label|AWSCURRENT/i.test(error.message)) return undefined;
    throw new ConfigurationError(`secret ${secretId} does not exist`, { cause: error });
  }
}
