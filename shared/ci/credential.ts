import type { SecretReader } from '../aws/secret-reader.ts';
import { ConfigurationError } from '../runtime/errors.ts';
import { ProviderError } from './provider.ts';

/** Reads one secret by its name or ARN. */
export type Secrets = (secretId: string) => SecretReader;

/** Placeholders that templates put in the place of a credential. */
const PLACEHOLDER =
  /^(|\{\}|\[\]|placeholder|empty|none|null|todo|tbd|change[-_ ]?me|replace[-_ ]?me|x+|0+)$/i;

/** Whether a text stands in the place of a credential. */
export function isPlaceholder(text: string): boolean {
  return PLACEHOLDER.test(text.trim());
}

/**
 * A secret that cannot be used. The message names the secret and what is wrong, and contains no part of the value. Nothing about
 * it is cached: the next call reads the secret again, so a new value is enough.
 */
export function unusableSecret(
  secrets: Secrets,
  secretId: string,
  problem: string,
  options?: ErrorOptions,
): ProviderError {
  secrets(secretId).refresh();
  return new ProviderError('credential', `secret ${secretId} ${problem}`, options);
}

/**
 * The text of a secret, or undefined if it has no value or a placeholder.
 *
 * @throws {ProviderError} `credential` if the secret does not exist; SDK errors otherwise
 */
export async function readSecret(secrets: Secrets, secretId: string): Promise<string | undefined> {
  try {
    const text = (await secrets(secretId).get())?.trim();
    if (text !== undefined && !isPlaceholder(text)) return text;
    secrets(secretId).refresh();
    return undefined;
  } catch (cause) {
    if (cause instanceof ConfigurationError) throw new ProviderError('credential', cause.message, { cause });
    throw cause;
  }
}

/** The secret as JSON. The parser's own message would quote the text. */
export function parseSecretJson(secrets: Secrets, secretId: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw unusableSecret(secrets, secretId, 'is not JSON');
  }
}
