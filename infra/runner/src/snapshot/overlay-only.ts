import { entriesOf, joined, type RawPath } from './walk.ts';

/**
 * Whether an upper directory says more than its files do: a directory that hides what is below it (opaque), or that shows
 * what is somewhere else below (renamed). Overlayfs keeps both in extended attributes which only root can read or set, so
 * they are found by their effect: by comparing what is in the upper directory, what was below, and what is seen.
 */
export async function isOverlayOnly(upper: string, lower: string, merged: string): Promise<boolean> {
  const folders: [RawPath, RawPath, RawPath][] = [
    [Buffer.from(upper), Buffer.from(lower), Buffer.from(merged)],
  ];
  for (let next = folders.pop(); next !== undefined; next = folders.pop()) {
    const [inUpper, inLower, inMerged] = next;
    const changed = await entriesOf(inUpper);
    const below = new Set((await entriesOf(inLower)).map(({ name }) => name.toString('latin1')));
    const seen = new Set((await entriesOf(inMerged)).map(({ name }) => name.toString('latin1')));
    const own = new Set(changed.map(({ name }) => name.toString('latin1')));
    // A whiteout is an entry of the upper directory too, so what is neither there nor seen was hidden as a whole.
    if ([...below].some((name) => !seen.has(name) && !own.has(name))) return true;
    if ([...seen].some((name) => !below.has(name) && !own.has(name))) return true;
    for (const entry of changed) {
      if (!entry.isDirectory()) continue;
      folders.push([joined(inUpper, entry.name), joined(inLower, entry.name), joined(inMerged, entry.name)]);
    }
  }
  return false;
}
