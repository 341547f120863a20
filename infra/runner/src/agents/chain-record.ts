import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { PREVIOUS_ENDS } from '../../../../shared/fleet/registration.ts';
import { errorText } from '../../../../shared/runtime/errors.ts';
import { isDiskError } from '../disk-error.ts';

const time = v.number();
const processIdentity = v.object({ pid: v.number(), startTime: v.string() });

/**
 * `sending`: written before the signal. After a restart of aw-runner it is unknown whether the process has got it. `sent`: it has.
 */
const signalState = v.picklist(['sending', 'sent']);

/** The agent that runs, starts or has just ended. No field holds a secret. */
const agentSchema = v.object({
  /** Its unit. */
  unit: v.string(),
  /** Its place: the first of its units. */
  place: v.string(),
  /** The program, by version; `image` for the one of the image. */
  version: v.string(),
  /** Time of its request or of its start. */
  since: time,
  /** Name of its registration; absent while there is none. */
  name: v.exactOptional(v.string()),
  process: v.exactOptional(processIdentity),
  /** It accepted jobs at some time. */
  listened: v.boolean(),
  /** The job that runs or ran last. */
  job: v.exactOptional(v.string()),
  /** The process of that job: it counts also after the agent's main process has ended. */
  jobProcess: v.exactOptional(processIdentity),
  /** Since when it accepts jobs and runs none. */
  idleSince: v.exactOptional(time),
  /** Signals to this process. */
  signals: v.record(v.string(), signalState),
  /** Starts with the same registration. */
  starts: v.number(),
  /** Loopback port of the agent's own status, if it has one. */
  port: v.exactOptional(v.number()),
});

/** What the chain of agents of one instance needs after a restart of aw-runner. */
const recordSchema = v.object({
  version: v.literal(1),
  instanceId: v.string(),
  /** Number of the last unit. */
  units: v.number(),
  /** How the last registration ended; part of the next request. */
  previous: v.picklist(PREVIOUS_ENDS),
  /** Name of the last registration that arrived here. */
  last: v.exactOptional(v.string()),
  inServiceAt: v.exactOptional(time),
  lastJobEnd: v.exactOptional(time),
  /** Agents in a row that ended without a job. */
  failures: v.number(),
  /** Tries in a row to make a place for a job that have failed. */
  unprepared: v.exactOptional(v.number()),
  /** Requests in a row without a registration. */
  refusals: v.number(),
  /** Ends in a row that show a broken program or registration. */
  faults: v.number(),
  /** No request and no start before this time. */
  notBefore: time,
  /** `notBefore` after the last request that the budget of registrations has refused. */
  waitsUntil: v.exactOptional(time),
  /** Why no further job should run on this instance. */
  problem: v.exactOptional(v.string()),
  /** Exits for an update, by the version of the program that exited. */
  updates: v.record(v.string(), v.number()),
  /** A newer version that an agent has fetched itself, while `configured` was the version of the configuration. */
  updatedTo: v.exactOptional(v.object({ version: v.string(), configured: v.string() })),
  agent: v.exactOptional(agentSchema),
  /** The release of an idle agent in a drain. */
  release: v.exactOptional(
    v.object({
      since: time,
      /** No call before this time. */
      notBefore: time,
      tries: v.number(),
      /** First answer that has not removed it. */
      answeredAt: v.exactOptional(time),
      removedAt: v.exactOptional(time),
      unsupported: v.boolean(),
    }),
  ),
});

export type ChainRecord = v.InferOutput<typeof recordSchema>;

/**
 * Longest time of the tries to remove the registration of an idle agent, in milliseconds: from the first answer of the provider, and
 * without one. In an outage the agent can still get a job at any moment, so most outages must be shorter.
 */
const ANSWERED_MS = 600_000;
const UNANSWERED_MS = 3 * 3_600_000;

/** When the tries end, in milliseconds since 1970. */
export function releaseEndsAt({
  since,
  answeredAt,
  unsupported,
}: NonNullable<ChainRecord['release']>): number {
  if (unsupported) return since;
  return Math.min(since + UNANSWERED_MS, (answeredAt ?? Number.POSITIVE_INFINITY) + ANSWERED_MS);
}
export type AgentRecord = v.InferOutput<typeof agentSchema>;

function newRecord(instanceId: string): ChainRecord {
  return {
    version: 1,
    instanceId,
    units: 0,
    previous: 'none',
    failures: 0,
    refusals: 0,
    faults: 0,
    notBefore: 0,
    updates: {},
  };
}

/** The record in memory, with its copy on the disk. A full disk must not stop a drain: only the copy is late then. */
export interface ChainRecordFile {
  read(): Promise<ChainRecord>;
  /** Writes the record as it is at the time of the write. */
  save(): Promise<void>;
}

/** @param directory of the runner's state */
export function chainRecordFile(
  directory: string,
  instanceId: string,
  log: (line: string) => void,
): ChainRecordFile {
  const file = join(directory, 'agents.json');
  let reading: Promise<ChainRecord> | undefined;
  let writing: Promise<void> = Promise.resolve();
  let isUnsaved = false;

  async function readOnce(): Promise<ChainRecord> {
    const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (text === undefined) return newRecord(instanceId);
    const result = v.safeParse(v.pipe(v.string(), v.parseJson(), recordSchema), text);
    if (!result.success) log(`${file} is not readable: the chain of agents begins anew`);
    // An image made from a runner contains the record of that runner.
    return result.success && result.output.instanceId === instanceId ? result.output : newRecord(instanceId);
  }

  async function write(record: ChainRecord): Promise<void> {
    await mkdir(directory, { recursive: true });
    const handle = await open(`${file}.new`, 'w', 0o600);
    try {
      await handle.writeFile(JSON.stringify(record));
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(`${file}.new`, file);
  }

  async function save(): Promise<void> {
    try {
      await write(await read());
      isUnsaved = false;
    } catch (error) {
      if (!isDiskError(error)) throw error;
      if (!isUnsaved) log(`the record of agents cannot be written: ${errorText(error)}`);
      isUnsaved = true;
    }
  }

  function read(): Promise<ChainRecord> {
    reading ??= readOnce().catch((error: unknown) => {
      reading = undefined;
      throw error;
    });
    return reading;
  }

  return {
    read,
    save: () => {
      writing = writing.then(save, save);
      return writing;
    },
  };
}
