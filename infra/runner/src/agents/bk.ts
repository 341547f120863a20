import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import * as v from 'valibot';
import { errorText } from '../../../../shared/runtime/errors.ts';
import { issuesText } from '../../../../shared/runtime/validate.ts';
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
import { registerProxy } from './register-proxy.ts';
import type { AgentSettings } from './settings.ts';
import { userDirectory } from './user-directory.ts';

export const BK_EXECUTABLE = 'buildkite-agent';

/** Longest time from the start of the process to its registration, in milliseconds. */
const REGISTER_MS = 45_000;

/** Longest time of one read of the agent's own status, in milliseconds. The port is local. */
const STATUS_MS = 2_000;

/** Longest status that is read, in bytes. After the end of the agent's own server a job can listen on the port. */
const STATUS_BYTES = 65_536;

/** Before a Spot interruption: a job that is cancelled now is reported, and can be retried at once; in milliseconds. */
const SPOT_END_MS = 20_000;

/** `/status.json` of the agent (buildkite-agent v3.138, `--health-check-addr`). */
const statusText = v.pipe(
  v.string(),
  v.parseJson({}, 'must be JSON'),
  v.object({
    workers: v.array(v.object({ status: v.string(), current_job_id: v.optional(v.string(), '') })),
  }),
);

/**
 * The agent of Buildkite. It registers at a proxy of aw-runner, so the agent token never reaches the instance: what it sends
 * instead is valid for this one start.
 *
 * @param options.oneJob the agent ends after its job; otherwise one agent runs job after job
 */
export function bkAgent(options: {
  settings: AgentSettings;
  units: PlacedUnits;
  logs: AgentLogs;
  env: Readonly<Record<string, string>>;
  oneJob: boolean;
  log(line: string): void;
}): AgentKind {
  const { settings, units, logs, env, oneJob, log } = options;
  const queue = settings.queue ?? 'default';
  const home = join(settings.workDirectory, 'bk');

  return {
    provider: 'bk',

    async prepare() {
      await mkdir(home, { recursive: true, mode: 0o755 });
      for (const name of ['builds', 'plugins']) {
        await userDirectory(units, join(home, name), settings.user);
      }
      await logs.tidy();
    },

    async start({ unit, program, register, launch, hasEnded }: Attempt) {
      await logs.tidy();
      const token = randomBytes(24).toString('hex');
      let isDone = false;
      const proxy = await registerProxy({
        token,
        queue,
        async register(agent) {
          try {
            const registration = await register(agent);
            if (registration.provider !== 'bk')
              return { refused: `a registration of ${registration.provider}` };
            return { answer: registration.answer };
          } catch (error) {
            return { refused: errorText(error) };
          } finally {
            isDone = true;
          }
        },
      });
      try {
        const port = await freePort();
        await launch({
          argv: [
            program.executable,
            'start',
            ...['--endpoint', proxy.endpoint],
            ...['--tags', `queue=${queue}`],
            ...['--build-path', join(home, 'builds')],
            ...['--plugins-path', join(home, 'plugins')],
            ...['--health-check-addr', `127.0.0.1:${port}`],
            ...cloneFlags(settings.gitCloneDepth),
            ...(oneJob ? ['--disconnect-after-job'] : []),
            '--no-color',
          ],
          user: settings.user,
          directory: home,
          env,
          secrets: { BUILDKITE_AGENT_TOKEN: token },
          logFile: logs.file(unit),
          port,
        });
        const end = performance.now() + REGISTER_MS;
        while (!isDone && performance.now() < end && !(await hasEnded())) await sleep(100);
        if (!isDone) log(`agent ${unit} did not register`);
      } finally {
        proxy.close();
      }
    },

    async relaunch() {
      throw new Error('an agent of Buildkite is not started again with one registration');
    },

    async observe({ name, port, children }: RunningAgent): Promise<AgentActivity> {
      const job = children.find(({ argv }) => argv.includes('bootstrap'));
      if (job)
        return { state: 'busy', job: (await jobAt(port).catch(() => undefined)) ?? 'unknown', process: job };
      // aw-runner was killed during its registration. The proxy is gone, so it never registers.
      if (name === undefined) return { state: 'idle', endBy: 'SIGTERM' };
      const id = await jobAt(port);
      return id === undefined ? { state: 'idle' } : { state: 'busy', job: id };
    },

    async ended({ unit, code, sawJob }: EndedAgent): Promise<AgentEnd> {
      const ranJob = sawJob || /\bStarting job\b/.test(await logs.tail(unit));
      // Exit code 1 also follows from a refused session.
      return { ranJob, isUsedUp: code === 0, isFault: code === 1 };
    },

    async stop(_agent: RunningAgent, { leftMs, signalOnce }: StopControl) {
      // The first one ends the intake and lets a job run on; a second one would cancel the job.
      await signalOnce('SIGTERM');
      if (leftMs < SPOT_END_MS) await signalOnce('SIGQUIT');
    },

    async cleanUp() {},
  };
}

/** The flag has the agent's default `-v` too, because it replaces the default (`buildkite-agent start --help`, v3.138). */
function cloneFlags(depth: number | undefined): string[] {
  return depth === undefined ? [] : ['--git-clone-flags', `-v --depth=${depth}`];
}

/** The job of the agent's worker, or undefined if it has none. @throws if the agent gives no answer */
async function jobAt(port: number | undefined): Promise<string | undefined> {
  if (port === undefined) return undefined;
  const response = await fetch(`http://127.0.0.1:${port}/status.json`, {
    signal: AbortSignal.timeout(STATUS_MS),
    redirect: 'error',
  });
  const status = v.safeParse(statusText, await boundedText(response, STATUS_BYTES));
  // A job can take the port. The messages of parsers quote what they were given.
  if (!status.success) throw new Error(`the status of the agent is unknown: ${issuesText(status.issues)}`);
  const busy = status.output.workers.find(({ status }) => status === 'busy');
  return busy && (busy.current_job_id || 'unknown');
}

/** @throws Error if the body is longer than `limit` bytes; the rest is not received */
async function boundedText(response: Response, limit: number): Promise<string> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of response.body ?? []) {
    bytes += piece.length;
    // The end of the loop cancels the body.
    if (bytes > limit) throw new Error(`the status of the agent is longer than ${limit} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString();
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
