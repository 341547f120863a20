import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { RESTORE_OUTCOMES } from '../../../shared/fleet/report.ts';
import { errorText } from '../../../shared/runtime/errors.ts';
import { isDiskError } from './disk-error.ts';

const report = v.record(v.string(), v.unknown());

/**
 * The state of the runner, which survives a restart of the program and of the instance. A report is written here before it is
 * sent: a program that is killed in between sends the same report after its restart, and never the opposite one.
 */
const stateSchema = v.object({
  version: v.literal(1),
  instanceId: v.string(),
  phase: v.picklist(['booting', 'ready', 'failed', 'draining']),
  /** The report of the phase that is not sent yet; null after it was sent. */
  pendingReport: v.nullable(report),
  /** The Runner Ready of the last boot and the time of its decision; it is repeated while the launch hook can be active. */
  launch: v.exactOptional(v.object({ report, at: v.number() })),
  /** Result of the restore of this boot. A boot that continues after a restart does not restore again. */
  restored: v.exactOptional(
    v.object({
      outcome: v.picklist(RESTORE_OUTCOMES),
      id: v.exactOptional(v.string()),
      broken: v.exactOptional(
        v.object({
          id: v.string(),
          reason: v.string(),
          frame: v.exactOptional(v.object({ object: v.string(), offset: v.number() })),
        }),
      ),
      fetchedBytes: v.number(),
      seconds: v.number(),
    }),
  ),
  /** Start of the boot or of the drain; milliseconds since 1970. */
  since: v.number(),
  /** The instance has run no job since: last time at which a job ran, or InService; milliseconds since 1970. */
  idleSince: v.exactOptional(v.number()),
  unhealthyReported: v.boolean(),
  warmingRun: v.picklist(['none', 'saved', 'failed']),
});

export type RunnerState = v.InferOutput<typeof stateSchema>;

/**
 * The state in memory with its copy on disk. A disk that is full or broken must not end a drain, so a failed write is logged
 * and left to `flush`; only the copy is late then.
 */
export interface StateFile {
  /** Undefined before the first boot, and when the disk came from another instance. */
  read(instanceId: string): Promise<RunnerState | undefined>;
  write(state: RunnerState): Promise<void>;
  /**
   * Changes the current state, which can differ from the one that the caller has read: the warming run and the watch loop
   * change different fields at any time.
   *
   * @returns the new state
   */
  update(instanceId: string, change: Partial<RunnerState>): Promise<RunnerState>;
  /** Repeats a write that failed. */
  flush(): Promise<void>;
}

export function newState(instanceId: string, now: number): RunnerState {
  return {
    version: 1,
    instanceId,
    phase: 'booting',
    pendingReport: null,
    since: now,
    unhealthyReported: false,
    warmingRun: 'none',
  };
}

/** @param directory of the runner's state */
export function stateFile(directory: string, log: (line: string) => void = () => {}): StateFile {
  const file = join(directory, 'runner.json');
  let last: Promise<unknown> = Promise.resolve();
  let current: RunnerState | undefined;
  let isUnsaved = false;

  async function read(instanceId: string): Promise<RunnerState | undefined> {
    if (current?.instanceId === instanceId) return current;
    const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    const result = v.safeParse(v.pipe(v.string(), v.parseJson(), stateSchema), text);
    // An image made from a runner contains the state of that runner.
    return result.success && result.output.instanceId === instanceId ? result.output : undefined;
  }

  async function replace(state: RunnerState): Promise<void> {
    await mkdir(directory, { recursive: true });
    const handle = await open(`${file}.new`, 'w');
    try {
      await handle.writeFile(JSON.stringify(state));
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(`${file}.new`, file);
  }

  async function save(state: RunnerState): Promise<void> {
    current = state;
    try {
      await replace(state);
      if (isUnsaved) log('the state file is written again');
      isUnsaved = false;
    } catch (error) {
      if (!isDiskError(error)) throw error;
      if (!isUnsaved) log(`the state file cannot be written: ${errorText(error)}`);
      isUnsaved = true;
    }
  }

  /** One write after the other. */
  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = last.then(work, work);
    last = mine.catch(() => undefined);
    return mine;
  }

  return {
    read,
    write: (state) => inTurn(() => save(state)),
    update: (instanceId, change) =>
      inTurn(async () => {
        const next = { ...((await read(instanceId)) ?? newState(instanceId, Date.now())), ...change };
        await save(next);
        return next;
      }),
    flush: () => inTurn(async () => (isUnsaved && current ? save(current) : undefined)),
  };
}
