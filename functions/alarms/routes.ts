import * as v from 'valibot';
import type { SecretReader } from '../../shared/aws/secret-reader.ts';
import { ConfigurationError } from '../../shared/runtime/errors.ts';
import { registerSecret } from '../../shared/runtime/redact.ts';
import type { Labels } from './labels.ts';
import type { Routes, Routing } from './ports.ts';

/** A routing key of PagerDuty has 32 characters (Events API v2). */
const ROUTING_KEY = /^[A-Za-z0-9]{32}$/;

/** Placeholders for a key in templates. */
const PLACEHOLDER = /^(|placeholder|empty|none|todo|tbd|change[-_ ]?me|replace[-_ ]?me|x+|0+)$/i;

/**
 * The routes of the routing secret: one plain key, or JSON `{"default": key, "critical": key, "<provider>/<group>": key}`.
 * `routing_key` is another name of `default`. A placeholder counts as no key.
 *
 * @throws {ConfigurationError} if it is neither. The error contains no part of the text: a name can be a key on the wrong side.
 */
export function parseRoutes(text: string | undefined): Routes {
  const trimmed = (text ?? '').trim();
  const entries = trimmed.startsWith('{') ? jsonEntries(trimmed) : [['default', trimmed] as const];
  const routes = new Map<string, string>();
  for (const [index, [name, key]] of entries.entries()) {
    if (PLACEHOLDER.test(key.trim())) continue;
    if (!ROUTING_KEY.test(key.trim())) {
      throw new ConfigurationError(
        `key ${index + 1} of the routing secret is not 32 letters and digits: put the integration key of a PagerDuty ` +
          'service (Events API v2) there',
      );
    }
    registerSecret(key.trim());
    routes.set(name === 'routing_key' ? 'default' : name, key.trim());
  }
  return routes;
}

function jsonEntries(text: string): (readonly [string, string])[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    // The message of the parser contains the text.
    throw new ConfigurationError('the routing secret starts like JSON but is none');
  }
  const result = v.safeParse(v.record(v.string(), v.string()), parsed);
  if (!result.success)
    throw new ConfigurationError('the routing secret must be one JSON object of route names and keys');
  return Object.entries(result.output);
}

/**
 * The keys for a page, best first, each once: the key of the alarm's route, of its runner group, of its severity, and the
 * default. The next key is used when PagerDuty refuses one.
 */
export function keysFor(routes: Routes, labels: Labels): string[] {
  const names = [labels.route, labels.group, labels.severity, 'default'];
  const keys = names.flatMap((name) => (name === undefined ? [] : (routes.get(name) ?? [])));
  return [...new Set(keys)];
}

/** Whether the first key for a page is that of the alarm's route or of its runner group. */
export function hasOwnRoute(routes: Routes, { route, group }: Labels): boolean {
  return [route, group].some((name) => name !== undefined && routes.has(name));
}

/**
 * Every key, once. A resolve uses all of them: PagerDuty drops a resolve that has another key than its trigger, and routes,
 * tags and severities may have changed since the trigger.
 */
export function allKeys(routes: Routes): string[] {
  return [...new Set(routes.values())];
}

/**
 * The routes of a secret. Only a valid secret is cached: after an operator sets the first key or repairs the secret, the next
 * alarm pages.
 */
export function routingFrom(secret: SecretReader): Routing {
  return {
    async get() {
      try {
        const routes = parseRoutes(await secret.get());
        if (routes.size === 0) secret.refresh();
        return routes;
      } catch (error) {
        secret.refresh();
        throw error;
      }
    },
    refresh: () => secret.refresh(),
  };
}
