import * as v from 'valibot';
import { groupId, parseAutoScalingGroupName } from '../../shared/fleet/names.ts';
import { DECLARED_PARAMETERS_KEY, snapshotTime } from '../../shared/snapshot/layout.ts';
import { CorruptRecord, parseRecord, readManifest, readPointer } from '../../shared/snapshot/records.ts';
import type { ObjectStore } from '../../shared/snapshot/store.ts';
import type { GroupCapacity } from './ports.ts';

/** `config/parameters.json`, as Terraform writes it. */
const declaredSchema = v.object({
  version: v.literal(1),
  /** Warming sets of the deployment: their snapshots become parameters. */
  warmingSets: v.optional(v.array(v.string()), []),
  /** Values by full name. */
  parameters: v.record(v.string(), v.string()),
});

export type Declared = v.InferOutput<typeof declaredSchema>;

/** @returns undefined if Terraform has not written it yet, or someone deleted it: no reason to delete a tree */
export async function readDeclared(store: ObjectStore): Promise<Declared | undefined> {
  const stored = await store.read(DECLARED_PARAMETERS_KEY);
  return stored && parseRecord(DECLARED_PARAMETERS_KEY, stored.text, declaredSchema);
}

/**
 * `<root>/warming/<set>/snapshot`: which snapshot runners of the set mount. It says when the snapshot was made and not how
 * old it is: an age would be another value at every look.
 *
 * @returns undefined if the set has no snapshot
 */
export async function snapshotParameter(store: ObjectStore, set: string): Promise<string | undefined> {
  const stored = await readPointer(store, set);
  const id = stored?.pointer.current;
  if (!stored || !id) return undefined;
  return JSON.stringify({
    id,
    createdAt: snapshotTime(id).toISOString(),
    bytes: await bytesOf(store, set, id),
    promotedAt: stored.pointer.updatedAt,
  });
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

/** `<root>/groups/<host>/<group>/capacity` of every declared group that Auto Scaling knows. */
export function capacityParameters(
  root: string,
  prefix: string,
  declared: Declared,
  groups: readonly GroupCapacity[],
): [name: string, value: string][] {
  return groups.flatMap(({ name, ...capacity }) => {
    const group = parseAutoScalingGroupName(prefix, name);
    const path = group && `${root}/groups/${groupId(group)}`;
    // A group that Terraform is about to delete has left the declared tree already.
    if (!path || declared.parameters[path] === undefined) return [];
    return [[`${path}/capacity`, JSON.stringify(capacity)]];
  });
}
