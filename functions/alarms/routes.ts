import * as v from 'valibot';
import type { SecretReader } from '../../shared/aws/secret-reader.ts';
import { ConfigurationError } from '../../shared/runtime/errors.ts';
import { registerSecret } from '../../shared/runtime/redact.ts';
import type { Labels } from './labels.ts';

/** PagerDuty's routing keys have 32 characters (Events API v2). */
const ROUTING_KEY = /^[A-Za-z0-9]{32}$/;

/** What people and templates write where a key will be. */
const PLACEHOLDER = /^(|placeholder|empty|none|todo|tbd|change[-_ ]?me|replace[-_ ]?me|x+|0+)$/i;

/** Routing keys by the name of a route; empty if none is set yet. */
export type Routes = ReadonlyMap<string, string>;

/**
 * The routes in the text of the routing secret: one plain key, or JSON `{"default": key, "critical": key,
 * "<host>/<group>": key}`. Placeholders count as not there.
 *
 * @throws {ConfigurationError} if it is neither; the text is not repeated, and neither is any part of it
 */
export function parseRoutes(text: string | undefined): Routes {
  const trimmed = (text ?? '').trim();
  const entries = trimmed.startsWith('{') ? jsonEntries(trimmed) : [['default', trimmed] as const];
  const routes = new Map<string, string>();
  for (const [name, key] of entries) {
    if (PLACEHOLDER.test(key.trim())) continue;
    if (!ROUTING_KEY.test(key.trim())) {
      throw new ConfigurationError(
        `the routing secret's key for route "${name.slice(0, 64)}" is not 32 letters and digits: put the integration key of ` +
          'a PagerDuty service (Events API v2) there',
      );
    }
    registerSecret(key.trim());
    routes.set(name, key.trim());
  }
  return routes;
}

function jsonEntries(text: string): (readonly [string, string])[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    // The parser's own message repeats the text.
    throw new ConfigurationError('the routing secret starts like JSON but is none');
  }
  const result = v.safeParse(v.record(v.string(), v.string()), parsed);
  if (!result.success)
    throw new ConfigurationError('the routing secret must be one JSON object of route names and keys');
  return Object.entries(result.output);
}

/**
 * The keys to page with, best first, each once: that of the alarm's own route, of its runner group, of its severity, and the
 * default. The first is the one; the others are for when PagerDuty refuses it.
 */
export function keysFor(routes: Routes, labels: Labels): string[] {
  const names = [labels.route, labels.group, labels.severity, 'default'];
  const keys = names.flatMap((name) => (name === undefined ? [] : (routes.get(name) ?? [])));
  return [...new Set(keys)];
}

/**
 * Every key there is, once. A resolve goes to all of them: PagerDuty drops one that comes through another key than its
 * trigger, and routes, tags and severities may have changed since.
 */
export function allKeys(routes: Routes): string[] {
  return [...new Set(routes.values())];
}

/** Where the routes of now come from. */
export type Routing = {
  get(): Promise<Routes>;
  /** Forgets them, because PagerDuty refused a key. */
  refresh(): void;
};

/**
 * The routes of a secret. Only a secret that is in order is kept: whoever has just given it its first key, or repaired
 * it, expects the next alarm to page.
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
