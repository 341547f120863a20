import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isolatedUnits, sharedUnits } from '../../../infra/runner/src/agents/placed-units.ts';
import { PROVIDER_AGENTS } from '../../../infra/runner/src/agents/providers.ts';
import type { RegistrationClient } from '../../../infra/runner/src/agents/registration-client.ts';
import { jobPlaces } from '../../../infra/runner/src/isolation/job-places.ts';
import { jobTrees } from '../../../infra/runner/src/isolation/job-trees.ts';
import { WARM } from '../../../infra/runner/src/snapshot/index.ts';
import { localUnits } from '../../../scripts/local/runners/agent-units.ts';
import { localKernel } from '../../../scripts/local/runners/kernel.ts';

/**
 * The chain of agents of one instance, without the rest of aw-runner: it can be killed at any moment, and the next one continues.
 * Standard output has one line for each state that it observes. SIGTERM ends it when no agent is left.
 *
 *     node job-chain.ts <folder of the instance> <directory of the agent> <URL of the stand-in of GitHub> [shared]
 */

const [folder = '', directory = '', github = '', mode = 'clean'] = process.argv.slice(2);
const INSTANCE = 'i-0123456789abcdef0';
const POLL_MS = 1_000;

/** The clock of the chain, by which it waits; the same one for all programs of an instance. */
const SPEED = 5;
const BEGAN = Date.UTC(2026, 0);

const directories = {
  images: join(folder, 'images'),
  warm: join(folder, 'warm'),
  state: join(folder, 'state'),
};
const workDirectory = join(folder, 'work');
for (const each of [...Object.values(directories), workDirectory]) mkdirSync(each, { recursive: true });

const log = (line: string) => console.log(`log ${line}`);

async function rest(method: string, path: string, body?: unknown): Promise<Response> {
  return fetch(new URL(`/repos/acme/monorepo/actions/runners${path}`, github), {
    method,
    headers: { authorization: 'Bearer t' },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(60_000),
  });
}

/** As the function `registration`: an agent that ended in another way than with its job leaves its registration behind. */
async function removeRest(): Promise<boolean> {
  const { runners } = (await (await rest('GET', '?per_page=100')).json()) as { runners: { id: number }[] };
  const answers = await Promise.all(runners.map(({ id }) => rest('DELETE', `/${id}`)));
  return answers.every(({ status }) => status !== 422);
}

let issued = Date.now() % 1_000_000_000;
const registration: RegistrationClient = {
  async call(request) {
    try {
      if (request.action === 'release')
        return { outcome: 'released', result: (await removeRest()) ? 'removed' : 'busy' };
      if (request.previous === 'other' && !(await removeRest()))
        return { outcome: 'refused', reason: 'previous-busy', retryAfterSeconds: 1 };
      issued += 1;
      const name = `${INSTANCE}-${issued}`;
      const answer = await rest('POST', '/generate-jitconfig', { name, runner_group_id: 1, labels: ['x'] });
      const { encoded_jit_config: jitConfig } = (await answer.json()) as { encoded_jit_config: string };
      return { outcome: 'registered', registration: { provider: 'gha', name, jitConfig } };
    } catch (error) {
      return { outcome: 'failed', reason: String(error), isLost: true };
    }
  },
};

const units = localUnits({ stateDirectory: directories.state, log });
const settings = {
  stateDirectory: directories.state,
  warm: [{ source: WARM, target: directories.warm }],
  views: [workDirectory],
  sharedMounts: [],
  hidden: [directories.state, directories.images],
  files: [],
  docker: false,
  jobsUseInstanceRole: false,
};
const isClean = mode === 'clean';
const chain = PROVIDER_AGENTS.gha?.(
  { driver: 'gha', directory, user: 'root', workDirectory },
  {
    instanceId: INSTANCE,
    stateDirectory: directories.state,
    jobSocket: join(folder, 'job/socket'),
    units: isClean
      ? isolatedUnits(units, jobPlaces(settings, jobTrees(directories, log), localKernel), log)
      : sharedUnits(units),
    oneJob: isClean,
    registration,
    // The waits after a kill are shorter here.
    now: () => (Date.now() - BEGAN) * SPEED + BEGAN,
    log,
  },
);
if (!chain) throw new Error('no chain');
await chain.prepare(AbortSignal.timeout(300_000));
let isStopped = false;
process.once('SIGTERM', () => {
  isStopped = true;
});
let before = '';
for (;;) {
  if (isStopped) await chain.stopIntake();
  const { state } = await chain.status();
  const { problem } = chain.facts();
  if (problem !== undefined) throw new Error(problem);
  if (state !== before) console.log(`${Date.now()} ${state}`);
  before = state;
  if (state === 'gone') {
    if (isStopped) break;
    await chain.start();
    continue;
  }
  const wait = new AbortController();
  await Promise.race([sleep(POLL_MS, undefined, { signal: wait.signal }), chain.changed?.(wait.signal)]);
  wait.abort();
}
