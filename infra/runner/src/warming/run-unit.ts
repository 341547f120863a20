import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errorText } from '../../../../shared/runtime/errors.ts';
import { lineRedactor } from '../../../../shared/runtime/redact.ts';
import type { PlacedUnits } from '../agents/placed-units.ts';
import { emptyCgroup } from '../isolation/job-cgroup.ts';
import { followFile } from './follow-file.ts';
import { runScript, type WarmingProgram } from './run-script.ts';

/** The unit of a run, and its place. An instance has one run. */
const UNIT = 'warming';

/** Time between two observations, in milliseconds. */
const POLL_MS = 200;

/** Time between SIGTERM and SIGKILL of a run that is stopped, in milliseconds. */
const GRACE_MS = 10_000;

/** Longest time from a kill to the end of all processes, where there is no cgroup, in milliseconds. */
const KILL_MS = 10_000;

/** Longest wait until systemd has removed the unit of an earlier run, in milliseconds. */
const REMOVAL_MS = 10_000;

export type RunUnitOptions = {
  units: PlacedUnits;
  /** The user of the program; created if the instance does not have it. */
  user: string;
  /** The warm directory. */
  warm: string;
  /** Directory of the runner's state. */
  state: string;
  /** Stops the run. */
  signal: AbortSignal;
  log(line: string): void;
};

/**
 * Runs the program of a warming run to its end, in a unit of its own. When it is over, however it ended, nothing that it has started
 * is alive: its cgroup was killed and seen empty. Only then the tree may be saved. `endEarlierRun` comes first.
 *
 * @throws if it cannot be run, ends with another code than 0, or `signal` stops it; {CgroupNotEmpty} if something outlives the kill
 */
export async function runInUnit(program: WarmingProgram, options: RunUnitOptions): Promise<void> {
  const { units, user, warm, state, signal, log } = options;
  signal.throwIfAborted();
  await units.ensureUser(user);
  await units.prepare(UNIT);
  const logFile = join(state, 'warming.log');
  await rm(logFile, { force: true });
  // Arguments can hold what no log may hold.
  log(`warming: ${program.argv[0]} with ${program.argv.length - 1} arguments (as ${user})`);
  const redact = lineRedactor();
  const output = followFile(logFile, (line) => log(`warming: ${redact(line)}`));
  try {
    await units.start({
      name: UNIT,
      place: UNIT,
      argv: runScript(program, warm),
      user,
      directory: '/',
      env: { AW_WARM_DIR: warm },
      secrets: {},
      logFile,
    });
    const code = await exitCode(units, signal, log);
    signal.throwIfAborted();
    if (code !== 0) throw new Error(`${program.argv[0]} ended with ${code ?? 'a signal'}`);
  } finally {
    await endUnit(units, log);
    await output.end();
  }
}

/** @returns null if a signal ended the program */
async function exitCode(
  units: PlacedUnits,
  signal: AbortSignal,
  log: (line: string) => void,
): Promise<number | null> {
  let killAt = Number.POSITIVE_INFINITY;
  for (;;) {
    const found = await units.state(UNIT);
    if (!found) throw new Error('the unit of the run is gone');
    if (found.ended) return found.ended.code;
    if (signal.aborted) {
      if (killAt === Number.POSITIVE_INFINITY) {
        killAt = performance.now() + GRACE_MS;
        await units.signal(UNIT, 'SIGTERM').catch((error: unknown) => log(`warming: ${errorText(error)}`));
      }
      if (performance.now() > killAt) return null;
    }
    await sleep(POLL_MS);
  }
}

/** Kills what is left of the run, and removes its unit and its place. */
async function endUnit(units: PlacedUnits, log: (line: string) => void): Promise<void> {
  const found = await units.state(UNIT);
  if (found) {
    if (found.main) log('warming: the run is killed');
    const cgroup = await units.cgroup(UNIT);
    if (cgroup === undefined) await killAll(units);
    else await emptyCgroup(cgroup);
    await units.remove(UNIT);
  }
  await units.discard(UNIT);
}

/**
 * Ends the run that an earlier aw-runner has left: its unit goes on when aw-runner is killed. Before anything else of the next run:
 * its command could change the checkout, and the configuration of git with it, while that is made anew.
 *
 * @throws {CgroupNotEmpty} if something outlives the kill
 */
export async function endEarlierRun(units: PlacedUnits, log: (line: string) => void): Promise<void> {
  await endUnit(units, log);
  // systemd removes a unit some time after its end, and starts no other one of its name before.
  const until = performance.now() + REMOVAL_MS;
  while ((await units.state(UNIT)) && performance.now() < until) await sleep(POLL_MS);
}

/** Where there are no cgroups, which no instance lacks: on laptops. */
async function killAll(units: PlacedUnits): Promise<void> {
  const until = performance.now() + KILL_MS;
  for (;;) {
    const { pids = [] } = (await units.state(UNIT)) ?? {};
    if (pids.length === 0) return;
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
      }
    }
    if (performance.now() > until)
      throw new Error(`processes of the run are alive after a kill: ${pids.join(', ')}`);
    await sleep(20);
  }
}
