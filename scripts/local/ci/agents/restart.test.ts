import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { lowPort } from '../../free-port.ts';
import type { Job } from '../stand-in.ts';
import { endPrograms, type Program, startProgram, temporaryFolder } from '../testing/program.ts';
import { installFakeAgent } from './install.ts';

/** Stand-ins that are killed at random moments, as programs with a state file, while agents run jobs. */

const MAIN = resolve(import.meta.dirname, '../main.ts');
const KILLS = 12;
const JOBS = 6;

let port: number;
let url: string;
let stateFile: string;
beforeEach(async () => {
  port = await lowPort();
  url = `http://127.0.0.1:${port}`;
  stateFile = join(temporaryFolder(), 'state.json');
});
afterEach(endPrograms);

async function call<T>(
  path: string,
  body?: unknown,
  headers?: Record<string, string>,
): Promise<T | undefined> {
  try {
    const response = await fetch(`${url}${path}`, {
      ...(body !== undefined && { method: 'POST', body: JSON.stringify(body) }),
      ...(headers && { headers }),
    });
    return response.ok ? ((await response.json()) as T) : undefined;
  } catch {
    return undefined;
  }
}

async function serve(args: readonly string[], behaviour: object): Promise<Program> {
  const server = startProgram(process.execPath, [
    MAIN,
    '--port',
    String(port),
    '--state-file',
    stateFile,
    ...args,
  ]);
  while (!(await call('/_control/behave', behaviour))) {
    if (server.child.exitCode !== null) throw new Error(`the stand-in has ended: ${server.output()}`);
    await sleep(20);
  }
  return server;
}

/** Kills and restarts the stand-in while the jobs run. Returns the jobs at the end. */
async function survive(args: readonly string[], behaviour: object, job: object): Promise<readonly Job[]> {
  let server = await serve(args, behaviour);
  for (let count = 0; count < JOBS; count += 1) {
    expect(await call('/_control/jobs', { ...job, command: 'sleep 0.3; echo over' })).toBeDefined();
  }
  for (let kill = 0; kill < KILLS; kill += 1) {
    await sleep(Math.random() * 700);
    server.kill('SIGKILL');
    await server.exit;
    await sleep(Math.random() * 200);
    server = await serve(args, behaviour);
  }
  for (;;) {
    const jobs = await call<readonly Job[]>('/_control/jobs');
    if (jobs?.every(({ state }) => state === 'finished')) return jobs;
    await sleep(100);
  }
}

/** Whether an agent of GitHub gets no job any more, because its registration is used up or there are no more jobs. */
async function isUsedUp(agent: string, isOver: () => boolean): Promise<boolean> {
  const registrations =
    await call<{ name: string; ghost: boolean; jobId?: string }[]>('/_control/registrations');
  const own = registrations?.find(({ name }) => name === agent);
  return own !== undefined && (own.ghost || (isOver() && own.jobId === undefined));
}

const eachOnce = (jobs: readonly Job[]) => {
  expect(jobs).toHaveLength(JOBS);
  for (const job of jobs)
    expect(job).toMatchObject({ result: 'succeeded', starts: 1, log: expect.stringContaining('over') });
};

test('Buildkite: every job runs once', async () => {
  const folder = temporaryFolder();
  const settings = ['--endpoint', `${url}/v3`, '--token', 't', '--queue', 'q', '--build-path', folder];
  // It registers again and again until the first start of the stand-in.
  const agent = startProgram(installFakeAgent('bk', temporaryFolder()), ['start', ...settings]);
  const jobs = await survive(
    ['--provider', 'buildkite', '--queue', 'q', '--token', 't'],
    { acceptSeconds: 3 },
    { queue: 'q' },
  );
  eachOnce(jobs);
  agent.kill('SIGTERM');
  expect(await agent.exit).toBe(0);
});

test('GitHub: every job runs once, with a chain of one-job listeners', async () => {
  let isOver = false;
  const listener = installFakeAgent('gha', temporaryFolder());
  const chain = async () => {
    for (let number = 1; !isOver; number += 1) {
      const registered = await call<{ encoded_jit_config: string }>(
        '/repos/acme/monorepo/actions/runners/generate-jitconfig',
        { name: `a-${number}`, runner_group_id: 1, labels: ['x'] },
        { authorization: 'Bearer t' },
      );
      if (!registered) {
        await sleep(50);
        continue;
      }
      const program = startProgram(listener, ['run'], {
        RUNNER_ALLOW_RUNASROOT: '1',
        ACTIONS_RUNNER_INPUT_JITCONFIG: registered.encoded_jit_config,
      });
      // Its registration may be used up by an assignment whose message was lost: it then waits for ever. Only then is it ended: SIGINT
      // while it picks a job up would cancel the job.
      let hasEnded = false;
      const ended = program.exit.then(() => {
        hasEnded = true;
      });
      while (!hasEnded) {
        await Promise.race([ended, sleep(500)]);
        if (await isUsedUp(`a-${number}`, () => isOver)) program.kill('SIGINT');
      }
    }
  };
  const running = chain();
  const jobs = await survive(
    ['--provider', 'github', '--token', 't'],
    { assignmentLagSeconds: 0, pickupSeconds: 3, pollSeconds: 2 },
    { labels: ['x'] },
  );
  isOver = true;
  eachOnce(jobs);
  await running;
});
