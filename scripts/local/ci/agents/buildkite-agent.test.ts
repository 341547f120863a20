import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { lowPort } from '../../free-port.ts';
import { type Buildkite, startBuildkite } from '../buildkite/server.ts';
import {
  childrenOf,
  endPrograms,
  type Program,
  startProgram,
  temporaryFolder,
  until,
} from '../testing/program.ts';
import { installFakeAgent } from './install.ts';

/** The real agent: named by HEARTH_BUILDKITE_AGENT, or on the PATH. */
const REAL_AGENT = process.env.HEARTH_BUILDKITE_AGENT ?? onPath('buildkite-agent');

function onPath(program: string): string | undefined {
  try {
    return execFileSync('sh', ['-c', `command -v ${program}`], { encoding: 'utf8' }).trim();
  } catch {
    return undefined;
  }
}

if (REAL_AGENT === undefined) {
  console.log(
    'the real buildkite-agent is not tested: it is not on the PATH, and HEARTH_BUILDKITE_AGENT names none',
  );
}

// One list of statements for both, so that the fake agent behaves as the real one does.
describe.each([
  { agent: 'fake', exists: true },
  { agent: 'real', exists: REAL_AGENT !== undefined },
])('the $agent buildkite-agent', ({ agent, exists }) => {
  let buildkite: Buildkite;
  let folder: string;
  beforeEach(async () => {
    buildkite = await startBuildkite({ agentTokens: ['t'], queues: ['q'] });
    folder = temporaryFolder();
  });
  afterEach(async () => {
    await endPrograms();
    await buildkite.close();
  });

  const programOf = () => (agent === 'real' ? (REAL_AGENT ?? '') : installFakeAgent('bk', temporaryFolder()));
  const settings = () => [
    ...['--queue', 'q', '--name', 'a', '--skip-checkout'],
    ...['--build-path', folder, '--hooks-path', folder],
  ];

  function start(args: readonly string[] = []): Program {
    const token = ['--endpoint', `${buildkite.url}/v3`, '--token', 't'];
    return startProgram(programOf(), ['start', ...token, ...settings(), ...args], {}, folder);
  }

  const hook = (name: string, script: string) =>
    writeFileSync(join(folder, name), `#!/bin/bash\n${script}\n`, { mode: 0o755 });
  /** A command that waits until the test opens its gate: jobs must not end while the test is slow. */
  const gate = () => join(folder, 'gate');
  const waiting = () => `until [ -e '${gate()}' ]; do sleep 0.1; done`;
  const openGate = () => writeFileSync(gate(), '');
  const paths = () => buildkite.requests().map(({ method, path }) => `${method} ${path}`);

  /** Starts the agent and a job, and waits until the command of the job runs. */
  async function working(command: string, args: readonly string[] = []) {
    const job = buildkite.queueJob({ command: `echo begun; ${command}` });
    const program = start(args);
    await until('the command', () => job.log.includes('begun'));
    return { job, program };
  }

  test.runIf(exists)('registers, runs two jobs with their logs, and drains during a third', async () => {
    const jobs = [
      'echo "first from $BUILDKITE_AGENT_NAME"; env',
      'echo second; exit 3',
      `echo begun; ${waiting()}; echo over`,
    ].map((command) => buildkite.queueJob({ command }));
    const program = start();
    await until('the third job', () => jobs[2]?.startedAt !== undefined);
    const late = buildkite.queueJob({ command: 'echo never' });
    program.kill('SIGTERM');
    await until('the stop', () => paths().includes('POST /v3/stop'));
    openGate();
    expect(await program.exit).toBe(0);
    expect(jobs).toMatchObject([
      { result: 'succeeded', exitStatus: 0, starts: 1 },
      { result: 'failed', exitStatus: 3, starts: 1 },
      { result: 'succeeded', exitStatus: 0, starts: 1 },
    ]);
    expect(jobs[0]?.log).toContain('first from a');
    expect(jobs[0]?.log).not.toContain('BUILDKITE_AGENT_TOKEN');
    expect(jobs[2]?.log).toContain('over');
    expect(late).toMatchObject({ state: 'queued', starts: 0 });
    expect(buildkite.registrations()).toMatchObject([
      { name: 'a', state: 'disconnected', version: expect.stringMatching(/^3\./) },
    ]);
    expect(paths().indexOf('POST /v3/stop')).toBeLessThan(paths().indexOf('POST /v3/disconnect'));
    // A request that the stand-in does not know would go unnoticed otherwise.
    const missing = buildkite.requests().filter(({ status }) => status >= 400);
    expect(missing.map(({ path }) => path).filter((path) => !path.endsWith('/StreamPings'))).toEqual([]);
  });

  test.runIf(exists)('SIGTERM while idle ends it at once with a stop and a disconnect', async () => {
    const program = start();
    await until('a ping', () => paths().includes('GET /v3/ping'));
    program.kill('SIGTERM');
    expect(await program.exit).toBe(0);
    expect(paths()).toContain('POST /v3/stop');
    expect(paths().at(-1)).toBe('POST /v3/disconnect');
  });

  test.runIf(exists)(
    'a job that arrives during the stop is not accepted, and free for another agent',
    async () => {
      const job = buildkite.queueJob({ command: 'true' });
      buildkite.behave({
        faults: [{ path: '/ping$', effect: { kind: 'slow-answer', milliseconds: 5_000 } }],
      });
      const program = start();
      await until('the assignment', () => job.state === 'assigned');
      program.kill('SIGTERM');
      expect(await program.exit).toBe(0);
      expect(job).toMatchObject({ state: 'queued', assignments: 1, starts: 0 });
      expect(paths().filter((path) => path.endsWith('/accept'))).toEqual([]);
    },
  );

  test.runIf(exists)('a second SIGTERM cancels the job, which ends with -1 and agent_stop', async () => {
    hook('pre-exit', 'echo "pre-exit $BUILDKITE_JOB_CANCELLED"');
    const { job, program } = await working('sleep 60');
    program.kill('SIGTERM');
    await until('the stop', () => paths().includes('POST /v3/stop'));
    program.kill('SIGTERM');
    expect(await program.exit).toBe(0);
    expect(job).toMatchObject({
      result: 'failed',
      exitStatus: -1,
      signal: 'SIGTERM',
      signalReason: 'agent_stop',
    });
    expect(job.log).toContain('pre-exit true');
  });

  test.runIf(exists)('SIGQUIT kills a job that ignores SIGTERM, and reports it', async () => {
    const { job, program } = await working(`trap '' TERM; for i in $(seq 600); do sleep 0.1; done`);
    program.kill('SIGQUIT');
    expect(await program.exit).toBe(0);
    expect(job).toMatchObject({ exitStatus: -1, signal: 'SIGKILL', signalReason: 'agent_stop' });
    expect(paths()).not.toContain('POST /v3/stop');
  });

  test.runIf(exists)('a job that is cancelled by a user ends, and the agent stays', async () => {
    const { job, program } = await working('sleep 60');
    // The process of the job can be told by its argument.
    const [child] = childrenOf(program.child.pid ?? 0);
    expect(readFileSync(`/proc/${child}/cmdline`, 'utf8').split('\0')).toContain('bootstrap');
    expect(program.output()).toMatch(/Starting job/);
    buildkite.cancelJob(job.id);
    await until('its end', () => job.state === 'finished');
    expect(job).toMatchObject({ result: 'cancelled', signalReason: 'cancel' });
    expect(program.child.exitCode).toBeNull();
  });

  test.runIf(exists)('with --disconnect-after-job it takes one job and ends with 0', async () => {
    const first = buildkite.queueJob({ command: 'exit 4' });
    const second = buildkite.queueJob({ command: 'true' });
    expect(await start(['--disconnect-after-job']).exit).toBe(0);
    expect(first).toMatchObject({ result: 'failed', exitStatus: 4 });
    expect(second).toMatchObject({ state: 'queued', starts: 0 });
    expect(buildkite.registrations()).toMatchObject([{ state: 'disconnected', ignored: true }]);
  });

  test.runIf(exists)('ends after --disconnect-after-idle-timeout', async () => {
    expect(await start(['--disconnect-after-idle-timeout', '2']).exit).toBe(0);
    expect(paths()).not.toContain('POST /v3/stop');
  });

  test.runIf(exists)('/status.json has its state', async () => {
    const port = await lowPort();
    const status = async () => {
      try {
        const response = await fetch(`http://127.0.0.1:${port}/status.json`);
        return (await response.json()) as { aggregate_status: string };
      } catch {
        return undefined;
      }
    };
    const { job } = await working('sleep 60', ['--health-check-addr', `127.0.0.1:${port}`]);
    expect(await status()).toMatchObject({
      health: 'ok',
      aggregate_status: 'busy',
      workers: [{ status: 'busy', current_job_id: job.id, spawn_index: 1 }],
    });
    buildkite.cancelJob(job.id);
    await until('its end', () => job.state === 'finished');
    await expect.poll(async () => (await status())?.aggregate_status, { timeout: 300_000 }).toBe('idle');
  });

  test.runIf(exists)(
    'registers at --endpoint, and calls the endpoint of the answer from then on',
    async () => {
      const seen: string[] = [];
      const proxy: Server = createServer(async (request, response) => {
        seen.push(request.url ?? '');
        const body: Buffer[] = [];
        for await (const piece of request) body.push(piece);
        const answer = await fetch(`${buildkite.url}/v3/register`, {
          method: 'POST',
          headers: { authorization: 'Token t', 'content-type': 'application/json' },
          body: Buffer.concat(body),
        });
        response.writeHead(answer.status).end(await answer.text());
      });
      await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
      const { port } = proxy.address() as AddressInfo;
      const job = buildkite.queueJob({ command: 'true' });
      const program = start([
        '--endpoint',
        `http://127.0.0.1:${port}`,
        '--token',
        'none',
        '--disconnect-after-job',
      ]);
      expect(await program.exit).toBe(0);
      proxy.close();
      expect(job.result).toBe('succeeded');
      expect(seen).toEqual(['/register']);
    },
  );

  test.runIf(exists)('hooks run in their order, and a failing pre-bootstrap refuses the job', async () => {
    const order = join(folder, 'order');
    for (const name of [
      'agent-startup',
      'pre-bootstrap',
      'environment',
      'pre-command',
      'pre-exit',
      'agent-shutdown',
    ]) {
      hook(name, `echo ${name} >> ${order}`);
    }
    const job = buildkite.queueJob({ command: `echo command >> ${order}` });
    await start(['--disconnect-after-job']).exit;
    expect(job.result).toBe('succeeded');
    expect(execFileSync('cat', [order], { encoding: 'utf8' }).trim().split('\n')).toEqual([
      'agent-startup',
      'pre-bootstrap',
      'environment',
      'pre-command',
      'command',
      'pre-exit',
      'agent-shutdown',
    ]);

    hook('pre-bootstrap', 'exit 1');
    const refused = buildkite.queueJob({ command: 'true' });
    await start(['--disconnect-after-job']).exit;
    expect(refused).toMatchObject({ result: 'failed', exitStatus: -1, signalReason: 'agent_refused' });
  });

  test.runIf(exists)('a token of the environment is not in that of the job', async () => {
    const job = buildkite.queueJob({ command: 'env' });
    const program = startProgram(
      programOf(),
      ['start', '--endpoint', `${buildkite.url}/v3`, '--disconnect-after-job', ...settings()],
      { BUILDKITE_AGENT_TOKEN: 't' },
      folder,
    );
    expect(await program.exit).toBe(0);
    expect(job.log).toContain('BUILDKITE_AGENT_ACCESS_TOKEN=');
    expect(job.log).not.toContain('BUILDKITE_AGENT_TOKEN=');
  });

  test.runIf(exists)('a token can come from a file', async () => {
    writeFileSync(join(folder, 'token'), 't\n');
    const job = buildkite.queueJob({ command: 'true' });
    await start(['--token', `file://${folder}/token`, '--disconnect-after-job']).exit;
    expect(job.result).toBe('succeeded');
  });

  test.runIf(exists)('a wrong token ends it with 1, and a flag that does not exist too', async () => {
    expect(await start(['--token', 'wrong']).exit).toBe(1);
    expect(buildkite.registrations()).toEqual([]);
    const program = start(['--no-such-flag']);
    expect(await program.exit).toBe(1);
    expect(program.output()).toContain('flag provided but not defined: -no-such-flag');
  });

  test.runIf(exists)('a ping that is refused for good ends it with 1', async () => {
    buildkite.behave({ faults: [{ path: '/v3/ping', effect: { kind: 'answer', status: 401 } }] });
    expect(await start().exit).toBe(1);
    expect(paths()).toContain('POST /v3/disconnect');
  });

  test.runIf(exists)('survives an outage of the service', async () => {
    const program = start();
    await until('a ping', () => paths().includes('GET /v3/ping'));
    buildkite.behave({ faults: [{ path: '/v3/', times: 5, effect: { kind: 'answer', status: 503 } }] });
    const job = buildkite.queueJob({ command: 'true' });
    await until('the job', () => job.state === 'finished');
    expect(job).toMatchObject({ result: 'succeeded', starts: 1 });
    expect(program.child.exitCode).toBeNull();
  });

  test.runIf(exists)(
    'an agent that is killed is lost after its heartbeats stop, and its job can be repeated',
    async () => {
      const job = buildkite.queueJob({ command: 'echo begun; sleep 60', retries: 1 });
      const program = start();
      await until('the command', () => job.log.includes('begun'));
      program.kill('SIGKILL');
      // Not before: heartbeats come every 3 s, and one can be late.
      buildkite.behave({ lostSeconds: 4 });
      await until('the loss', () => job.state === 'finished');
      expect(job).toMatchObject({ result: 'lost', exitStatus: -1 });
      expect(buildkite.registrations()).toMatchObject([{ state: 'lost' }]);
      expect(buildkite.jobs()).toMatchObject([{}, { state: 'queued', retryOf: job.id }]);
    },
  );
});
