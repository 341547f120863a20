import { chmod } from 'node:fs/promises';
import type { S3Client } from '@aws-sdk/client-s3';
import { simulatedHost } from '../../../scripts/local/runners/simulated-driver.ts';
import type { AgentDriver } from './agents/driver.ts';
import { agentProcess } from './agents/process.ts';
import { unsupportedAgent } from './agents/unsupported.ts';
import { s3Client, sqsClient } from './clients.ts';
import type { RunnerConfig } from './config.ts';
import { instanceMetadata } from './metadata.ts';
import { sqsReporter } from './reporter.ts';
import type { Runner } from './runner.ts';
import { isWarm, restoreSnapshot, terminalProgress } from './snapshot/index.ts';
import { type StateFile, stateFile } from './state.ts';
import { version } from './version.ts';
import { warmingDriver } from './warming/warming-run.ts';

/** One line on standard error, which systemd's journal and the log agent read. */
export function log(line: string): void {
  process.stderr.write(`${new Date().toISOString()} ${line}\n`);
}

/** Clients and adapters of a real machine. */
export async function assemble(config: RunnerConfig): Promise<Runner> {
  const metadata = instanceMetadata(config.metadataEndpoint);
  const instanceId = await metadata.instanceId();
  const { region } = config;
  const s3 = s3Client(region);
  const states = stateFile(config.directories.state);
  return {
    config,
    instanceId,
    metadata,
    states,
    reporter: sqsReporter(sqsClient(region), config, instanceId, log),
    host: hostOf(config, instanceId, s3, states),
    restore: async (signal) => {
      const restored = await restoreSnapshot({
        s3,
        bucket: config.bucket,
        set: config.warmingSet,
        directories: config.directories,
        progress: terminalProgress(),
        signal,
        warn: log,
      });
      await openToJobs(config.directories.warm);
      return restored;
    },
    isWarm: () => isWarm(config.directories),
    now: Date.now,
    log,
  };
}

/** Jobs have the rights of the agent's user, and begin with an empty directory on a cold machine: as in /tmp, whoever comes writes. */
async function openToJobs(warm: string): Promise<void> {
  await chmod(warm, 0o1777);
}

function hostOf(config: RunnerConfig, instanceId: string, s3: S3Client, states: StateFile): AgentDriver {
  if (config.warming && config.warmingSet !== undefined) {
    const { warming, warmingSet: set } = config;
    return warmingDriver({ config, warming, set, s3, toolVersion: version, instanceId, states, log });
  }
  if (config.agent.driver !== 'simulated') return unsupportedAgent(config.agent.driver);
  return simulatedHost(config.agent, instanceId, agentProcess(config.directories.state));
}
