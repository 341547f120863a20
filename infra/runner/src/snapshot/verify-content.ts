import type { S3Client } from '@aws-sdk/client-s3';
import { CorruptRecord, UnsupportedFormat } from '../../../../shared/snapshot/errors.ts';
import { BrokenFrame } from '../../../../shared/snapshot/frame.ts';
import { readIndex, readManifest } from '../../../../shared/snapshot/records.ts';
import { planRestore } from '../../../../shared/snapshot/restore-plan.ts';
import { s3Store } from '../../../../shared/snapshot/store.ts';
import { fetchFrames, NO_LOG } from './fill.ts';
import { silentProgress } from './progress.ts';

/** Time for which calls that fail are repeated, in milliseconds. */
const PATIENCE_MS = 600_000;

/**
 * Reads every frame of a snapshot and compares it with the index.
 *
 * @returns the first problem, or undefined if there is none
 * @throws errors of S3: a failed read is no verdict about the snapshot
 */
export async function verifyContent(options: {
  s3: Pick<S3Client, 'send'>;
  bucket: string;
  set: string;
  id: string;
  signal?: AbortSignal;
}): Promise<string | undefined> {
  const { s3, bucket, set, id, signal } = options;
  const store = s3Store(s3, bucket);
  try {
    const read = await readManifest(store, set, id);
    if (!read) return 'it has no manifest';
    const { manifest } = read;
    const plan = planRestore(await readIndex(store, manifest));
    const patience = { until: performance.now() + PATIENCE_MS, ...(signal && { signal }) };
    const source = { s3, bucket, manifest };
    await fetchFrames(undefined, plan.fetches(), NO_LOG, source, silentProgress, patience);
    return undefined;
  } catch (error) {
    if (
      error instanceof CorruptRecord ||
      error instanceof BrokenFrame ||
      error instanceof UnsupportedFormat
    ) {
      return error.message;
    }
    throw error;
  }
}
