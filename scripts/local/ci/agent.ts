import { request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * The agent of the simulated CI provider: registers, runs one job after the other, and ends when the provider requests it
 * stop and no job runs. It gets its settings from the environment, as the agents of real hosts do.
 */
const url = setting('SIMULATED_CI_URL');
const queue = setting('SIMULATED_CI_QUEUE');
const name = setting('SIMULATED_CI_AGENT');

await post('/agents', { name, queue });
for (;;) {
  const response = await post(`/agents/${name}/next`);
  // Stopped, or forgotten.
  if (response.status === 410 || response.status === 404) break;
  if (response.status !== 200) continue;
  const job = (await response.json()) as { id: string; seconds: number };
  await run(job);
}

async function run(job: { id: string; seconds: number }) {
  // Open for as long as the job runs: the provider detects the end of an instance by the end of the connection.
  const line = request(new URL(`/jobs/${job.id}/run`, url), { method: 'POST' });
  line.on('response', (response) => response.resume());
  line.on('error', (error) => console.error(`job ${job.id}: ${error.message}`));
  line.end();
  await sleep(job.seconds * 1000);
  await post(`/jobs/${job.id}/finish`);
  line.destroy();
}

function post(path: string, body?: unknown): Promise<Response> {
  return fetch(new URL(path, url), {
    method: 'POST',
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
}

function setting(key: string): string {
  const value = process.env[key];
  if (!value) throw new Error(`${key} is not set`);
  return value;
}
