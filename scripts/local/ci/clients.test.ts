import { generateKeyPairSync } from 'node:crypto';
import { afterEach, expect, test } from 'vitest';
import type { SecretReader } from '../../../shared/aws/secret-reader.ts';
import { buildkiteAgents } from '../../../shared/ci/buildkite/agents.ts';
import { buildkiteMetrics } from '../../../shared/ci/buildkite/metrics.ts';
import { circleciTasks } from '../../../shared/ci/circleci/tasks.ts';
import { githubBacklog } from '../../../shared/ci/github/backlog.ts';
import { githubRunners } from '../../../shared/ci/github/runners.ts';
import type { KnownRegistration } from '../../../shared/ci/provider.ts';
import { startBuildkite } from './buildkite/server.ts';
import { startCircleci } from './circleci/server.ts';
import { type Github, startGithub } from './github/server.ts';

/** The clients of the functions against the stand-ins, over a socket. */

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

const common = { role: 'role', autoScalingGroup: 'group', minRunners: 0, maxRunners: 1, takesJobs: true };
const clock = { now: () => new Date() };
const secrets =
  (values: Record<string, string>) =>
  (id: string): SecretReader =>
    ({ get: async () => values[id], refresh() {} }) as SecretReader;
const options = { signal: new AbortController().signal };

const { publicKey, privateKey } = generateKeyPairSync('rsa', {
  modulusLength: 2048,
  publicKeyEncoding: { type: 'spki', format: 'pem' },
  privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
});

async function githubClient(
  github: Github,
  scope: { repository?: string; runnerGroup?: string },
  secret: object | string,
) {
  const values = typeof secret === 'string' ? { token: secret } : { app: JSON.stringify(secret) };
  return githubRunners(
    {
      ...common,
      provider: 'gha',
      apiUrl: github.url,
      owner: 'acme',
      labels: ['Hearth', 'default'],
      appSecret: 'app',
      tokenSecret: 'token',
      ...scope,
    },
    'i-1',
    { secrets: secrets(values as Record<string, string>), tokens: new Map(), runnerGroups: new Map(), clock },
    options,
  );
}

test.each([
  ['a repository with an App', { repository: 'monorepo' }, { appId: 12, privateKey }],
  ['an organization with an App', { runnerGroup: 'builds' }, { appId: 12, privateKey }],
  ['a repository with a token', { repository: 'monorepo' }, 'plain'],
])('registrations of %s', async (_, scope, secret) => {
  const github = await startGithub({
    apps: [{ id: 12, publicKey }],
    tokens: ['plain'],
    runnerGroups: [
      { id: 1, name: 'Default', default: true },
      { id: 3, name: 'builds' },
    ],
  });
  closing.push(github.close);
  const client = await githubClient(github, scope, secret);
  const issued = await client.issue({ name: 'i-1-1' });
  expect(issued).toMatchObject({ registration: { provider: 'gha', name: 'i-1-1' } });
  expect(await client.issue({ name: 'i-1-1' })).toBe('name-taken');
  const { removable } = client;
  const known: KnownRegistration[] = [];
  for await (const registration of removable?.list() ?? []) known.push(registration);
  expect(known).toMatchObject([{ name: 'i-1-1', online: false, busy: false }]);
  expect(await removable?.find('i-1-1')).toEqual(known[0]);
  const id = known[0]?.id ?? 0;
  expect(await removable?.stopAssignment(id)).toBe('stopped');
  expect(await removable?.remove(id)).toBe('removed');
  expect(await removable?.remove(id)).toBe('removed');
  expect(await removable?.stopAssignment(id)).toBe('gone');
  expect(github.registrations()).toEqual([]);
});

test('rate limits and refusals of GitHub arrive as what they are', async () => {
  const github = await startGithub({ apps: [{ id: 12, publicKey }], behaviour: { secondaryPoints: 5 } });
  closing.push(github.close);
  const client = await githubClient(github, { repository: 'monorepo' }, { appId: 12, privateKey });
  await client.issue({ name: 'i-1-1' });
  await expect(client.issue({ name: 'i-1-2' })).rejects.toMatchObject({ kind: 'rate-limited' });
  const foreign = await githubClient(github, { repository: 'monorepo' }, { appId: 13, privateKey });
  await expect(foreign.issue({ name: 'i-1-3' })).rejects.toMatchObject({ kind: 'credential' });
});

