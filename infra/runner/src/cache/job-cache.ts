import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errorText } from '../../../../shared/runtime/errors.ts';
import type { PlacedUnits } from '../agents/placed-units.ts';
import type { RunnerConfig } from '../config.ts';
import type { ReportBody, Reporter } from '../reporter.ts';
import type { CacheNumbers } from './build-cache.ts';
import { controlClient } from './control.ts';
import type { CacheProcessSettings } from './serve-cache.ts';

/** Longest time of the uploads in a drain, and what a Spot interruption leaves to the rest of it; in milliseconds. */
const DRAIN_MS = 60_000;
const BEFORE_INTERRUPTION_MS = 15_000;

/** Longest wait for a process that starts: the program, and S3 for the epochs. Then the time between two checks. In milliseconds. */
const START_MS = 5_000;
const START_POLL_MS = 50;

/** The service manager, for the process of the build cache. The process outlives aw-runner. */
export interface CacheUnit {
  /** Starts the process unless it runs. @throws if it cannot be started */
  ensure(settings: CacheProcessSettings): Promise<void>;
  /** Ends the process, whatever it does, and starts it again. @throws */
  restart(): Promise<void>;
  /** Ends the process. @throws if it can still run */
  stop(): Promise<void>;
}

export type CacheUnitFactory = (context: {
  /** Directory of the runner's state; root only. */
  stateDirectory: string;
  log(line: string): void;
}) => CacheUnit & {
  /** Path of the control socket. */
  control: string;
};

/** The build cache as aw-runner uses it. It is never a reason for a job to fail, or for an instance to be replaced. */
export interface JobCache {
  /** Starts the process unless it runs. */
  ensure(): Promise<void>;
  /**
   * The job has ended: what it has claimed is gone.
   *
   * @throws if that is not certain, since the process neither answers nor can be ended; then no further job may run
   */
  turnover(): Promise<void>;
  /** Waits for uploads, until a Spot interruption if there is one. @param endsAt milliseconds since 1970 */
  drain(endsAt: number | null): Promise<void>;
  /** Reports what the cache has counted since the last report. */
  report(reporter: Reporter): Promise<void>;
}

/** A group without a cache. */
export const noCache: JobCache = {
  async ensure() {},
  async turnover() {},
  async drain() {},
  async report() {},
};

export function jobCache(
  config: RunnerConfig & { cache: NonNullable<RunnerConfig['cache']> },
  perJob: boolean,
  unit: ReturnType<CacheUnitFactory>,
  log: (line: string) => void,
): JobCache {
  const { cache, region, bucket, directories } = config;
  const control = controlClient(unit.control);
  const settings: CacheProcessSettings = {
    region,
    bucket,
    mode: cache.mode,
    scope: cache.scope,
    reads: cache.reads,
    perJob,
    port: cache.port,
    directory: join(directories.images, 'cache'),
    diskShare: cache.diskPercent / 100,
    control: unit.control,
  };
  let lastFailure = '';
  let reported: CacheNumbers | undefined;

  function failed(what: string, error: unknown): void {
    const text = `build cache: ${what}: ${errorText(error)}`;
    if (text !== lastFailure) log(text);
    lastFailure = text;
  }

  /** A process that starts serves within a second, and a job that came before would have no cache. @throws if it serves too late */
  async function answers(): Promise<void> {
    // A process that fails all the time must not cost every job this wait.
    for (const end = performance.now() + (lastFailure === '' ? START_MS : 0); ; ) {
      try {
        await control.numbers();
        return;
      } catch (error) {
        if (performance.now() > end) throw error;
      }
      await sleep(START_POLL_MS);
    }
  }

  return {
    async ensure() {
      try {
        await unit.ensure(settings);
        await answers();
        lastFailure = '';
      } catch (error) {
        failed('the process does not start', error);
      }
    },

    async turnover() {
      try {
        await control.turnover();
      } catch (error) {
        failed('turnover', error);
        // A process that starts has no claims of a job.
        await unit.restart().catch(() => unit.stop());
      }
    },

    async drain(endsAt) {
      const left = endsAt === null ? DRAIN_MS : endsAt - Date.now() - BEFORE_INTERRUPTION_MS;
      try {
        if (left > 0) await control.drain(Math.min(DRAIN_MS, left));
      } catch (error) {
        failed('drain', error);
      }
    },

    async report(reporter) {
      try {
        const numbers = await control.numbers();
        const since = difference(numbers, reported);
        if (Object.values(since).every((value) => value === 0)) return;
        const body: ReportBody = { report: 'Runner Cache', cache: since };
        if (await reporter.trySend(body)) reported = numbers;
      } catch (error) {
        failed('numbers', error);
      }
    },
  };
}

/** A process that has started again counts from zero. */
function difference(now: CacheNumbers, before: CacheNumbers | undefined): CacheNumbers {
  const names = Object.keys(now) as (keyof CacheNumbers)[];
  if (!before || names.some((name) => now[name] < before[name])) return now;
  return Object.fromEntries(names.map((name) => [name, now[name] - before[name]])) as CacheNumbers;
}

/** Units whose jobs have the cache: it runs before a job, and has nothing of the job after it. */
export function withCache(units: PlacedUnits, cache: JobCache, perJob: boolean): PlacedUnits {
  return {
    ...units,
    async prepare(place) {
      await cache.ensure();
      // An aw-runner that was killed after a job has not done it.
      if (perJob) await cache.turnover();
      await units.prepare(place);
    },
    async discard(place) {
      // Nothing of the job may run while the cache opens its port again.
      await units.discard(place);
      if (perJob) await cache.turnover();
    },
  };
}
