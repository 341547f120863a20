import { RetryableError } from '../../shared/runtime/errors.ts';
import { type Verdict, verifySnapshot } from '../../shared/snapshot/verify.ts';
import type { NamedSet, WarmingContext } from './context.ts';

/**
 * Verification stops this long after it began, in milliseconds, and goes on with the next try: Lambda ends an invocation after
 * 15 minutes.
 */
const VERIFY_MS = 12 * 60_000;

/**
 * Reads a snapshot back from S3. One too large for one invocation is verified over several: layers that were found sound since
 * `since` are not read again. One that moves to another execution environment starts anew.
 *
 * @param known layers that need not be read at all
 */
export async function verify(
  set: NamedSet,
  id: string,
  since: Date,
  context: WarmingContext,
  known: readonly string[] = [],
): Promise<Verdict> {
  const now = () => context.clock.now().getTime();
  const { layers } = context.findings;
  const key = (sha256: string) => `${set.name}/${sha256}`;
  const verified = new Set(known);
  for (const [found, at] of layers) {
    const sha256 = found.slice(set.name.length + 1);
    if (at >= since.getTime() && found === key(sha256)) verified.add(sha256);
  }
  try {
    return await verifySnapshot(context.store, set.name, id, {
      now,
      until: now() + VERIFY_MS,
      verified,
      onLayer: (sha256) => layers.set(key(sha256), now()),
    });
  } catch (error) {
    // Its size was there a moment ago. The next look finds it missing, and the snapshot broken.
    if (!(error instanceof Error) || error.name !== 'NoSuchKey') throw error;
    throw new RetryableError('layer-vanished', `a layer of ${id} was deleted meanwhile`, { cause: error });
  }
}

/** Only what is cheap: the manifest, and that every layer is there in its size. Never ends as `sound`. */
export function glance(set: NamedSet, id: string, context: WarmingContext): Promise<Verdict> {
  const now = () => context.clock.now().getTime();
  return verifySnapshot(context.store, set.name, id, { now, until: now() });
}
