import { type Pointer, quarantine } from '../../shared/snapshot/pointer.ts';
import type { Verdict } from '../../shared/snapshot/verify.ts';
import type { NamedSet, WarmingContext } from './context.ts';
import { movePointer } from './move-pointer.ts';

/** Puts a snapshot that is in use and broken into quarantine; if it was current, the one before it is again. Once. */
export async function rollBack(
  set: NamedSet,
  id: string,
  verdict: Extract<Verdict, { verdict: 'broken' | 'missing' }>,
  context: WarmingContext,
): Promise<{ reason: string; pointer: Pointer }> {
  const reason = verdict.verdict === 'missing' ? 'its manifest is missing' : verdict.reason;
  const { pointer, changed } = await movePointer(set.name, context, (before, at) =>
    quarantine(before, id, reason, at),
  );
  if (changed) {
    context.warn('a broken snapshot is quarantined', { set: set.name, id, reason, current: pointer.current });
  }
  return { reason, pointer };
}
