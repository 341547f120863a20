import { execFileSync } from 'node:child_process';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Buildkite, startBuildkite } from '../buildkite/server.ts';
import { endPrograms, startProgram, temporaryFolder, until } from '../testing/program.ts';

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
  console.log('skipped: no buildkite-agent on the PATH, and HEARTH_BUILDKITE_AGENT names none');
}

describe.runIf(REAL_AGENT !== undefined)('the real buildkite-agent', () => {
  let buildkite: Buildkite;
  beforeEach(async () => {
    buildkite = await startBuildkite({ agentTokens: ['t'], queues: ['q'] });
  });
  afterEach(async () => {
    endPrograms();
    await buildkite.close();
  });

  const start = (...args: string[]) => {
    const folder = temporaryFolder();
    return startProgram(
      REAL_AGENT ?? '',
      [
        'start',
        '--endpoint',
        `${buildkite.url}/v3`,
        '--token',
        't',
        '--queue',
        'q',
        '--name',
        'a',
        '--skip-checkout',
        '--build-path',
        folder,
        '--hooks-path',
        folder,
        ...args,
      ],
      {},
      folder,
    );
  };

  test('registers, runs two jobs with their logs, and drains during a third', async () => {
    const jobs = [
      'echo "first from $BUILDKITE_AGENT_NAME"',
      'echo second; exit 3',
      'echo begun; sleep 3; echo over',
    ].map((command) => buildkite.queueJob({ command }));
    const agent = start();
    await until('the third job', () => jobs[2]?.state === 'running' && jobs[2].startedAt !== undefined);
    const waiting = buildkite.queueJob({ command: 'echo never' });
    agent.kill('SIGTERM');
    expect(await agent.exit).toBe(0);
    expect(jobs).toMatchObject([
      { result: 'succeeded', exitStatus: 0, starts: 1 },
      { result: 'failed', exitStatus: 3, starts: 1 },
      { result: 'succeeded', exitStatus: 0, starts: 1 },
    ]);
    expect(jobs[0]?.log).toContain('first from a');
    expect(jobs[2]?.log).toContain('over');
    expect(waiting).toMatchObject({ state: 'queued', starts: 0 });
    expect(buildkite.registrations()).toMatchObject([
      { name: 'a', state: 'disconnected', version: expect.stringMatching(/^3\./) },
    ]);
    const paths = buildkite.requests().map(({ path }) => path);
    expect(paths.indexOf('/v3/stop')).toBeLessThan(paths.lastIndexOf('/v3/disconnect'));
    // A stand-in that answered an unknown request with 404 would have gone unnoticed otherwise.
    const missing = buildkite.requests().filter(({ status }) => status >= 400);
    expect(new Set(missing.map(({ path }) => path))).toEqual(
      new Set(['/agentedge.v1.AgentEdgeService/StreamPings']),
    );
  });

  test('a second SIGTERM cancels the job, which ends with -1 and agent_stop', async () => {
    const job = buildkite.queueJob({ command: 'echo begun; sleep 60' });
    const agent = start();
    await until('the job', () => job.log.includes('begun'));
    agent.kill('SIGTERM');
    await until('the stop', () => buildkite.requests().some(({ path }) => path === '/v3/stop'));
    agent.kill('SIGTERM');
    expect(await agent.exit).toBe(0);
    expect(job).toMatchObject({
      result: 'failed',
      exitStatus: -1,
      signal: 'SIGTERM',
      signalReason: 'agent_stop',
    });
  });

  test('a job that is cancelled by a user ends, and the agent stays', async () => {
    const job = buildkite.queueJob({ command: 'echo begun; sleep 60' });
    const agent = start();
    await until('the job', () => job.log.includes('begun'));
    buildkite.cancelJob(job.id);
    await until('its end', () => job.state === 'finished');
    expect(job).toMatchObject({ result: 'cancelled', signalReason: 'cancel' });
    expect(agent.child.exitCode).toBeNull();
  });

  test('a wrong token ends it with 1', async () => {
    const agent = start('--token', 'wrong');
    expect(await agent.exit).toBe(1);
    expect(buildkite.registrations()).toEqual([]);
  });
});
