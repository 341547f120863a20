import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { AgentDriver } from '../../infra/runner/src/agents/driver.ts';
import { sharedUnits } from '../../infra/runner/src/agents/placed-units.ts';
import { PROVIDER_AGENTS } from '../../infra/runner/src/agents/providers.ts';
import type { RegistrationClient } from '../../infra/runner/src/agents/registration-client.ts';
import { installFakeAgent } from '../../scripts/local/ci/agents/install.ts';
import { type Buildkite, startBuildkite } from '../../scripts/local/ci/buildkite/server.ts';
import { type Circleci, startCircleci } from '../../scripts/local/ci/circleci/server.ts';
import { type Github, startGithub } from '../../scripts/local/ci/github/server.ts';
import type { RegistrationAnswer } from '../../shared/fleet/registration.ts';
import { processUnits } from '../support/process-units.ts';

/** The chain with the programs of agents, as processes of this system, and stand-ins of the CI providers. */

const INSTANCE = 'i-0123456789abcdef0';

/** Limit of a wait, in milliseconds: it only ends what hangs. */
const LIMIT_MS = 300_000;

let folder: string;
let lines: string[];
let units: ReturnType<typeof processUnits>;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hearth-agents-'));
  lines = [];
  units = processUnits(join(folder, 'state'));
});
afterEach(async () => {
  await units.killAll();
  rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
});

/** A command that waits until the test opens its gate: jobs must not end while the test is slow. */
const waiting = () => `until [ -e '${join(folder, 'gate')}' ]; do sleep 0.1; done`;
const openGate = () => writeFileSync(join(folder, 'gate'), '');

function driver(
  provider: 'gha' | 'bk' | 'cci',
  registration: RegistrationClient,
  settings: object = {},
): AgentDriver {
  const create = PROVIDER_AGENTS[provider];
  if (!create) throw new Error(provider);
  return create(
    {
      driver: provider,
      directory: join(folder, 'agents', provider),
      workDirectory: join(folder, 'work'),
      ...settings,
    },
    {
      instanceId: INSTANCE,
      stateDirectory: join(folder, 'state'),
      jobSocket: join(folder, 'job.sock'),
      oneJob: false,
      units: sharedUnits(units.port),
      registration,
      now: Date.now,
      log: (line) => lines.push(line),
    },
  );
}

const ready = async (agent: AgentDriver) => {
  await agent.prepare(AbortSignal.timeout(LIMIT_MS));
  return agent;
};

/** What `watch` does, until `condition` holds. */
async function until(
  what: string,
  agent: AgentDriver,
  condition: () => boolean | Promise<boolean>,
  isDraining = false,
) {
  for (const end = performance.now() + LIMIT_MS; !(await condition()); await sleep(100)) {
    if (performance.now() > end) throw new Error(`no ${what}: ${lines.join('\n')}`);
    if (isDraining) await agent.stopIntake().catch(() => undefined);
    if ((await stateOf(agent)) === 'gone' && !isDraining) await agent.start();
  }
}

/** An agent that just ends has no answer: it counts as busy. */
const stateOf = (agent: AgentDriver) =>
  agent.status().then(
    ({ state }) => state,
    () => 'busy',
  );

const is = (agent: AgentDriver, state: string) => async () => (await stateOf(agent)) === state;

let n = 0;
const name = () => `${INSTANCE}-${++n}`;
const answer = (registration: object) => ({ outcome: 'registered', registration }) as RegistrationAnswer;
const released = (result: string) => ({ outcome: 'released', result }) as RegistrationAnswer;

