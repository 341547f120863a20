import { chmod } from 'node:fs/promises';
import { S3Client } from '@aws-sdk/client-s3';
import { SQSClient } from '@aws-sdk/client-sqs';
import { clientSettings } from '../../../shared/runtime/client-settings.ts';
import type { AgentDriver, AgentFactories } from './agents/driver.ts';
import { unsupportedAgent } from './agents/unsupported.ts';
import type { RunnerConfig } from './config.ts';
import { type Health, instanceHealth } from './health.ts';
import { instanceMetadata, type Metadata } from './metadata.ts';
import { type Reporter, sqsReporter } from './reporter.ts';
import { isWarm, type RestoreResult, restoreSnapshot, terminalProgress } from './snapshot/index.ts';
import { type StateFile, stateFile } from './state.ts';
import { version } from './version.ts';
import { warmingDriver } from './warming/warming-run.ts';

/** The dependencies of boot and watch. */
export type Runner = {
  config: RunnerConfig;
  instanceId: string;
  agent: AgentDriver;
  metadata: Metadata;
  reporter: Reporter;
  states: StateFile;
  health: Health;
  restore(signal: AbortSignal): Promise<RestoreResult>;
  /** Whether the warm tree is mounted as it was restored. */
  isWarm(): Promise<boolean>;
  /** Milliseconds since 1970. */
  now(): number;
  log(line: string): void;
};

/** The runner of this instance, with the clients and adapters of AWS. */
export async function createRunner(
  config: RunnerConfig,
  agents: AgentFactories,
  log: (line: string) => void,
): Promise<Runner> {
  const metadata = instanceMetadata(config.metadataEndpoint);
  const instanceId = await metadata.instanceId();
  const { directories } = config;
  const client = clientSettings('daemon', config.region);
  const s3 = new S3Client(client);
  const states = stateFile(directories.state, log);
  return {
    config,
    instanceId,
    metadata,
    states,
    health: instanceHealth(directories.state, [directories.state, directories.layers], log),
    reporter: sqsReporter(new SQSClient(client), config, instanceId, log),
    agent: createAgent(config, agents, instanceId, s3, states, log),
    restore: async (signal) => {
      const restored = await restoreSnapshot({
        s3,
        bucket: config.bucket,
        set: config.warmingSet,
        directories,
        progress: terminalProgress(),
        signal,
        warn: log,
      });
      await openToJobs(directories.warm);
      return restored;
    },
    isWarm: () => isWarm(directories),
    now: Date.now,
    log,
  };
}

/** Jobs run as the agent's user and start with an empty directory on a cold instance. As in /tmp, every user can write. */
async function openToJobs(warm: string): Promise<void> {
  await chmod(warm, 0o1777);
}

function createAgent(
  config: RunnerConfig,
  agents: AgentFactories,
  instanceId: string,
  s3: S3Client,
  states: StateFile,
  log: (line: string) => void,
): AgentDriver {
  if (config.warming && config.warmingSet !== undefined) {
    const { warming, warmingSet: set } = config;
    return warmingDriver({ config, warming, set, s3, toolVersion: version, instanceId, states, log });
  }
  const { agent, directories } = config;
  const create = agents[agent.driver];
  if (!create) return unsupportedAgent(agent.driver);
  return create(agent, { instanceId, stateDirectory: directories.state });
}
