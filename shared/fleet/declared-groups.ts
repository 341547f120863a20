import * as v from 'valibot';
import type { Clock } from '../runtime/clock.ts';
import { ConfigurationError } from '../runtime/errors.ts';
import { issuesText } from '../runtime/validate.ts';
import { MAX_DECLARATION_BYTES } from './bucket-keys.ts';
import { GROUPS_KEY, type GroupSettings, groupsFileSchema } from './group-settings.ts';

/** A runner group with its id, `<provider>/<name>`. */
export type RunnerGroup = { id: string; settings: GroupSettings };

/** The declared runner groups. */
export interface Groups {
  all(): Promise<readonly RunnerGroup[]>;
  /** The group whose instances have the role, also if it was declared a moment ago. */
  byRole(role: string): Promise<RunnerGroup | undefined>;
}

/** The bucket of the deployment. */
type Bucket = { read(key: string, maxBytes: number): Promise<{ text: string } | undefined> };

/** Life of the declared groups in the memory of an execution environment, in milliseconds. */
const FRESH_MS = 60_000;

/** Least time between two reads because of unknown roles, in milliseconds: strangers must not make a read per request. */
const UNKNOWN_ROLE_MS = 5_000;

/** The runner groups of `config/groups.json`. */
export function declaredGroups(store: Bucket, clock: Clock): Groups {
  let cached: { groups: RunnerGroup[]; at: number } | undefined;

  async function groupsNotOlderThan(maxAgeMs: number): Promise<RunnerGroup[]> {
    const now = clock.now().getTime();
    if (!cached || now - cached.at >= maxAgeMs) cached = { groups: await read(store), at: now };
    return cached.groups;
  }

  return {
    all: () => groupsNotOlderThan(FRESH_MS),
    async byRole(role) {
      const find = (groups: RunnerGroup[]) => groups.find(({ settings }) => settings.role === role);
      return find(await groupsNotOlderThan(FRESH_MS)) ?? find(await groupsNotOlderThan(UNKNOWN_ROLE_MS));
    },
  };
}

async function read(store: Bucket): Promise<RunnerGroup[]> {
  const stored = await store.read(GROUPS_KEY, MAX_DECLARATION_BYTES);
  if (!stored) throw new ConfigurationError(`${GROUPS_KEY} does not exist in the bucket: apply again`);
  const parsed = v.safeParse(
    v.pipe(v.string(), v.parseJson({}, 'must be JSON'), groupsFileSchema),
    stored.text,
  );
  if (!parsed.success) {
    throw new ConfigurationError(`${GROUPS_KEY} cannot be read: ${issuesText(parsed.issues)}. Apply again.`);
  }
  return Object.entries(parsed.output.groups).map(([id, settings]) => ({ id, settings }));
}
