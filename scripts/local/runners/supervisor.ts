import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { autoScalingGroupName, groupId } from '../../../shared/fleet/names.ts';
import type { Machine } from '../autoscaling/service.ts';
import type { Deployment, GroupSettings } from '../deploy/settings.ts';
import { type AccessKey, type Callers, roleSender } from '../gateway/callers.ts';
import { createFeed, type Feed } from '../gateway/feed.ts';
import { cleanRun } from '../janitor/clean.ts';
import { RUN_VARIABLE } from '../janitor/machine.ts';
import { type MachineProcess, startProcess } from './machine-process.ts';
import { machineDirectories, runnerConfig } from './runner-config.ts';

/** One line that a runner printed. */
export type RunnerLine = { at: Date; instanceId: string; group: string; text: string };

/** The machines of the local cloud: real `aw-runner` processes, one folder each. */
export type Runners = {
  lines: Feed<RunnerLine>;
  launch(machine: Machine): Promise<void>;
  /** Pulls the plug: whatever runs on the machine ends, and its disks are gone. */
  terminate(machine: Machine): Promise<void>;
  /** Kills aw-runner alone; the machine starts it again a second later. @throws if it does not run */
  crash(instanceId: string): void;
  /** Where a machine's disks are; also of one that is gone. */
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
  /** The simulated CI service. */
  ciUrl: string;
  metadataEndpointOf(instanceId: string): string;
  onError(error: unknown): void;
};

/** As systemd does on a real machine (`Restart=`, `RestartSec=`), in milliseconds. */
const RESTART_MS = 1_000;

export function createRunners(options: RunnersOptions): Runners {
  const lines = createFeed<RunnerLine>();
  const machines = new Map<string, { process: MachineProcess | undefined; gone: boolean }>();
  const folderOf = (instanceId: string) => join(options.folder, 'runners', instanceId);

  async function launch(machine: Machine): Promise<void> {
    const group = groupOf(machine, options.deployment);
    const folder = folderOf(machine.id);
    const config = await prepare(machine, group, folder, options);
    const entry = { process: undefined, gone: false };
    machines.set(machine.id, entry);
    keepRunning(machine, config, groupId(group), entry).catch(options.onError);
  }

  /** Runs the units of a machine as its systemd does: again after a failure, until the machine is gone. */
  async function keepRunning(
    machine: Machine,
    config: string,
    group: string,
    entry: { process: MachineProcess | undefined; gone: boolean },
  ): Promise<void> {
    const key = options.callers.issue({ name: machine.id, senderId: roleSender('runner', machine.id) });
    for (;;) {
      if (entry.gone) return;
      entry.process = startProcess(
        nodeProgram(options.root),
        [join(options.root, 'dist/aw-runner.mjs'), 'run', '--config', config],
        {
          cwd: folderOf(machine.id),
          env: environment(options, machine, key),
          logFile: join(options.folder, 'logs', `${machine.id}.log`),
          onLine: (text) => lines.add({ at: new Date(), instanceId: machine.id, group, text }),
        },
      );
      const code = await entry.process.ended;
      if (entry.gone || code === 0) return;
      await sleep(RESTART_MS);
    }
  }

  async function terminate(machine: Machine): Promise<void> {
    const entry = machines.get(machine.id);
    if (!entry || entry.gone) return;
    entry.gone = true;
    await entry.process?.kill();
    // Its agent may be in a group of its own.
    await cleanRun(folderOf(machine.id));
  }

  return {
    lines,
    launch,
    terminate,
    crash(instanceId) {
      const running = machines.get(instanceId)?.process;
      if (!running) throw new Error(`${instanceId} runs no aw-runner`);
      running.crash();
    },
    folderOf,
    async stop() {
      const running = [...machines.values()].filter((entry) => !entry.gone);
      for (const entry of running) entry.gone = true;
      await Promise.all(running.map((entry) => entry.process?.kill()));
    },
  };
}

function groupOf(machine: Machine, deployment: Deployment): GroupSettings {
  const found = deployment.groups.find(
    (group) => autoScalingGroupName(deployment.prefix, group) === machine.group,
  );
  if (!found)
    throw new Error(`${machine.id} belongs to ${machine.group}, which is no group of the deployment`);
  return found;
}

/** Makes the machine's disks and its configuration. @returns the configuration's path */
async function prepare(
  machine: Machine,
  group: GroupSettings,
  folder: string,
  options: RunnersOptions,
): Promise<string> {
  const directories = machineDirectories(folder);
  for (const path of Object.values(directories)) await mkdir(path, { recursive: true });
  await mkdir(join(options.folder, 'logs'), { recursive: true });
  const config = join(folder, 'config.json');
  const settings = runnerConfig(group, options.deployment, {
    reportsUrl: options.reportsUrl,
    metadataEndpoint: options.metadataEndpointOf(machine.id),
    directories,
    agent: {
      driver: 'simulated',
      url: options.ciUrl,
      queue: group.queue ?? groupId(group),
      command: [nodeProgram(options.root), join(options.root, 'scripts/local/ci/agent.ts')],
    },
  });
  await writeFile(config, JSON.stringify(settings, undefined, 2));
  return config;
}

function nodeProgram(root: string): string {
  return join(root, 'node_modules/.bin/node');
}

/** Nothing of the caller's environment, as on a fresh machine. */
function environment(options: RunnersOptions, machine: Machine, key: AccessKey): Record<string, string> {
  const bin = join(options.root, 'node_modules/.bin');
  return {
    PATH: `${bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
    HOME: join(options.folder, 'runners', machine.id),
    TMPDIR: join(options.folder, 'tmp'),
    LANG: 'C.UTF-8',
    AWS_REGION: options.deployment.home.region,
    AWS_ENDPOINT_URL: options.gatewayUrl,
    AWS_ACCESS_KEY_ID: key.accessKeyId,
    AWS_SECRET_ACCESS_KEY: key.secretAccessKey,
    [RUN_VARIABLE]: `${options.folder}/runners/${machine.id}/`,
  };
}
