import type { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import * as v from 'valibot';
import { secretReader } from '../../../shared/aws/secret-reader.ts';
import { isPlaceholder } from '../../../shared/ci/credential.ts';
import type { Clock } from '../../../shared/runtime/clock.ts';
import type { Logger } from '../../../shared/runtime/logger.ts';
import { registerSecret } from '../../../shared/runtime/redact.ts';
import type { HookProvider, SigningKeys } from '../ports.ts';

/** Time for which keys are used before the secret is read again, in milliseconds. Strangers must not make a call per request. */
const FRESH_MS = 60_000;

/** The same while the secret has no usable value. */
const UNUSABLE_MS = 10_000;

/** Least characters of a key. The URL is public, so a key must not be guessed. */
const MIN_KEY = 16;

const key = v.pipe(v.string(), v.trim(), v.minLength(MIN_KEY), v.maxLength(512));
const listSchema = v.pipe(v.string(), v.parseJson(), v.array(key), v.minLength(1), v.maxLength(2));

/**
 * The keys of Secrets Manager. A secret is one key as plain text, or a JSON list of two: the new one and the old one during a rotation.
 *
 * @param secretIds by provider
 */
export function signingKeys(
  client: Pick<SecretsManagerClient, 'send'>,
  secretIds: Readonly<Record<HookProvider, string | undefined>>,
  { clock, logger }: { clock: Clock; logger: Pick<Logger, 'error'> },
): SigningKeys {
  const cached = new Map<HookProvider, { keys: readonly string[]; until: number }>();
  return {
    async of(provider) {
      const now = clock.now().getTime();
      const known = cached.get(provider);
      if (known && known.until > now) return known.keys;
      const secretId = secretIds[provider];
      // A new reader: its own memory is longer.
      const text = secretId === undefined ? undefined : await secretReader(client, secretId, clock).get();
      const keys = text === undefined ? [] : parseKeys(text);
      if (text !== undefined && keys.length === 0) {
        logger.error('secret not usable', {
          secret: secretId,
          error: `it must be one key of at least ${MIN_KEY} characters, or a JSON list of one or two`,
        });
      }
      for (const one of keys) registerSecret(one);
      cached.set(provider, { keys, until: now + (keys.length > 0 ? FRESH_MS : UNUSABLE_MS) });
      return keys;
    },
  };
}

/** The keys in the text of a secret; none if it is a placeholder or malformed. */
function parseKeys(text: string): readonly string[] {
  if (isPlaceholder(text)) return [];
  const isList = text.trim().startsWith('[');
  const parsed = v.safeParse(isList ? listSchema : v.tuple([key]), isList ? text : [text]);
  return parsed.success ? parsed.output : [];
}
