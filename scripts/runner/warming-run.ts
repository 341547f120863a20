import { spawn } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import type { S3Client } from '@aws-sdk/client-s3';
import type { AgentStatus, HostDriver } from '../../shared/hosts/host.ts';
import { errorText } from '../../shared/runtime/errors.ts';
import type { RunnerConfig, WarmingSettings } from './config.ts';
import { markUnhealthy } from './health.ts';
import { type SaveResult, saveSnapshot, terminalProgress } from './snapshot/index.ts';
import type { StateFile } from './state.ts';

/** How long a command that was told to end may take to do so, in milliseconds. */
const GRACE_MS = 10_000;

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
 * A warming group's machine has one job: to run the set's command on the warm tree and to save what came of it. To the rest
 * of the program it looks like a host whose only job that is, so that a drain waits for it like for any other.
 */
export function warmingHost(options: WarmingRunOptions): HostDriver {
  let status: AgentStatus = { state: 'idle', since: new Date() };
  return {
    async start() {
      const state = await options.states.read(options.instanceId);
      // A machine that was rebooted after its run has nothing more to do.
      if (status.state === 'busy' || (state && state.warmingRun !== 'none')) return;
      status = { state: 'busy', job: `warming run of ${options.set}` };
      void warmAndSave(options).finally(() => {
        status = { state: 'idle', since: new Date() };
      });
    },
    async stopIntake() {},
    status: async () => status,
  };
}

async function warmAndSave(options: WarmingRunOptions): Promise<void> {
  let outcome: 'saved' | 'failed' = 'saved';
  try {
    await runCommand(options.warming, options.config.directories.warm, options.log);
    const saved = await save(options);
    options.log(
      `saved ${saved.id}: ${saved.kind}, ${saved.manifest.layers.length} layers, ${saved.uploadedBytes} bytes sent`,
    );
  } catch (error) {
    outcome = 'failed';
    const reason = `warming run failed: ${errorText(error)}`;
    options.log(reason);
    await markUnhealthy(options.config.directories.state, reason);
  }
  await options.states.update(options.instanceId, { warmingRun: outcome });
}

function save({ config, set, s3, toolVersion }: WarmingRunOptions): Promise<SaveResult> {
  return saveSnapshot({
    s3,
    bucket: config.bucket,
    set,
    directories: config.directories,
    toolVersion,
    progress: terminalProgress(),
  });
}

/** @throws if the command cannot be run, exits with anything but 0, or takes too long */
async function runCommand(
  warming: WarmingSettings,
  warm: string,
  log: (line: string) => void,
): Promise<void> {
  const [program = '', ...args] = warming.command;
  await mkdir(warm, { recursive: true });
  log(`warming: ${warming.command.join(' ')}`);
  const child = spawn(program, args, {
    cwd: warm,
    env: { ...process.env, AW_WARM_DIR: warm },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  let late = false;
  const limit = setTimeout(() => {
    late = true;
    child.kill('SIGTERM');
    setTimeout(() => child.kill('SIGKILL'), GRACE_MS).unref();
  }, warming.timeoutSeconds * 1000);
  try {
    const code = await new Promise<number | string>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (exitCode, signal) => resolve(exitCode ?? signal ?? 'nothing'));
    });
    if (late) throw new Error(`the command took longer than ${warming.timeoutSeconds} s`);
    if (code !== 0) throw new Error(`the command ended with ${code}`);
  } finally {
    clearTimeout(limit);
  }
}