test('registrations of Buildkite', async () => {
  const buildkite = await startBuildkite({ agentTokens: ['agent-token'], queues: ['q'] });
  closing.push(buildkite.close);
  const client = (token: string) =>
    buildkiteAgents(
      { ...common, provider: 'bk', apiUrl: `${buildkite.url}/v3`, queue: 'q', tokenSecret: 'bk' },
      { secrets: secrets({ bk: token }), clock },
      options,
    );
  const agent = { hostname: 'h', meta_data: ['queue=q'] };
  expect(await client('agent-token').issue({ name: 'i-1-1', agent })).toMatchObject({
    registration: { provider: 'bk', answer: { name: 'i-1-1', endpoint: `${buildkite.url}/v3` } },
  });
  await expect(client('wrong').issue({ name: 'i-1-2', agent })).rejects.toMatchObject({ kind: 'credential' });
  expect(buildkite.registrations()).toMatchObject([{ name: 'i-1-1', queue: 'q' }]);
});

test('the backlog of a repository of GitHub, again without a change, and with a token that is refused', async () => {
  const github = await startGithub({ apps: [{ id: 12, publicKey }], repositories: ['acme/monorepo'] });
  closing.push(github.close);
  const job = github.queueJob({ labels: ['Hearth'], command: 'true' });
  github.queueJob({ labels: ['Hearth'], command: 'true', held: 'waiting' });
  const open = (appId: number) =>
    githubBacklog(
      {
        ...common,
        provider: 'gha',
        apiUrl: github.url,
        owner: 'acme',
        jobsRepository: 'monorepo',
        labels: ['hearth'],
        appSecret: 'app',
        tokenSecret: 'token',
      },
      undefined,
      {
        secrets: secrets({ app: JSON.stringify({ appId, privateKey }) }),
        tokens: shared.tokens,
        memory: shared.memory,
        clock,
      },
      options,
    );
  const shared = { tokens: new Map(), memory: { answers: new Map(), jobs: new Map() } };
  const backlog = await open(12);
  const expected = { queued: [{ id: job.id, labels: ['hearth'] }], running: [], isComplete: true };
  expect(await backlog.read(async () => {})).toMatchObject(expected);
  expect(await backlog.read(async () => {})).toMatchObject(expected);
  expect(github.requests().filter(({ status }) => status === 304).length).toBeGreaterThanOrEqual(3);
  const foreign = await open(13);
  await expect(foreign.read(async () => {})).rejects.toMatchObject({ kind: 'credential' });
});

test('the backlog of a cluster of Buildkite', async () => {
  const buildkite = await startBuildkite({ agentTokens: ['agent-token'], queues: ['q', 'none'] });
  closing.push(buildkite.close);
  buildkite.queueJob({ queue: 'q', command: 'true' });
  buildkite.queueJob({ queue: 'q', command: 'true' });
  const read = (token: string) =>
    buildkiteMetrics(
      { apiUrl: `${buildkite.url}/v3/`, tokenSecret: 'bk' },
      { secrets: secrets({ bk: token }), clock },
      options,
    );
  expect(await read('agent-token')).toEqual({
    queues: new Map([['q', { queued: 2, running: 0 }]]),
    pollSeconds: 10,
  });
  await expect(read('wrong')).rejects.toMatchObject({ kind: 'credential' });
});

test('the backlog of a resource class of CircleCI', async () => {
  const circleci = await startCircleci({
    resourceClasses: { 'acme/q': ['class-token'] },
    apiTokens: ['api-token'],
  });
  closing.push(circleci.close);
  circleci.queueJob({ resourceClass: 'acme/q', command: 'true' });
  const read = (secret: object) =>
    circleciTasks(
      { apiUrl: circleci.url, credentialsSecret: 'cci' },
      { secrets: secrets({ cci: JSON.stringify(secret) }), clock },
      options,
    );
  const own = { resource_class: 'acme/q', auth_token: 'class-token' };
  expect(await read({ ...own, access_token: 'api-token' })).toEqual({ queued: 1, running: 0 });
  // The token of the class can claim tasks and read nothing.
  await expect(read({ ...own, access_token: 'class-token' })).rejects.toMatchObject({ kind: 'credential' });
  await expect(read(own)).rejects.toThrow('secret cci access_token');
});
