import { hash } from 'node:crypto';
import * as v from 'valibot';

/**
 * The build cache in the bucket of the deployment. Terraform has the same prefixes in its permissions and lifecycle rules; a test
 * compares them.
 *
 *     cache/<scope>/act/<epoch>/<hh>/<sha256>      one action: its result and its small outputs
 *     cache/<scope>/cas/<epoch>/<hh>/<sha256>      one large output
 *     cache/<scope>/<tool>/<epoch>/<hh>/<key>      one entry of another tool
 *     config/cache/<scope>.json                    the epoch of a scope
 *
 * The kind comes before the epoch, because a lifecycle rule has one prefix, and actions expire before outputs.
 */
const PREFIX = 'cache/';

/** The tools besides Bazel, by the prefix of their entries and of their URLs. */
export const CACHE_TOOLS = ['ccache', 'sccache', 'gradle', 'nx', 'turborepo'] as const;
export type CacheTool = (typeof CACHE_TOOLS)[number];

/** A trust level of the cache: letters, digits and inner dashes, as in names of groups. */
export const CACHE_SCOPE = /^[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?$/;

/** Lifetime of an action and of an entry of a tool, in milliseconds. The lifecycle rule removes it at some time after that. */
export const CLAIM_MS = 14 * 86_400_000;

/** Lifetime of a large output, in milliseconds. The lifecycle rule removes it at some time after that, and not before. */
export const OUTPUT_MS = 30 * 86_400_000;

/** What a key belongs to. */
export type CachePlace = { scope: string; epoch: number };

/** @param sha256 of the action */
export function actionKey({ scope, epoch }: CachePlace, sha256: string): string {
  return `${PREFIX}${scope}/act/${epoch}/${sha256.slice(0, 2)}/${sha256}`;
}

/** @param sha256 of the output's content */
export function outputKey({ scope, epoch }: CachePlace, sha256: string): string {
  return `${PREFIX}${scope}/cas/${epoch}/${sha256.slice(0, 2)}/${sha256}`;
}

/** @param entry the tool's own key, in the characters of a URL path */
export function toolKey({ scope, epoch }: CachePlace, tool: CacheTool, entry: string): string {
  return `${PREFIX}${scope}/${tool}/${epoch}/${hash('sha256', entry, 'hex').slice(0, 2)}/${entry}`;
}

/** The object with the epoch of a scope. No instance role may write it. */
export function epochKey(scope: string): string {
  return `config/cache/${scope}.json`;
}

/** Content of that object. A scope without it has the epoch 0. */
export const epochSchema = v.object({
  version: v.literal(1),
  epoch: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  /** Why and when it was raised, for people. */
  reason: v.optional(v.string()),
  at: v.optional(v.string()),
});
