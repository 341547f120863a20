import { zipSync } from 'fflate';

/** The earliest time in a zip (MS-DOS date, 1980-01-01), in local time as zip stores it. */
const FIXED_TIME = new Date(1980, 0, 1);

/** `-rw-r--r--` in the upper half of the external attributes, where Unix keeps the mode. */
const READABLE = (0o100644 << 16) >>> 0;

/** Unix, as the system of the entry. Readers use the mode only then. */
const UNIX = 3;

/**
 * A zip whose bytes depend on its content alone: sorted names, one fixed time, one fixed mode. Terraform redeploys a
 * function when its zip's checksum changes, so a checksum must not change for any other reason.
 */
export function deterministicZip(files: Readonly<Record<string, Uint8Array>>): Uint8Array {
  const sorted = Object.keys(files).sort();
  const entries = Object.fromEntries(
    sorted.map((name) => [name, [files[name] ?? new Uint8Array(), { attrs: READABLE, os: UNIX }] as const]),
  ) as Parameters<typeof zipSync>[0];
  return zipSync(entries, { level: 9, mtime: FIXED_TIME });
}