describe('gha', () => {
  let github: Github;
  beforeEach(async () => {
    github = await startGithub({ tokens: ['t'], behaviour: { assignmentLagSeconds: 0, pollSeconds: 5 } });
    process.env.RUNNER_ALLOW_RUNASROOT = '1';
  });
  afterEach(() => github.close());

  const call = (method: string, path: string, body?: object) =>
    fetch(new URL(`/repos/acme/monorepo/actions/runners${path}`, github.url), {
      method,
      headers: { authorization: 'Bearer t' },
      ...(body && { body: JSON.stringify(body) }),
    });
  const registration: RegistrationClient = {
    async call(request) {
      if (request.action === 'release') {
        const found = github.registrations().find((each) => each.name === request.name);
        return released(!found || (await call('DELETE', `/${found.id}`)).ok ? 'removed' : 'busy');
      }
      const own = name();
      const response = await call('POST', '/generate-jitconfig', {
        name: own,
        runner_group_id: 1,
        labels: ['x'],
      });
      const { encoded_jit_config: jitConfig } = (await response.json()) as { encoded_jit_config: string };
      return answer({ provider: 'gha', name: own, jitConfig });
    },
  };
  const agent = () => {
    installFakeAgent('gha', join(folder, 'agents/gha'));
    return ready(driver('gha', registration));
  };

  test('runs three jobs, each in a fresh copy of the program and in one work folder', async () => {
    const jobs = [1, 2, 3].map((count) =>
      github.queueJob({
        command: `pwd; ls ..; echo "${count}" >>kept; cat kept; sleep 1`,
        labels: ['x'],
        name: `build ${count}`,
      }),
    );
    const one = await agent();
    await until('end of all jobs', one, () => jobs.every(({ state }) => state === 'finished'));
    expect(jobs).toMatchObject(Array(3).fill({ result: 'succeeded', starts: 1 }));
    expect(jobs[2]?.log).toContain('1\n2\n3\n');
    expect(jobs[2]?.log).toContain(`${folder}/work/gha/work/monorepo/monorepo`);
    await until('registration', one, () => github.registrations().length === 1);
    // The copy is links to files that the user of jobs cannot change.
    const inode = (path: string) => statSync(join(folder, path)).ino;
    expect(inode('work/gha/runner/bin/Runner.Listener')).toBe(inode('agents/gha/bin/Runner.Listener'));
    await until('drain', one, is(one, 'gone'), true);
    expect(github.registrations()).toEqual([]);
    expect(lines.join('\n')).toMatch(/ended with 0 after its job/);
  });

  test('a drain during a job waits for it; a restart of aw-runner in between changes nothing', async () => {
    const job = github.queueJob({
      command: `echo begun; ${waiting()}; echo over`,
      labels: ['x'],
      name: 'build',
    });
    const one = await agent();
    await until('begin', one, () => job.log.includes('begun'));
    expect(await one.status()).toEqual({ state: 'busy', job: 'build' });
    const next = driver('gha', registration);
    expect(await next.status()).toEqual({ state: 'busy', job: 'build' });
    await next.stopIntake();
    expect(await next.status()).toEqual({ state: 'busy', job: 'build' });
    const openedAt = Date.now();
    openGate();
    await until('drain', next, is(next, 'gone'), true);
    expect(job).toMatchObject({ result: 'succeeded', starts: 1 });
    expect(next.facts().lastJobEnd).toBeGreaterThanOrEqual(openedAt);
    expect(github.registrations()).toEqual([]);
  });

  test('an update is kept for its registration, and then for all later agents', async () => {
    github.behave({ updates: true, latestVersion: '2.400.0' });
    const job = github.queueJob({ command: 'echo hi', labels: ['x'], name: 'build' });
    const one = await agent();
    await until('job', one, () => job.state === 'finished');
    expect(job.log).toContain("Current runner version: '2.400.0'");
    const second = github.queueJob({ command: 'echo hi', labels: ['x'], name: 'build' });
    await until('second job', one, () => second.state === 'finished');
    expect(second.log).toContain("Current runner version: '2.400.0'");
    const kept = join(folder, 'agents/gha-2.400.0');
    expect(readFileSync(join(kept, 'bin/gha.version'), 'utf8')).toBe('2.400.0\n');
    for (const secret of ['.runner', '.credentials', '_diag'])
      expect(existsSync(join(kept, secret))).toBe(false);
    expect(lines.filter((line) => line.includes('ended with 4'))).toHaveLength(1);
  });

  test('a version that GitHub refuses is a problem of the instance', async () => {
    github.behave({ minimumVersion: '2.999.0' });
    const one = await agent();
    await until('problem', one, () => one.facts().problem !== undefined);
    expect(one.facts().problem).toMatch(/^agent too old/);
  });

  test('the configuration is in no argument and no file of the state', async () => {
    const one = await agent();
    await until('idle', one, is(one, 'idle'));
    const text = execFileSync('sh', ['-c', `cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'`], {
      encoding: 'utf8',
      maxBuffer: 1e8,
    });
    const [file = ''] = [readFileSync(join(folder, 'work/gha/runner/.credentials'), 'utf8')];
    expect(file.length).toBeGreaterThan(5);
    expect(text).not.toContain('JITCONFIG');
    const found = execFileSync(
      'sh',
      ['-c', `grep -rl -- ${JSON.stringify(file.slice(5, 60))} ${folder}/state || true`],
      { encoding: 'utf8' },
    );
    expect(found).toBe('');
  });
});

