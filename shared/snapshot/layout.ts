import { SET_NAME } from '../fleet/names.ts';

/**
 * The keys of the objects of a warming set. The functions and the runner build and parse keys only here.
 */

/** Sorts by time: `20261123T030000Z-1f2e3d4c`. */
export const SNAPSHOT_ID = /^\d{8}T\d{6}Z-[0-9a-f]{8}$/;

/** Lower-case hexadecimal sha256. */
export const SHA256 = /^[0-9a-f]{64}$/;

/** The object that a key below `sets/` names. */
export type SetKey =
  | { kind: 'pointer'; set: string }
  | { kind: 'run'; set: string }
  | { kind: 'manifest'; set: string; id: string }
  | { kind: 'index'; set: string; id: string }
  | { kind: 'frames'; set: string; id: string };

export function pointerKey(set: string): string {
  return `sets/${set}/pointer.json`;
}

export function runKey(set: string): string {
  return `sets/${set}/run.json`;
}

/** Problems of sound snapshots that instances have reported. */
export function brokenReportsKey(set: string): string {
  return `sets/${set}/broken-reports.json`;
}

/** Everything about the snapshots of a set. */
export function snapshotsPrefix(set: string): string {
  return `sets/${set}/snapshots/`;
}

export function manifestKey(set: string, id: string): string {
  return `${snapshotsPrefix(set)}${id}/manifest.json`;
}

/** The index of a snapshot: which frame holds which units of its image. */
export function indexKey(set: string, id: string): string {
  return `${snapshotsPrefix(set)}${id}/index`;
}

/** The frames of every snapshot of a set. */
export function framesPrefix(set: string): string {
  return `sets/${set}/frames/`;
}

/** The frames that a snapshot has added. */
export function framesKey(set: string, id: string): string {
  return `${framesPrefix(set)}${id}`;
}

/** The object that `key` names, or undefined if Hearth does not write such a key. */
export function parseSetKey(key: string): SetKey | undefined {
  const [root, set = '', ...rest] = key.split('/');
  if (root !== 'sets' || !SET_NAME.test(set)) return undefined;
  const path = rest.join('/');
  if (path === 'pointer.json') return { kind: 'pointer', set };
  if (path === 'run.json') return { kind: 'run', set };
  const [, id = '', file] = /^snapshots\/([^/]+)\/(manifest\.json|index)$/.exec(path) ?? [];
  if (SNAPSHOT_ID.test(id)) return { kind: file === 'index' ? 'index' : 'manifest', set, id };
  const frames = /^frames\/([^/]+)$/.exec(path)?.[1];
  if (frames && SNAPSHOT_ID.test(frames)) return { kind: 'frames', set, id: frames };
  return undefined;
}

/**
 * The id of a new snapshot.
 *
 * @param at time of its creation, to the second
 * @param entropy 8 hexadecimal digits that distinguish two snapshots of one second
 */
export function snapshotId(at: Date, entropy: string): string {
  const stamp = at
    .toISOString()
    .replace(/[-:]/g, '')
    .replace(/\.\d{3}/, '');
  return `${stamp}-${entropy}`;
}

/** Time of creation of the snapshot with this id. */
export function snapshotTime(id: string): Date {
  const [, y, mo, d, h, mi, s] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z/.exec(id) ?? [];
  return new Date(`${y}-${mo}-${d}T${h}:${mi}:${s}Z`);
}
