import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { autoScalingGroupName, groupId } from '../../../shared/fleet/names.ts';
import type { LaunchedInstance } from '../autoscaling/service.ts';
import { cleanRun } from '../cleanup/clean.ts';
import { RUN_VARIABLE } from '../cleanup/system.ts';
import type { Deployment, GroupSettings } from '../deploy/settings.ts';
import { lowPort } from '../free-port.ts';
import type { AccessKey, Callers } from '../gateway/callers.ts';
import { createFeed, type Feed } from '../gateway/feed.ts';
import { killAgents } from './agent-units.ts';
import { mountRunnersDisk } from './disk.ts';
import { type InstanceProcess, startProcess } from './instance-process.ts';
import { instanceDirectories, runnerConfig } from './runner-config.ts';

/** One line that a runner printed. */
export type RunnerLine = { at: Date; instanceId: string; group: string; text: string };

/** The instances of the local cloud: real `aw-runner` processes, one folder each. */
export type Runners = {
  lines: Feed<RunnerLine>;
  launch(instance: LaunchedInstance): Promise<void>;
  /** Ends every process of the instance and removes its disks. */
  terminate(instance: LaunchedInstance): Promise<void>;
  /** Kills aw-runner alone. The instance restarts it after a second. @throws if it does not run */
  crash(instanceId: string): void;
  /** Kills the agent alone, without its job. @returns whether one ran */
  killAgent(instanceId: string): Promise<boolean>;
  /** The folder of the disks of an instance, also after its termination. */
  folderOf(instanceId: string): string;
  stop(): Promise<void>;
};

export type RunnersOptions = {
  root: string;
  /** Of the run. */
  folder: string;
  deployment: Deployment;
  callers: Callers;
  gatewayUrl: string;
  reportsUrl: string;
  registrationUrl: string;
  metadataEndpointOf(instanceId: string): string;
  onError(error: unknown): void;
};

/** As systemd does on a real instance (`Restart=`, `RestartSec=`), in milliseconds. */
const RESTART_MS = 1_000;

export function createRunners(options: RunnersOptions): Runners {
  const lines = createFeed<RunnerLine>();
  const instances = new Map<string, { process: InstanceProcess | undefined; gone: boolean }>();
  const folderOf = (instanceId: string) => join(options.folder, 'runners', instanceId);

  let disk: Promise<boolean> | undefined;

  async function launch(instance: LaunchedInstance): Promise<void> {
    const entry = { process: undefined, gone: false };
    instances.set(instance.id, entry);
    disk ??= mountRunnersDisk(options.folder);
    const hasTrees = await disk;
    const group = groupOf(instance, options.deployment);
    const folder = folderOf(instance.id);
    const config = await prepare(instance, group, folder, { ...options, hasTrees });
    // Terminated while its disks were made.
    if (entry.gone) return cleanRun(folder);
    keepRunning(instance, config, groupId(group), entry).catch(options.onError);
  }

  /** Runs aw-runner as systemd does: restarts it after a failure, until the instance is terminated. */
  async function keepRunning(
    instance: LaunchedInstance,
    config: string,
    group: string,
    entry: { process: InstanceProcess | undefined; gone: boolean },
  ): Promise<void> {
    const key = options.callers.issue({ name: instance.id, role: instance.group, session: instance.id });
    for (;;) {
      if (entry.gone) return;
      entry.process = startProcess(
        nodeProgram(options.root),
        [join(options.root, 'dist/local/aw-runner.mjs'), 'run', '--config', config],
        {
          cwd: folderOf(instance.id),
          env: environment(options, instance, key),
          logFile: join(options.folder, 'logs', `${instance.id}.log`),
          onLine: (text) => lines.add({ at: new Date(), instanceId: instance.id, group, text }),
        },
      );
      const code = await entry.process.ended;
      if (entry.gone || code === 0) return;
      await sleep(RESTART_MS);
    }
  }

  async function terminate(instance: LaunchedInstance): Promise<void> {
    const entry = instances.get(instance.id);
    if (!entry || entry.gone) return;
    entry.gone = true;
    await entry.process?.kill();
    // Its agent may be in a group of its own.
    await cleanRun(folderOf(instance.id));
  }

  return {
    lines,
    launch,
    terminate,
    crash(instanceId) {
      const running = instances.get(instanceId)?.process;
      if (!running) throw new Error(`${instanceId} runs no aw-runner`);
      running.crash();
    },
    killAgent: async (instanceId) => (await killAgents(instanceDirectories(folderOf(instanceId)).state)) > 0,
    folderOf,
    async stop() {
      const running = [...instances.values()].filter((entry) => !entry.gone);
      for (const entry of running) entry.gone = true;
      await Promise.all(running.map((entry) => entry.process?.kill()));
    },
  };
}

function groupOf(instance: LaunchedInstance, deployment: Deployment): GroupSettings {
  const found = deployment.groups.find(
    (group) => autoScalingGroupName(deployment.prefix, group) === instance.group,
  );
  if (!found)
    throw new Error(`${instance.id} belongs to ${instance.group}, which is no group of the deployment`);
  return found;
}

/** Makes the instance's disks and its configuration. @returns the configuration's path */
async function prepare(
  instance: LaunchedInstance,
  group: GroupSettings,
  folder: string,
  options: RunnersOptions & { hasTrees: boolean },
): Promise<string> {
  const directories = instanceDirectories(folder);
  for (const path of Object.values(directories)) await mkdir(path, { recursive: true });
  await mkdir(join(options.folder, 'logs'), { recursive: true });
  const config = join(folder, 'config.json');
  const settings = runnerConfig(group, options.deployment, {
    reportsUrl: options.reportsUrl,
    registrationUrl: options.registrationUrl,
    metadataEndpoint: options.metadataEndpointOf(instance.id),
    runFolder: options.folder,
    folder,
    hasTrees: options.hasTrees,
    cachePort: await lowPort(),
  });
  await writeFile(config, JSON.stringify(settings, undefined, 2));
  return config;
}

function nodeProgram(root: string): string {
  return join(root, 'node_modules/.bin/node');
}

/** The environment of a new instance. It has nothing of the caller's environment. */
function environment(
  options: RunnersOptions,
  instance: LaunchedInstance,
  key: AccessKey,
): Record<string, string> {
  const bin = join(options.root, 'node_modules/.bin');
  return {
    PATH: `${bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
    HOME: join(options.folder, 'runners', instance.id),
    TMPDIR: join(options.folder, 'tmp'),
    LANG: 'C.UTF-8',
    AWS_REGION: options.deployment.home.region,
    AWS_ENDPOINT_URL: options.gatewayUrl,
    AWS_ACCESS_KEY_ID: key.accessKeyId,
    AWS_SECRET_ACCESS_KEY: key.secretAccessKey,
    // Jobs of a real instance find their caches at fixed paths.
    AW_WARM_DIR: instanceDirectories(join(options.folder, 'runners', instance.id)).warm,
    // Without a user of their own agents run as the user of the local cloud.
    ...(process.getuid?.() === 0 && { RUNNER_ALLOW_RUNASROOT: '1' }),
    [RUN_VARIABLE]: `${options.folder}/runners/${instance.id}/`,
  };
}
