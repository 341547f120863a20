import { mkdir } from 'node:fs/promises';
import type { S3Client } from '@aws-sdk/client-s3';
import { errorText } from '../../../../shared/runtime/errors.ts';
import type { AgentDriver, AgentStatus } from '../agents/driver.ts';
import type { RunnerConfig, WarmingSettings } from '../config.ts';
import { runnerDirectories } from '../directories.ts';
import { markUnhealthy } from '../health.ts';
import { type SaveResult, saveSnapshot, terminalProgress } from '../snapshot/index.ts';
import type { StateFile } from '../state.ts';
import { endBazelServers } from './bazel-servers.ts';
import { checkOut, resetCheckout } from './checkout.ts';
import { runThenAlways } from './finally.ts';
import { endLeftOver, runProgram } from './run-program.ts';
import { warmBazel } from './warm-bazel.ts';

export type WarmingRunOptions = {
  config: RunnerConfig;
  warming: WarmingSettings;
  set: string;
  s3: S3Client;
  toolVersion: string;
  instanceId: string;
  states: StateFile;
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
    const commit = await runCommand(options);
    const saved = await save(options, commit);
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

function save(
  { config, warming, set, s3, toolVersion }: WarmingRunOptions,
  commit: string | undefined,
): Promise<SaveResult> {
  const { command, user } = warming;
  return saveSnapshot({
    s3,
    bucket: config.bucket,
    set,
    directories: runnerDirectories(config),
    toolVersion,
    facts: {
      ...(command && { command }),
      ...(user !== undefined && { user }),
      ...(commit !== undefined && { commit }),
    },
    progress: terminalProgress(),
  });
}

/**
 * Checks the sources out, runs the set's command, or the default one, and stops the Bazel servers of the warm tree, also if the command failed.
 *
 * @returns the commit of the checkout
 * @throws if the command cannot be run, fails, or takes too long
 */
async function runCommand({ config, warming, log }: WarmingRunOptions): Promise<string | undefined> {
  const { warm, state } = config.directories;
  await mkdir(warm, { recursive: true });
  await endLeftOver(state, log);
  await endBazelServers(warm);
  const late = new AbortController();
  const limit = setTimeout(
    () => late.abort(new Error(`the command took longer than ${warming.timeoutSeconds} s`)),
    warming.timeoutSeconds * 1000,
  );
  const run = { state, user: warming.user, env: { AW_WARM_DIR: warm }, signal: late.signal, log };
  const { checkout } = warming;
  const git = { provider: config.agent.driver, user: warming.user, signal: late.signal, log };
  try {
    const commit = checkout && (await checkOut(checkout, git));
    const work = warming.command
      ? runProgram(warming.command, warm, run)
      : warming.bazel && warmBazel(warming.bazel, warm, run);
    await runThenAlways(Promise.resolve(work), () => endBazelServers(warm), log);
    if (checkout) await resetCheckout(checkout, git);
    return commit;
  } finally {
    clearTimeout(limit);
  }
}