describe('the program', () => {
  let server: Server;
  let url: string;
  let archive: Buffer;
  beforeEach(async () => {
    server = createServer((_, response) => response.end(archive));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/agent.tar.gz`;
    mkdirSync(join(folder, 'packed'));
    installFakeAgent('gha', join(folder, 'packed'));
    execFileSync('tar', ['-czf', join(folder, 'a.tar.gz'), '-C', join(folder, 'packed'), '.']);
    archive = readFileSync(join(folder, 'a.tar.gz'));
  });
  afterEach(() => server.close());

  const nothing: RegistrationClient = {
    call: async () => ({ outcome: 'failed', reason: 'none', isLost: false }),
  };
  const pinned = (sha256: string) => driver('gha', nothing, { program: { version: '2.336.0', url, sha256 } });

  test('is fetched once, and only with the right checksum', async () => {
    const sha256 = createHash('sha256').update(archive).digest('hex');
    await pinned(sha256).prepare(AbortSignal.timeout(LIMIT_MS));
    const file = join(folder, 'agents/gha-2.336.0/bin/Runner.Listener');
    expect(statSync(file).mode & 0o111).toBe(0o111);
    server.close();
    await pinned(sha256).prepare(AbortSignal.timeout(LIMIT_MS));
  });

  test('with another checksum never runs', async () => {
    const ended = new AbortController();
    const prepared = expect(pinned('0'.repeat(64)).prepare(ended.signal)).rejects.toThrow();
    await vi.waitFor(() => expect(lines.join('\n')).toContain('the configuration names 000'), {
      timeout: LIMIT_MS,
    });
    ended.abort();
    await prepared;
    expect(existsSync(join(folder, 'agents/gha-2.336.0'))).toBe(false);
  });

  test('that is nowhere is named', async () => {
    await expect(driver('gha', nothing).prepare(AbortSignal.timeout(LIMIT_MS))).rejects.toThrow(
      `${folder}/agents/gha/bin/Runner.Listener is not there`,
    );
  });
});

/** The real agent of Buildkite, where there is one; else the one that behaves as it. */
const REAL_BUILDKITE = process.env.HEARTH_BUILDKITE_AGENT ?? onPath('buildkite-agent');
if (REAL_BUILDKITE === undefined)
  console.warn('no buildkite-agent on the PATH, and HEARTH_BUILDKITE_AGENT names none');

function onPath(program: string): string | undefined {
  try {
    return execFileSync('sh', ['-c', `command -v ${program}`], { encoding: 'utf8' }).trim();
  } catch {
    return undefined;
  }
}

describe.each([
  ['real', REAL_BUILDKITE],
  ['fake', 'fake'],
])('bk, %s agent', (_, program) => {
  let buildkite: Buildkite;
  beforeEach(async () => {
    buildkite = await startBuildkite({ agentTokens: ['the-agent-token'], queues: ['q'] });
  });
  afterEach(() => buildkite.close());

  const registration: RegistrationClient = {
    async call(request) {
      if (request.action === 'release') return released('unsupported');
      const own = name();
      const response = await fetch(`${buildkite.url}/v3/register`, {
        method: 'POST',
        headers: { authorization: 'Token the-agent-token', 'content-type': 'application/json' },
        body: JSON.stringify({ ...request.agent, name: own }),
      });
      const body = (await response.json()) as object;
      return answer({ provider: 'bk', name: own, answer: { ...body, endpoint: `${buildkite.url}/v3` } });
    },
  };
  const agent = async () => {
    const directory = join(folder, 'agents/bk');
    mkdirSync(directory, { recursive: true });
    if (program === 'fake') installFakeAgent('bk', directory);
    else execFileSync('ln', ['-s', program ?? '', join(directory, 'buildkite-agent')]);
    return ready(driver('bk', registration, { queue: 'q' }));
  };

  test.skipIf(program === undefined)(
    'registers through the proxy, runs two jobs and drains during a third',
    async () => {
      process.env.BUILDKITE_SKIP_CHECKOUT = 'true';
      const jobs = ['echo first', 'echo second; exit 3', `echo begun; ${waiting()}; echo over`].map(
        (command) => buildkite.queueJob({ command }),
      );
      const one = await agent();
      await until('the third job', one, () => jobs[2]?.log.includes('begun') === true);
      expect(await one.status()).toEqual({ state: 'busy', job: jobs[2]?.id });
      const late = buildkite.queueJob({ command: 'echo never' });
      // Another aw-runner goes on with the drain, and its SIGTERM must be the only one.
      await one.stopIntake();
      const next = driver('bk', registration, { queue: 'q' });
      await until('the stop', next, () => buildkite.requests().some(({ path }) => path === '/v3/stop'), true);
      openGate();
      await until('drain', next, is(next, 'gone'), true);
      expect(jobs).toMatchObject([
        { result: 'succeeded', starts: 1 },
        { exitStatus: 3, starts: 1 },
        { result: 'succeeded', exitStatus: 0, starts: 1 },
      ]);
      expect(jobs[2]?.log).toContain('over');
      expect(late).toMatchObject({ state: 'queued', starts: 0 });
      expect(buildkite.registrations()).toMatchObject([{ state: 'disconnected' }]);
      const calls = buildkite.requests().map(({ path }) => path);
      expect(calls.filter((path) => path === '/v3/register')).toHaveLength(1);
      const text = execFileSync('sh', ['-c', `grep -rl the-agent-token ${folder} || true`], {
        encoding: 'utf8',
      });
      expect(text).toBe('');
    },
  );

  test.skipIf(program === undefined)(
    'before the end of a Spot instance its job is reported, and can be retried',
    async () => {
      process.env.BUILDKITE_SKIP_CHECKOUT = 'true';
      const job = buildkite.queueJob({ command: 'echo begun; sleep 60' });
      const one = await agent();
      await until('begin', one, () => job.log.includes('begun'));
      await one.stopIntake(Date.now() + 110_000);
      expect(await one.status()).toMatchObject({ state: 'busy' });
      const endsAt = Date.now() + 19_000;
      await one.stopIntake(endsAt);
      await until('end', one, is(one, 'gone'), true);
      expect(job).toMatchObject({ exitStatus: -1, signalReason: 'agent_stop' });
    },
  );
});

describe('cci', () => {
  let circleci: Circleci;
  beforeEach(async () => {
    circleci = await startCircleci({ resourceClasses: { 'acme/x': ['class-token'] } });
  });
  afterEach(() => circleci.close());

  const registration: RegistrationClient = {
    async call(request) {
      if (request.action === 'release') return released('unsupported');
      return answer({ provider: 'cci', name: name(), resourceClass: 'acme/x', authToken: 'class-token' });
    },
  };

  test('runs tasks one after the other, and drains during one; its token is for root only', async () => {
    installFakeAgent('cci', join(folder, 'agents/cci'));
    const one = await ready(driver('cci', registration, { apiUrl: circleci.url }));
    const jobs = ['echo first; sleep 1', `echo begun; ${waiting()}; echo over`].map((command) =>
      circleci.queueJob({ command, resourceClass: 'acme/x' }),
    );
    await until('the second task', one, () => jobs[1]?.log.includes('begun') === true);
    expect(await one.status()).toMatchObject({ state: 'busy' });
    const file = join(folder, 'cci-1.yaml');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    await one.stopIntake();
    openGate();
    await until('drain', one, is(one, 'gone'), true);
    expect(jobs).toMatchObject(Array(2).fill({ result: 'succeeded', starts: 1 }));
    expect(existsSync(file)).toBe(false);
  });
});
