import * as v from 'valibot';
import { BACKLOG_KEY, backlogRecordSchema } from '../../shared/fleet/backlog-record.ts';
import { DECLARED_PARAMETERS_KEY, MAX_DECLARATION_BYTES } from '../../shared/fleet/bucket-keys.ts';
import { type Group, parseAutoScalingGroupName, parseGroupId, SET_NAME } from '../../shared/fleet/names.ts';
import { CorruptRecord, UnsupportedFormat } from '../../shared/snapshot/errors.ts';
import { parseSetKey, pointerKey, snapshotTime } from '../../shared/snapshot/layout.ts';
import type { Vouched } from '../../shared/snapshot/pointer.ts';
import { parseRecord, readPointer, readVouchedManifest } from '../../shared/snapshot/records.ts';
import type { ObjectStore } from '../../shared/snapshot/store.ts';
import {
  backlogName,
  capacityName,
  groupName,
  isBacklogName,
  isCapacityName,
  isSnapshotName,
  snapshotName,
} from './names.ts';
import type { ReconcileDeps } from './ports.ts';

/** The value of one parameter. */
export type Expected = {
  value: string;
  /** Date of the source. A later change of the parameter is not this function's. Undefined for numbers of groups. */
  since?: Date;
  /** The object of the bucket that has the value. Undefined for numbers of groups. */
  source?: string;
};

/** The tree as it should be, as far as the sources can be read. */
export type Desired = {
  expected: ReadonlyMap<string, Expected>;
  /** Whether the source of a name cannot be read. The parameter then stays as it is. */
  isHeld: (name: string) => boolean;
  /** Date of the declaration. */
  declaredAt: Date;
  /** Sources that cannot be read. */
  unread: { source: string; error: unknown }[];
};

/** `config/parameters.json`, as Terraform writes it. */
const declaredSchema = v.object({
  version: v.literal(1),
  /** Values by full name. */
  parameters: v.record(v.string(), v.string()),
  /** Names of the warming sets. Declarations without it do not restrict the sets. */
  warmingSets: v.exactOptional(v.array(v.pipe(v.string(), v.regex(SET_NAME)))),
});

type Declared = v.InferOutput<typeof declaredSchema>;

export type Sources = Pick<ReconcileDeps, 'prefix' | 'root' | 'store' | 'groups'>;

/** Live values so far. Each source adds its values, or holds the names of its values. */
type Live = { expected: Map<string, Expected>; holds: Desired['isHeld'][]; unread: Desired['unread'] };

/**
 * Reads what is declared and what is live. A live source that fails holds its own names only.
 *
 * @returns undefined if there is no declaration: Terraform has not written it yet, or somebody deleted it. That is no reason to
 *   delete a tree.
 * @throws if the declaration cannot be read; {CorruptRecord} if it does not have the expected form
 */
export async function readDesired(sources: Sources): Promise<Desired | undefined> {
  const stored = await readDeclared(sources.store);
  if (!stored) return undefined;
  const { declared, writtenAt } = stored;
  const expected = new Map<string, Expected>();
  for (const [name, value] of Object.entries(declared.parameters)) {
    expected.set(name, { value, since: writtenAt, source: DECLARED_PARAMETERS_KEY });
  }
  const live: Live = { expected, holds: [], unread: [] };
  await addSnapshots(live, sources, declared);
  await addCapacities(live, sources, declared);
  await addBacklogs(live, sources, declared);
  const isHeld = (name: string) => live.holds.some((holds) => holds(name));
  return { expected, isHeld, declaredAt: writtenAt, unread: live.unread };
}

async function addSnapshots(live: Live, { root, store }: Sources, declared: Declared): Promise<void> {
  const hold = (source: string, error: unknown, holds: Desired['isHeld']) => {
    live.unread.push({ source, error });
    live.holds.push(holds);
  };
  try {
    for (const set of declared.warmingSets ?? (await setsWithPointer(store))) {
      const own = snapshotName(root, set);
      try {
        const snapshot = await snapshotParameter(store, set);
        if (snapshot) live.expected.set(own, snapshot);
      } catch (error) {
        hold(pointerKey(set), error, (name) => name === own);
      }
    }
  } catch (error) {
    hold('sets/', error, (name) => isSnapshotName(root, name));
  }
}

