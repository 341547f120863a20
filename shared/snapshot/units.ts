/**
 * The unit of an image: what is compared, sent and written at once. All sizes of a snapshot's records follow from it, and bytes
 * are converted to units only here.
 */

/** Bytes of a unit. Smaller units make the index larger; with larger ones a night of small changes sends more bytes. */
export const UNIT_BYTES = 64 * 1024;

/** Most units of a frame: 1 MiB. A runner decompresses a whole frame to read one unit of it. */
export const MAX_FRAME_UNITS = 16;

/** Most units of an image: 16 TiB, the most that ext4 with blocks of 4 KiB holds without 64bit (ext4 documentation, "Blocks"). */
export const MAX_IMAGE_UNITS = 2 ** 28;

/** A run of units. */
export type UnitRange = { firstUnit: number; units: number };

/** Number of units that `bytes` bytes occupy; the last one may be occupied in part. */
export function unitsOf(bytes: number): number {
  return Math.ceil(bytes / UNIT_BYTES);
}

/** Size of `units` units, and the offset of the unit with this number. */
export function bytesOf(units: number): number {
  return units * UNIT_BYTES;
}
