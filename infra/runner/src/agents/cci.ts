import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type {
  AgentActivity,
  AgentEnd,
  AgentKind,
  Attempt,
  EndedAgent,
  RunningAgent,
  StopControl,
} from './agent-kind.ts';
import type { AgentLogs } from './agent-log.ts';
import type { PlacedUnits } from './placed-units.ts';
import type { AgentSettings } from './settings.ts';
import { userDirectory } from './user-directory.ts';

export const CCI_EXECUTABLE = 'circleci-runner';

/**
 * The agent of CircleCI (machine runner 3). It runs as root, since its file with the resource class token is for root only; it runs
 * each task as the user of jobs. One class per trust level: a job with root can read the token.
 *
 * @param options.oneJob the agent ends after its task (`single-task`); otherwise one agent runs task after task (`continuous`)
 */
export function cciAgent(options: {
  settings: AgentSettings;
  /** Empty after a boot of the instance. The file for an agent in it is for root only. */
  runtimeDirectory: string;
  units: PlacedUnits;
  logs: AgentLogs;
  env: Readonly<Record<string, string>>;
  oneJob: boolean;
}): AgentKind {
  const { settings, runtimeDirectory, units, logs, env, oneJob } = options;
  const { user } = settings;
  const home = join(settings.workDirectory, 'cci');
  const work = join(home, 'work');
  const file = (unit: string) => join(runtimeDirectory, `${unit}.yaml`);

  return {
    provider: 'cci',

    async prepare() {
      await mkdir(home, { recursive: true, mode: 0o755 });
      await userDirectory(units, work, user);
      await logs.tidy();
    },

    async start({ unit, program, register, launch }: Attempt) {
      const registration = await register();
      if (registration.provider !== 'cci')
        throw new Error(`a registration of ${registration.provider} is not for cci`);
      await logs.tidy();
      // JSON is YAML.
      const config = {
        api: { auth_token: registration.authToken, ...(settings.apiUrl && { url: settings.apiUrl }) },
        runner: {
          name: registration.name,
          working_directory: join(work, 'task'),
          cleanup_working_directory: oneJob,
          cache_task_agent: true,
          command_prefix: units.asUser(user),
          mode: oneJob ? 'single-task' : 'continuous',
        },
      };
      await mkdir(runtimeDirectory, { recursive: true, mode: 0o711 });
      await writeFile(file(unit), JSON.stringify(config), { mode: 0o600 });
      await launch({
        argv: [program.executable, 'machine', '--config', file(unit)],
        user: 'root',
        directory: home,
        env,
        secrets: {},
        logFile: logs.file(unit),
      });
    },

    async relaunch() {
      throw new Error('an agent of CircleCI is not started again with one registration');
    },

    /** No local status is documented: a task runs in a child process. */
    async observe({ main, children }: RunningAgent): Promise<AgentActivity> {
      if (!main) return { state: 'starting' };
      const [task] = children;
      return task ? { state: 'busy', job: 'task', process: task } : { state: 'idle' };
    },

    async ended({ sawJob }: EndedAgent): Promise<AgentEnd> {
      return { ranJob: sawJob, isUsedUp: true };
    },

    async stop(_agent: RunningAgent, { signalOnce }: StopControl) {
      // The first one ends the intake and lets a task run on; a second one would end the task.
      await signalOnce('SIGTERM');
    },

    async cleanUp(unit) {
      await rm(file(unit), { force: true });
    },
  };
}