async function addCapacities(live: Live, sources: Sources, declared: Declared): Promise<void> {
  try {
    for (const [name, value] of await capacityParameters(sources, declared)) {
      live.expected.set(name, { value });
    }
  } catch (error) {
    live.unread.push({ source: 'Auto Scaling', error });
    live.holds.push((name) => isCapacityName(sources.root, name));
  }
}

/** The backlog of every declared group, as the function `scaling` has last read it. */
async function addBacklogs(live: Live, { root, store }: Sources, declared: Declared): Promise<void> {
  try {
    const stored = await store.read(BACKLOG_KEY);
    if (!stored) return;
    const { groups } = parseRecord(BACKLOG_KEY, stored.text, backlogRecordSchema);
    for (const [id, { queued, running, oldest = null, readAt }] of Object.entries(groups)) {
      const group = parseGroupId(id);
      if (!group || !isDeclared(root, group, declared.parameters)) continue;
      live.expected.set(backlogName(root, group), {
        value: JSON.stringify({ queued, running, oldest, readAt }),
      });
    }
  } catch (error) {
    live.unread.push({ source: BACKLOG_KEY, error });
    live.holds.push((name) => isBacklogName(root, name));
  }
}

async function readDeclared(store: ObjectStore) {
  // The date is read before the text: a newer text with an older date can count drift that is none, and hides none.
  let writtenAt = new Date(0);
  for await (const { key, lastModified } of store.list(DECLARED_PARAMETERS_KEY)) {
    if (key === DECLARED_PARAMETERS_KEY) writtenAt = lastModified;
  }
  const stored = await store.read(DECLARED_PARAMETERS_KEY, MAX_DECLARATION_BYTES);
  if (!stored) return undefined;
  return { declared: parseRecord(DECLARED_PARAMETERS_KEY, stored.text, declaredSchema), writtenAt };
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
 * The snapshot that runners of the set mount, with its date instead of its age: an age would change with each pass.
 *
 * @returns undefined if the set has no snapshot
 */
async function snapshotParameter(store: ObjectStore, set: string): Promise<Expected | undefined> {
  const stored = await readPointer(store, set);
  const current = stored?.pointer.current;
  if (!stored || !current) return undefined;
  const { id } = current;
  // A quarantine of another snapshot changes updatedAt only.
  const promotedAt = stored.pointer.promotedAt ?? stored.pointer.updatedAt;
  const value = JSON.stringify({
    id,
    createdAt: snapshotTime(id).toISOString(),
    bytes: await bytesOf(store, set, current),
    promotedAt,
  });
  return { value, since: new Date(promotedAt), source: pointerKey(set) };
}

/**
 * The bytes that a restore without a base fetches. Null if the manifest is corrupt, missing, of another format or not the one
 * that was promoted: the pointer alone decides which snapshot is current.
 */
async function bytesOf(store: ObjectStore, set: string, current: Vouched): Promise<number | null> {
  try {
    return (await readVouchedManifest(store, set, current))?.totals.storedBytes ?? null;
  } catch (error) {
    if (error instanceof CorruptRecord || error instanceof UnsupportedFormat) return null;
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

const backlogSchema = v.strictObject({
  queued: v.number(),
  running: v.number(),
  oldest: v.nullable(v.string()),
  readAt: v.string(),
});

const liveValueSchema = v.pipe(v.string(), v.parseJson(), v.union([capacitySchema, backlogSchema]));

/** Whether a value has the form of a capacity or a backlog that this function writes. */
export function isLiveValue(value: string): boolean {
  return v.is(liveValueSchema, value);
}

/** The capacity of every declared group that Auto Scaling knows. */
async function capacityParameters(
  { root, prefix, groups }: Sources,
  declared: Declared,
): Promise<[name: string, value: string][]> {
  return (await groups.list()).flatMap(({ name, ...capacity }) => {
    const group = parseAutoScalingGroupName(prefix, name);
    // A group that Terraform is about to delete is not declared any more.
    if (!group || !isDeclared(root, group, declared.parameters)) return [];
    return [[capacityName(root, group), JSON.stringify(capacity)]];
  });
}

function isDeclared(root: string, group: Group, declared: Readonly<Record<string, string>>): boolean {
  return Object.hasOwn(declared, groupName(root, group));
}
