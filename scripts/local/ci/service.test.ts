import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { agentProcess } from '../../../infra/runner/src/agents/process.ts';
import { simulatedDriver } from '../runners/simulated-driver.ts';
import { type CiService, startCiService } from './service.ts';

let ci: CiService;
beforeEach(async () => {
  ci = await startCiService();
});
afterEach(() => ci.close());

const call = (method: string, path: string, body?: unknown) =>
  fetch(new URL(path, ci.url), { method, ...(body !== undefined && { body: JSON.stringify(body) }) });
const register = (name: string, queue = 'q') => call('POST', '/agents', { name, queue });

describe('jobs', () => {
  test('each goes to one agent of its queue, first come first served', async () => {
    const [first, second] = [ci.enqueue('q', 1), ci.enqueue('q', 1)];
    ci.enqueue('other', 1);
    await Promise.all([register('a'), register('b')]);
    const given = await Promise.all(
      ['a', 'b'].map(
        async (name) => ((await (await call('POST', `/agents/${name}/next`)).json()) as { id: string }).id,
      ),
    );
    expect(given.sort()).toEqual([first.id, second.id].sort());
    expect(ci.jobs.map(({ state }) => state)).toEqual(['running', 'running', 'queued']);
  });

  test('a stopped agent gets none, also while it waits for one', async () => {
    await register('a');
    const waiting = call('POST', '/agents/a/next');
    await call('PUT', '/agents/a/stop');
    expect((await waiting).status).toBe(410);
    const job = ci.enqueue('q', 1);
    expect((await call('POST', '/agents/a/next')).status).toBe(410);
    expect(job.state).toBe('queued');
  });

  test('a job is killed when its instance dies, and stays killed', async () => {
    await register('a');
    const job = ci.enqueue('q', 60);
    await call('POST', '/agents/a/next');
    const instance = new AbortController();
    const line = await fetch(new URL(`/jobs/${job.id}/run`, ci.url), {
      method: 'POST',
      signal: instance.signal,
    });
    expect(line.status).toBe(200);
    instance.abort();
    while (job.state === 'running') await new Promise((resolve) => setTimeout(resolve, 5));
    expect(job.state).toBe('killed');
    expect((await call('POST', `/jobs/${job.id}/finish`)).status).toBe(409);
  });
});

describe('the driver of the simulated provider', () => {
  const absent = { ensure: async () => {}, isAlive: async () => true };
  const host = (name: string, agent: Parameters<typeof simulatedDriver>[2] = absent) =>
    simulatedDriver({ driver: 'simulated', url: ci.url, queue: 'q', command: ['x'] }, name, agent);

  test('returns the state of the agent', async () => {
    expect(await host('a').status()).toEqual({ state: 'gone' });
    await register('a');
    expect(await host('a').status()).toMatchObject({ state: 'idle' });
    const job = ci.enqueue('q', 1);
    await call('POST', '/agents/a/next');
    expect(await host('a').status()).toEqual({ state: 'busy', job: job.id });
  });

  test('takes an agent whose process has died for gone, though the host still lists it', async () => {
    await register('a');
    expect(await host('a', { ...absent, isAlive: async () => false }).status()).toEqual({ state: 'gone' });
  });

  test('stops the intake of an agent that the host has forgotten: it gets no job either way', async () => {
    await host('nobody').stopIntake();
  });

  test('throws when the provider cannot be reached, since the state of its jobs is unknown', async () => {
    await ci.close();
    await expect(host('a').status()).rejects.toThrow();
    await expect(host('a').stopIntake()).rejects.toThrow();
    ci = await startCiService();
  });

  test('an agent that cannot be started is an error', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'hearth-no-agent-'));
    await expect(host('a', agentProcess(directory)).start()).rejects.toThrow('ENOENT');
    rmSync(directory, { recursive: true });
  });
});
