import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { S3Client } from '@aws-sdk/client-s3';
import * as v from 'valibot';
import { BuildCache } from './build-cache.ts';
import { serveControl } from './control.ts';
import { openDiskTier } from './disk-tier.ts';
import { cacheServer } from './http.ts';
import { limitedLog } from './limited-log.ts';
import { s3Store } from './store.ts';
import { backgroundUploads } from './uploads.ts';

/** Time between two reads of the epochs, in milliseconds: what is revoked is served for at most this long. */
const EPOCH_MS = 60_000;

/** Longest wait for them before requests are served, in milliseconds. */
const FIRST_EPOCH_MS = 2_000;

/** Time between two tries while an epoch is not known, in milliseconds. */
const EPOCH_RETRY_MS = 2_000;

/** Connections to S3. A build with many jobs has as many requests at once. */
const MAX_SOCKETS = 128;

/** The settings of one process, which aw-runner writes. */
const settingsSchema = v.object({
  region: v.string(),
  bucket: v.string(),
  mode: v.picklist(['read', 'write']),
  scope: v.string(),
  reads: v.array(v.string()),
  perJob: v.boolean(),
  /** On the loopback. 0: any free port, which the log names. */
  port: v.number(),
  /** Of the disk tier. */
  directory: v.string(),
  /** Share of the disk that the tier takes. */
  diskShare: v.number(),
  /** Path of the control socket. */
  control: v.string(),
  /** Replace the deadlines of S3: a computer that does much else is slower than an instance. */
  deadlines: v.exactOptional(v.object({ firstByteMs: v.number(), nextByteMs: v.number() })),
});

export type CacheProcessSettings = v.InferOutput<typeof settingsSchema>;

/**
 * The process of the build cache, `aw-cache`: it serves until it is stopped.
 *
 * @param file with the settings
 * @returns the exit code
 */
export async function serveCache(
  file: string,
  stop: AbortSignal,
  logLine: (line: string) => void,
): Promise<number> {
  const settings = v.parse(v.pipe(v.string(), v.parseJson(), settingsSchema), await readFile(file, 'utf8'));
  const { region, bucket, mode, scope, reads, perJob, port, directory, diskShare, control, deadlines } =
    settings;
  const log = limitedLog(logLine);
  const client = new S3Client({
    region,
    // The deadlines are those of the store: a second try would come too late for a build.
    maxAttempts: 1,
    requestHandler: {
      connectionTimeout: 2_000,
      httpsAgent: { maxSockets: MAX_SOCKETS },
      httpAgent: { maxSockets: MAX_SOCKETS },
    },
    // Each object has its own digest.
    responseChecksumValidation: 'WHEN_REQUIRED',
  });
  const disk = await openDiskTier(directory, diskShare, log);
  if (perJob)
    for (const folder of await disk.folders()) if (folder.startsWith('job-')) await disk.removeFolder(folder);
  const cache = new BuildCache({
    access: { mode, scope, reads, perJob },
    disk,
    store: s3Store(client, bucket, log, deadlines && { deadlines }),
    uploads: backgroundUploads(log),
    log,
    // The clock of S3, which dates the objects. The client corrects an own clock that is wrong (SDK: systemClockOffset).
    now: () => Date.now() + client.config.systemClockOffset,
  });
  // An S3 that does not answer costs hits, and no job its start. A scope without its epoch is not used.
  let isKnown = await Promise.race([cache.readEpochs(), sleep(FIRST_EPOCH_MS, false, { ref: false })]);
  const server = cacheServer(cache, disk, log);
  const served = await server.listen(port);
  const controls = await serveControl(control, cache, server);
  log(`aw-cache serves ${scope} (${mode}) on port ${served}`);
  while (!stop.aborted) {
    const wait = isKnown ? EPOCH_MS : EPOCH_RETRY_MS;
    await sleep(wait, undefined, { signal: stop }).catch(() => undefined);
    if (!stop.aborted) isKnown = await cache.readEpochs();
  }
  await server.close();
  controls.close();
  disk.close();
  return 0;
}
