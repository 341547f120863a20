import * as v from 'valibot';
import { DECLARED_PARAMETERS_KEY } from '../../shared/fleet/bucket-keys.ts';
import { type Group, parseAutoScalingGroupName } from '../../shared/fleet/names.ts';
import { parseSetKey, pointerKey, snapshotTime } from '../../shared/snapshot/layout.ts';
import { CorruptRecord, parseRecord, readManifest, readPointer } from '../../shared/snapshot/records.ts';
import type { ObjectStore } from '../../shared/snapshot/store.ts';
import { capacityName, groupName, isCapacityName, isSnapshotName, snapshotName } from './names.ts';
import type { GroupsPort } from './ports.ts';

/** A value that should be, and since when: whoever changed it after that was not this function. */
export type Wanted = {
  value: string;
  /** Undefined where the source has no date: Auto Scaling's numbers. */
  since?: Date;
};

/** What the tree should be, as far as it can be known now. */
export type Desired = {
  wanted: ReadonlyMap<string, Wanted>;
  /** Whether a name's source could not be read: it stays as it is, whatever that is. */
  isHeld: (name: string) => boolean;
  /** When the declared part was written. */
  declaredAt: Date;
  /** What could not be read, and why. */
  unread: { source: string; error: unknown }[];
};

/** `config/parameters.json`, as Terraform writes it. */
const declaredSchema = v.object({
  version: v.literal(1),
  /** Values by full name. */
  parameters: v.record(v.string(), v.string()),
});

export type Sources = { prefix: string; root: string; store: ObjectStore; groups: GroupsPort };

/** What is known of the live values: each source adds its own, or holds the names that it would have had. */
type Live = { wanted: Map<string, Wanted>; holds: Desired['isHeld'][]; unread: Desired['unread'] };

/**
 * Reads what is declared and what is live. A live source that fails holds its own names and nothing else.
 *
 * @returns undefined if Terraform has not written the declared part yet, or someone deleted it: no reason to delete a tree
 * @throws if the declared part cannot be read; {CorruptRecord} if it is not what it should be
 */
export async function readDesired(sources: Sources): Promise<Desired | undefined> {
  const declared = await readDeclared(sources.store);
  if (!declared) return undefined;
  const { parameters, writtenAt } = declared;
  const wanted = new Map<string, Wanted>();
  for (const [name, value] of Object.entries(parameters)) wanted.set(name, { value, since: writtenAt });
  const live: Live = { wanted, holds: [], unread: [] };
  await addSnapshots(live, sources);
  await addCapacities(live, sources, parameters);
  const isHeld = (name: string) => live.holds.some((holds) => holds(name));
  return { wanted, isHeld, declaredAt: writtenAt, unread: live.unread };
}

async function addSnapshots(live: Live, { root, store }: Sources): Promise<void> {
  const hold = (source: string, error: unknown, holds: Desired['isHeld']) => {
    live.unread.push({ source, error });
    live.holds.push(holds);
  };
  try {
    for (const set of await setsWithPointer(store)) {
      const own = snapshotName(root, set);
      try {
        const snapshot = await snapshotParameter(store, set);
        if (snapshot) live.wanted.set(own, snapshot);
      } catch (error) {
        hold(pointerKey(set), error, (name) => name === own);
      }
    }
  } catch (error) {
    hold('sets/', error, (name) => isSnapshotName(root, name));
  }
}

async function addCapacities(
  live: Live,
  sources: Sources,
  declared: Readonly<Record<string, string>>,
): Promise<void> {
  try {
    for (const [name, value] of await capacityParameters(sources, declared)) live.wanted.set(name, { value });
  } catch (error) {
    live.unread.push({ source: 'Auto Scaling', error });
    live.holds.push((name) => isCapacityName(sources.root, name));
  }
}

async function readDeclared(store: ObjectStore) {
  // Its date before its text: a newer text with an older date errs towards counting drift, never towards hiding it.
  let writtenAt = new Date(0);
  for await (const { key, lastModified } of store.list(DECLARED_PARAMETERS_KEY)) {
    if (key === DECLARED_PARAMETERS_KEY) writtenAt = lastModified;
  }
  const stored = await store.read(DECLARED_PARAMETERS_KEY);
  if (!stored) return undefined;
  return { ...parseRecord(DECLARED_PARAMETERS_KEY, stored.text, declaredSchema), writtenAt };
}

async function setsWithPointer(store: ObjectStore): Promise<string[]> {
  const sets: string[] = [];
  for await (const { key } of store.list('sets/')) {
    const parsed = parseSetKey(key);
    if (parsed?.kind === 'pointer') sets.push(parsed.set);
  }
  return sets;
}

/**
 * Which snapshot runners of the set mount. It says when the snapshot was made and not how old it is: an age would be
 * another value at every look.
 *
 * @returns undefined if the set has no snapshot
 */
async function snapshotParameter(store: ObjectStore, set: string): Promise<Wanted | undefined> {
  const stored = await readPointer(store, set);
  const id = stored?.pointer.current;
  if (!stored || !id) return undefined;
  const value = JSON.stringify({
    id,
    createdAt: snapshotTime(id).toISOString(),
    bytes: await bytesOf(store, set, id),
    promotedAt: stored.pointer.updatedAt,
  });
  return { value, since: new Date(stored.pointer.updatedAt) };
}

/** Null if the manifest cannot be read: the pointer's word about what is current still stands. */
async function bytesOf(store: ObjectStore, set: string, id: string): Promise<number | null> {
  try {
    return (await readManifest(store, set, id))?.totals.bytes ?? null;
  } catch (error) {
    if (error instanceof CorruptRecord) return null;
    throw error;
  }
}

const capacitySchema = v.strictObject({
  min: v.number(),
  max: v.number(),
  desired: v.number(),
  inService: v.number(),
  draining: v.number(),
});

/** Whether a capacity parameter has the look of one that this function wrote: an older state, and no hand edit. */
export function looksLikeCapacity(value: string): boolean {
  return v.is(v.pipe(v.string(), v.parseJson(), capacitySchema), value);
}

/** The capacity of every declared group that Auto Scaling knows. */
async function capacityParameters(
  { root, prefix, groups }: Sources,
  declared: Readonly<Record<string, string>>,
): Promise<[name: string, value: string][]> {
  return (await groups.list()).flatMap(({ name, ...capacity }) => {
    const group = parseAutoScalingGroupName(prefix, name);
    // A group that Terraform is about to delete has left the declared tree already.
    if (!group || !isDeclared(root, group, declared)) return [];
    return [[capacityName(root, group), JSON.stringify(capacity)]];
  });
}

function isDeclared(root: string, group: Group, declared: Readonly<Record<string, string>>): boolean {
  return Object.hasOwn(declared, groupName(root, group));
}
