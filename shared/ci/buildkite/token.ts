import { readSecret, type Secrets, unusableSecret } from '../credential.ts';
import { ProviderError } from '../provider.ts';

/**
 * Calls Buildkite with the agent token. If Buildkite refuses it, it is read again, and the call is repeated once: the token may have
 * been rotated since it was read.
 *
 * @throws {ProviderError} `credential`, naming the secret
 */
export async function withAgentToken<T>(
  secrets: Secrets,
  tokenSecret: string,
  call: (token: string) => Promise<T>,
): Promise<T> {
  const token = await agentToken(secrets, tokenSecret);
  try {
    return await call(token);
  } catch (error) {
    if (!isUnauthorized(error)) throw error;
  }
  secrets(tokenSecret).refresh();
  try {
    return await call(await agentToken(secrets, tokenSecret));
  } catch (error) {
    if (!isUnauthorized(error)) throw error;
    throw unusableSecret(secrets, tokenSecret, `is refused: ${error.message}`, { cause: error });
  }
}

async function agentToken(secrets: Secrets, tokenSecret: string): Promise<string> {
  const token = await readSecret(secrets, tokenSecret);
  if (token === undefined) throw unusableSecret(secrets, tokenSecret, 'has no Buildkite agent token yet');
  // A header would refuse it, with an error that quotes it.
  if (!/^[\x21-\x7e]+$/.test(token)) {
    throw unusableSecret(secrets, tokenSecret, 'is not a token: it has spaces or other characters');
  }
  return token;
}

function isUnauthorized(error: unknown): error is ProviderError {
  return error instanceof ProviderError && error.status === 401;
}
