import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { RESTORE_OUTCOMES } from '../../../shared/fleet/report.ts';

/**
 * Where the runner stands, as it survives a restart of the program and of the machine. What is about to be said is written
 * before it is said: a program killed in between says it again, and never the opposite.
 */
const stateSchema = v.object({
  version: v.literal(1),
  instanceId: v.string(),
  phase: v.picklist(['booting', 'ready', 'failed', 'draining']),
  /** The report that the phase owes; null once it was sent. */
  owed: v.nullable(v.record(v.string(), v.unknown())),
  /** What this boot has restored, as soon as it has: a boot that goes on after a restart does not do it again. */
  restored: v.exactOptional(
    v.object({
      outcome: v.picklist(RESTORE_OUTCOMES),
      id: v.exactOptional(v.string()),
      broken: v.exactOptional(v.object({ id: v.string(), reason: v.string() })),
      fetchedBytes: v.number(),
      seconds: v.number(),
    }),
  ),
  /** When the boot began, or the drain; milliseconds since 1970. */
  since: v.number(),
  unhealthyReported: v.boolean(),
  warmingRun: v.picklist(['none', 'saved', 'failed']),
});

export type RunnerState = v.InferOutput<typeof stateSchema>;

export interface StateFile {
  /** Undefined before the first boot, and when the disk came from another instance. */
  read(instanceId: string): Promise<RunnerState | undefined>;
  write(state: RunnerState): Promise<void>;
  /**
   * Changes what is there now, which need not be what the caller has last seen: the warming run and the watch write
   * different parts at any time.
   *
   * @returns the state as it was written
   */
  update(instanceId: string, change: Partial<RunnerState>): Promise<RunnerState>;
}

export function newState(instanceId: string, now: number): RunnerState {
  return {
    version: 1,
    instanceId,
    phase: 'booting',
    owed: null,
    since: now,
    unhealthyReported: false,
    warmingRun: 'none',
  };
}

/** @param directory of the runner's state */
export function stateFile(directory: string): StateFile {
  const file = join(directory, 'runner.json');
  let last: Promise<unknown> = Promise.resolve();

  async function read(instanceId: string): Promise<RunnerState | undefined> {
    const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    const result = v.safeParse(v.pipe(v.string(), v.parseJson(), stateSchema), text);
    // An image made from a runner carries that runner's state; it is none of ours.
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

  /** One write after the other. */
  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = last.then(work, work);
    last = mine.catch(() => undefined);
    return mine;
  }

  return {
    read,
    write: (state) => inTurn(() => replace(state)),
    update: (instanceId, change) =>
      inTurn(async () => {
        const next = { ...((await read(instanceId)) ?? newState(instanceId, Date.now())), ...change };
        await replace(next);
        return next;
      }),
  };
}
