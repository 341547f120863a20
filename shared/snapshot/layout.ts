import { SET_NAME } from '../fleet/names.ts';

/**
 * Where everything of a warming set lies in the bucket. Both sides, the functions and the runner, build and read keys
 * only here.
 */

/** Sorts by time: `20261123T030000Z-1f2e3d4c`. */
export const SNAPSHOT_ID = /^\d{8}T\d{6}Z-[0-9a-f]{8}$/;

/** Lower-case hexadecimal sha256. */
export const SHA256 = /^[0-9a-f]{64}$/;

/** What a key below `sets/` is. */
export type SetKey =
  | { kind: 'pointer'; set: string }
  | { kind: 'run'; set: string }
  | { kind: 'manifest'; set: string; id: string }
  | { kind: 'layer'; set: string; sha256: string };

/** The declared part of the parameter tree, written by Terraform. */
export const DECLARED_PARAMETERS_KEY = 'config/parameters.json';

export function pointerKey(set: string): string {
  return `sets/${set}/pointer.json`;
}

export function runKey(set: string): string {
  return `sets/${set}/run.json`;
}

/** Everything about the snapshots of a set. */
export function snapshotsPrefix(set: string): string {
  return `sets/${set}/snapshots/`;
}

export function manifestKey(set: string, id: string): string {
  return `${snapshotsPrefix(set)}${id}/manifest.json`;
}

/** Every layer of a set. */
export function layersPrefix(set: string): string {
  return `sets/${set}/layers/`;
}

export function layerKey(set: string, sha256: string): string {
  return `${layersPrefix(set)}${sha256}.sqfs`;
}

/** What `key` is, or undefined if Hearth would not have written it there. */
export function parseSetKey(key: string): SetKey | undefined {
  const [root, set = '', ...rest] = key.split('/');
  if (root !== 'sets' || !SET_NAME.test(set)) return undefined;
  const path = rest.join('/');
  if (path === 'pointer.json') return { kind: 'pointer', set };
  if (path === 'run.json') return { kind: 'run', set };
  const manifest = /^snapshots\/([^/]+)\/manifest\.json$/.exec(path)?.[1];
  if (manifest && SNAPSHOT_ID.test(manifest)) return { kind: 'manifest', set, id: manifest };
  const sha256 = /^layers\/([^/]+)\.sqfs$/.exec(path)?.[1];
  if (sha256 && SHA256.test(sha256)) return { kind: 'layer', set, sha256 };
  return undefined;
}

/**
 * A new snapshot's id.
 *
 * @param at when it is made, to the second
 * @param entropy 8 hexadecimal digits that tell two of the same second apart
 */
export function snapshotId(at: Date, entropy: string): string {
  const stamp = at
    .toISOString()
    .replace(/[-:]/g, '')
    .replace(/\.\d{3}/, '');
  return `${stamp}-${entropy}`;
}

/** When the snapshot with this id was made. */
export function snapshotTime(id: string): Date {
  const [, y, mo, d, h, mi, s] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z/.exec(id) ?? [];
  return new Date(`${y}-${mo}-${d}T${h}:${mi}:${s}Z`);
}
