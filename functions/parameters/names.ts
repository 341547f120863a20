import { type Group, groupId, parseGroupId, SET_NAME } from '../../shared/fleet/names.ts';

/** Rules of Parameter Store for names and values (Systems Manager User Guide, "Requirements and constraints"). */
const MAX_NAME = 1011;
const MAX_LEVELS = 15;
/** Of a standard parameter, in bytes. An advanced parameter costs money and cannot be changed back to standard. */
export const MAX_VALUE_BYTES = 4096;

/** Why Parameter Store, or the limit to `root`, does not allow a parameter. Undefined if it is allowed. */
export function parameterProblem(root: string, name: string, value: string): string | undefined {
  if (!name.startsWith(`${root}/`)) return `is not below ${root}`;
  if (name.length > MAX_NAME) return `has a name longer than ${MAX_NAME} characters`;
  if (!/^(\/[A-Za-z0-9_.-]+)+$/.test(name)) return 'has a character that Parameter Store does not accept';
  if (name.split('/').length - 1 > MAX_LEVELS) return `has more than ${MAX_LEVELS} levels`;
  if (value === '') return 'has no value';
  if (Buffer.byteLength(value) > MAX_VALUE_BYTES) return `has a value larger than ${MAX_VALUE_BYTES} bytes`;
  if (value.includes('{{')) return 'has a value with {{, which Parameter Store reads as a reference';
  return undefined;
}

/** The declared settings of a runner group. */
export function groupName(root: string, group: Group): string {
  return `${root}/groups/${groupId(group)}`;
}

/** The sizes of a runner group. */
export function capacityName(root: string, group: Group): string {
  return `${groupName(root, group)}/capacity`;
}

/** The jobs of a runner group at its provider. */
export function backlogName(root: string, group: Group): string {
  return `${groupName(root, group)}/backlog`;
}

/** The snapshot that runners of a warming set mount. */
export function snapshotName(root: string, set: string): string {
  return `${root}/warming/${set}/snapshot`;
}

export function isCapacityName(root: string, name: string): boolean {
  return isOfGroup(root, name, '/capacity');
}

export function isBacklogName(root: string, name: string): boolean {
  return isOfGroup(root, name, '/backlog');
}

function isOfGroup(root: string, name: string, end: string): boolean {
  const id = between(name, `${root}/groups/`, end);
  return id !== undefined && parseGroupId(id) !== undefined;
}

export function isSnapshotName(root: string, name: string): boolean {
  const set = between(name, `${root}/warming/`, '/snapshot');
  return set !== undefined && SET_NAME.test(set);
}

/**
 * Whether this function writes parameters of that name. Nothing else below `root` is deleted: a tree of another program can lie
 * beside it, with secrets.
 */
export function isOwnName(root: string, name: string): boolean {
  if (name === `${root}/deployment`) return true;
  const group = name.startsWith(`${root}/groups/`) ? name.slice(`${root}/groups/`.length) : '';
  if (parseGroupId(group) !== undefined) return true;
  return [isBacklogName, isCapacityName, isSnapshotName].some((isName) => isName(root, name));
}

function between(text: string, start: string, end: string): string | undefined {
  if (!text.startsWith(start) || !text.endsWith(end)) return undefined;
  return text.slice(start.length, -end.length);
}
/** The regions of the tree: the home region first, and each region once, so that no tree has two writers. */
export function treeRegions(home: string, replicas: readonly string[]): string[] {
  return [...new Set([home, ...replicas])];
}
