import { mkdir } from 'node:fs/promises';
import { userInfo } from 'node:os';
import type { S3Client } from '@aws-sdk/client-s3';
import { errorText } from '../../../../shared/runtime/errors.ts';
import type { AgentDriver, AgentStatus } from '../agents/driver.ts';
import type { PlacedUnits } from '../agents/placed-units.ts';
import type { RunnerConfig, WarmingSettings } from '../config.ts';
import { runnerDirectories, warmUser } from '../directories.ts';
import { markUnhealthy } from '../health.ts';
import { type SaveFacts, type SaveResult, saveSnapshot, terminalProgress } from '../snapshot/index.ts';
import type { StateFile } from '../state.ts';
import { bazelProgram } from './bazel-program.ts';
import { checkOut, resetCheckout } from './checkout.ts';
import type { WarmingProgram } from './run-script.ts';
import { endEarlierRun, runInUnit } from './run-unit.ts';

export type WarmingRunOptions = {
  config: RunnerConfig;
  warming: WarmingSettings;
  set: string;
  s3: S3Client;
  toolVersion: string;
  instanceId: string;
  states: StateFile;
  /** The unit and the place of the run; decided when it begins, after the restore. */
  units(): Promise<PlacedUnits>;
  log(line: string): void;
};

/**
 * The agent of an instance of a warming group. Its only job runs the set's command on the warm tree and saves the tree as a
 * snapshot. A drain waits for this job as for any other.
 */
export function warmingDriver(options: WarmingRunOptions): AgentDriver {
  let status: AgentStatus = { state: 'gone' };
  let isStopped = false;
  return {
    async prepare() {},
    async start() {
      if (status.state !== 'gone') return;
      const state = await options.states.read(options.instanceId);
      // An instance that was rebooted after its run does not repeat it.
      if (state && state.warmingRun !== 'none') {
        status = { state: 'idle' };
        return;
      }
      status = { state: 'busy', job: `warming run of ${options.set}` };
      void warmAndSave(options).finally(() => {
        status = { state: 'idle' };
      });
    },
    async stopIntake() {
      isStopped = true;
    },
    // After its run the instance waits for the function `warming`, and then has nothing to end.
    status: async () => (isStopped && status.state === 'idle' ? { state: 'gone' } : status),
    facts: () => ({ registers: false }),
  };
}

async function warmAndSave(options: WarmingRunOptions): Promise<void> {
  let outcome: 'saved' | 'failed' = 'saved';
  try {
    const saved = await save(options, await runCommand(options));
    options.log(
      `saved ${saved.id}: ${saved.kind}, ${saved.manifest.frames.length} objects, ${saved.uploadedBytes} bytes sent`,
    );
  } catch (error) {
    outcome = 'failed';
    const reason = `warming run failed: ${errorText(error)}`;
    options.log(reason);
    await markUnhealthy(options.config.directories.state, reason).catch((cause: unknown) =>
      options.log(`the mark of an unhealthy instance cannot be written: ${errorText(cause)}`),
    );
  }
  await options.states.update(options.instanceId, { warmingRun: outcome });
}

function save({ config, set, s3, toolVersion }: WarmingRunOptions, facts: SaveFacts): Promise<SaveResult> {
  return saveSnapshot({
    s3,
    bucket: config.bucket,
    set,
    directories: runnerDirectories(config),
    toolVersion,
    facts,
    progress: terminalProgress(),
  });
}

/**
 * Checks the sources out, and runs the set's command, or the default one, in a unit of its own. When it is over, nothing that the
 * command has started is alive.
 *
 * @returns what the run was, for the manifest
 * @throws if the command cannot be run, fails, or takes too long
 */
async function runCommand(options: WarmingRunOptions): Promise<SaveFacts> {
  const { config, warming, log } = options;
  const { warm, state } = config.directories;
  const user = warmUser(config);
  await mkdir(warm, { recursive: true });
  const program = programOf(warming, warm);
  const units = await options.units();
  const late = new AbortController();
  const limit = setTimeout(
    () => late.abort(new Error(`the command took longer than ${warming.timeoutSeconds} s`)),
    warming.timeoutSeconds * 1000,
  );
  const { signal } = late;
  const { checkout } = warming;
  // Without root, on laptops, no other user is possible.
  const owner = user === userInfo().username ? undefined : user;
  const git = { provider: config.agent.driver, user: owner, signal, log };
  try {
    await endEarlierRun(units, log);
    await units.ensureUser(user);
    const commit = checkout && (await checkOut(checkout, git));
    await runInUnit(program, { units, user, warm, state, signal, log });
    if (checkout) await resetCheckout(checkout, git);
    return { command: program.argv, user, ...(commit !== undefined && { commit }) };
  } finally {
    clearTimeout(limit);
  }
}

function programOf({ command, bazel }: WarmingSettings, warm: string): WarmingProgram {
  if (command) return { argv: command, directory: warm };
  if (bazel) return bazelProgram(bazel, warm);
  throw new Error('the set has neither a command nor a Bazel workspace');
}
