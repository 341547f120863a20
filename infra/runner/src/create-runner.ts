import { chmod } from 'node:fs/promises';
import { S3Client } from '@aws-sdk/client-s3';
import { SQSClient } from '@aws-sdk/client-sqs';
import { clientSettings } from '../../../shared/runtime/client-settings.ts';
import type { AgentDriver, AgentFactories } from './agents/driver.ts';
import { registrationClient } from './agents/registration-client.ts';
import type { AgentUnits, AgentUnitsFactory } from './agents/units.ts';
import { cacheEnvironment } from './cache/client-settings.ts';
import { type CacheUnitFactory, type JobCache, jobCache, noCache, withCache } from './cache/job-cache.ts';
import { BadConfig, type RunnerConfig } from './config.ts';
import { runnerDirectories } from './directories.ts';
import { type Health, instanceHealth } from './health.ts';
import { isClean, jobUnits, warmingUnits } from './isolation/instance-units.ts';
import type { KernelPort } from './isolation/job-places.ts';
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
  cache: JobCache;
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

/** What differs between programs: the agents they have, the service manager that runs them, and the kernel that jobs share. */
export type AgentAdapters = {
  agents: AgentFactories;
  units: AgentUnitsFactory;
  cacheUnit: CacheUnitFactory;
  kernel: KernelPort;
};

/** The runner of this instance, with the clients and adapters of AWS. */
export async function createRunner(
  config: RunnerConfig,
  adapters: AgentAdapters,
  log: (line: string) => void,
): Promise<Runner> {
  const metadata = instanceMetadata(config.metadataEndpoint);
  const instanceId = await metadata.instanceId();
  const directories = runnerDirectories(config);
  const client = clientSettings('daemon', config.region);
  const s3 = new S3Client(client);
  const sqs = new SQSClient(client);
  const states = stateFile(directories.state, log);
  const { owner } = directories;
  const agentUnits = adapters.units({ stateDirectory: directories.state, log });
  const cache = createCache(config, adapters, log);
  return {
    config,
    instanceId,
    metadata,
    states,
    health: instanceHealth(directories.state, [directories.state, directories.images], log),
    reporter: sqsReporter(sqs, config, instanceId, log),
    agent: createAgent(config, adapters, { instanceId, s3, states, sqs, units: agentUnits, cache, log }),
    cache,
    restore: async (signal) => {
      // New directories of the set belong to this user.
      if (directories.paths.length > 0 && owner !== undefined) await agentUnits.ensureUser(owner);
      const restored = await restoreSnapshot({
        s3,
        bucket: config.bucket,
        set: config.warmingSet,
        directories,
        perJob: isClean(config),
        ...(config.warming && { rebuild: config.warming.rebuild }),
        lazy: { region: config.region },
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

/** A warming run uses no cache: what it saves must be its own work. */
function createCache(
  config: RunnerConfig,
  { cacheUnit }: AgentAdapters,
  log: (line: string) => void,
): JobCache {
  const { cache, warming, directories } = config;
  if (!cache || warming !== false) return noCache;
  const unit = cacheUnit({ stateDirectory: directories.state, log });
  return jobCache({ ...config, cache }, isClean(config), unit, log);
}

function createAgent(
  config: RunnerConfig,
  { agents, kernel }: AgentAdapters,
  options: {
    units: AgentUnits;
    instanceId: string;
    s3: S3Client;
    states: StateFile;
    sqs: SQSClient;
    cache: JobCache;
    log: (line: string) => void;
  },
): AgentDriver {
  const { instanceId, s3, states, sqs, units, cache, log } = options;
  if (config.warming && config.warmingSet !== undefined) {
    const { warming, warmingSet: set } = config;
    const unitsOfRun = () => warmingUnits(config, units, kernel, log);
    return warmingDriver({
      config,
      warming,
      set,
      s3,
      toolVersion: version,
      instanceId,
      states,
      units: unitsOfRun,
      log,
    });
  }
  const { agent, registrationUrl: url, region, directories, jobSocket } = config;
  const create = agents[agent.driver];
  if (!create) throw new BadConfig(`agent.driver: this program has no driver ${agent.driver}`);
  const stateDirectory = directories.state;
  return create(agent, {
    instanceId,
    stateDirectory,
    jobSocket,
    units: withCache(jobUnits(config, units, kernel, log), cache, isClean(config)),
    ...(config.cache && { env: cacheEnvironment(config.cache.port) }),
    oneJob: isClean(config),
    // Each client of the SDK has the credentials of the instance role.
    registration:
      url === undefined
        ? undefined
        : registrationClient({ url, region, credentials: sqs.config.credentials }),
    now: Date.now,
    log,
  });
}
