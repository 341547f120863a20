import { RetryableError } from '../../shared/runtime/errors.ts';
import { emptyPointer, type Pointer } from '../../shared/snapshot/pointer.ts';
import { readPointer, writePointer } from '../../shared/snapshot/records.ts';
import type { WarmingContext } from './context.ts';

/** Writers of one pointer are few: more lost races than this in a row mean that something else is wrong. */
const MAX_RACES = 5;

/**
 * Changes a set's pointer by a pure step, which is computed anew from what is there whenever somebody else was faster.
 *
 * @param step gives the next pointer, or undefined if nothing is to change
 * @returns the pointer as it is now, and whether this call changed it
 */
export async function movePointer(
  set: string,
  context: WarmingContext,
  step: (pointer: Pointer, now: Date) => Pointer | undefined,
): Promise<{ pointer: Pointer; changed: boolean }> {
  for (let race = 0; race < MAX_RACES; race += 1) {
    const now = context.clock.now();
    const stored = await readPointer(context.store, set);
    const pointer = stored?.pointer ?? emptyPointer(now);
    const next = step(pointer, now);
    if (!next) return { pointer, changed: false };
    if (await writePointer(context.store, set, next, stored?.etag)) return { pointer: next, changed: true };
  }
  throw new RetryableError(
    'pointer-contended',
    `the pointer of set ${set} changed ${MAX_RACES} times meanwhile`,
  );
}
