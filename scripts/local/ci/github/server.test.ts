import { execFileSync } from 'node:child_process';
import { createHash, createHmac, generateKeyPairSync, sign } from 'node:crypto';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { until } from '../testing/program.ts';
import { type Github, type GithubOptions, startGithub } from './server.ts';

const APP = 12;
let keys: { publicKey: string; privateKey: string };
beforeAll(() => {
  keys = keyPair();
});

function keyPair() {
  return generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
  });
}

let github: Github;
const start = async (options: GithubOptions = {}) => {
  await github?.close();
  github = await startGithub({
    repositories: ['acme/monorepo', 'acme/other', 'umbrella/app'],
    apps: [{ id: APP, publicKey: keys.publicKey }],
    tokens: ['plain'],
    runnerGroups: [
      { id: 1, name: 'Default', default: true },
      { id: 2, name: 'GitHub Actions' },
      { id: 3, name: 'builds' },
    ],
    ...options,
    behaviour: { assignmentLagSeconds: 0, pollSeconds: 0.2, ...options.behaviour },
  });
};
beforeEach(() => start());
afterEach(() => github.close());

type Answer = { status: number; body: Record<string, never>; headers: Headers };

async function call(
  method: string,
  path: string,
  {
    body,
    token = 'plain',
    headers,
  }: { body?: unknown; token?: string; headers?: Record<string, string> } = {},
): Promise<Answer> {
  const response = await fetch(new URL(path, github.url), {
    method,
    headers: { authorization: `Bearer ${token}`, ...headers },
    ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, body: text === '' ? {} : JSON.parse(text), headers: response.headers };
}

function jwt(change: { iss?: unknown; iat?: number; exp?: number; alg?: string; key?: string } = {}): string {
  const now = Math.floor(Date.now() / 1000);
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const { iss = APP, iat = now - 60, exp = now + 540, alg = 'RS256', key = keys.privateKey } = change;
  const text = `${part({ alg, typ: 'JWT' })}.${part({ iss, iat, exp })}`;
  return `${text}.${sign('RSA-SHA256', Buffer.from(text), key).toString('base64url')}`;
}

async function installationToken(body: object = {}, owner = 'acme'): Promise<string> {
  const { body: installation } = await call('GET', `/orgs/${owner}/installation`, { token: jwt() });
  const { status, body: created } = await call(
    'POST',
    `/app/installations/${installation.id}/access_tokens`,
    {
      token: jwt(),
      body,
    },
  );
  expect(status).toBe(201);
  return created.token as unknown as string;
}

const RUNNERS = '/repos/acme/monorepo/actions/runners';
const jit = (name: string, more: object = {}, token = 'plain', base = RUNNERS) =>
  call('POST', `${base}/generate-jitconfig`, {
    token,
    body: { name, runner_group_id: 1, labels: ['x'], ...more },
  });

type Listener = { post(path: string, body?: object): Promise<Answer>; message(): Promise<Answer> };

/** A listener that is connected, as a sequence of calls. */
async function listener(name: string, more: object = {}): Promise<Listener> {
  const { body } = await jit(name, more);
  const files = JSON.parse(Buffer.from(body.encoded_jit_config as unknown as string, 'base64').toString());
  const credentials = JSON.parse(Buffer.from(files['.credentials'], 'base64').toString());
  const token = credentials.Data.Token;
  const post = (path: string, content: object = {}) =>
    call('POST', `/_listener/${path}`, { token, body: content });
  const session = await post('sessions', { version: '2.336.0' });
  return {
    post,
    message: () => call('GET', `/_listener/sessions/${session.body.sessionId}/message`, { token }),
  };
}

describe('credentials', () => {
  test('a JSON web token is verified: signature, issuer, time and algorithm', async () => {
    const now = Math.floor(Date.now() / 1000);
    const status = async (token: string) => (await call('GET', '/orgs/acme/installation', { token })).status;
    expect(await status(jwt())).toBe(200);
    expect(await status(jwt({ iss: String(APP) }))).toBe(200);
    expect(await status(jwt({ key: keyPair().privateKey }))).toBe(401);
    expect(await status(jwt({ iss: 13 }))).toBe(401);
    expect(await status(jwt({ exp: now - 1 }))).toBe(401);
    expect(await status(jwt({ exp: now + 700 }))).toBe(401);
    expect(await status(jwt({ iat: now + 60 }))).toBe(401);
    expect(await status(jwt({ alg: 'none' }))).toBe(401);
    expect(await status('a.b.c')).toBe(401);
    expect(await status('plain')).toBe(401);
  });

  test('a repository is visible through the installation of its owner only', async () => {
    const of = (path: string) => call('GET', path, { token: jwt() });
    const [acme, umbrella] = [
      await of('/repos/acme/monorepo/installation'),
      await of('/orgs/umbrella/installation'),
    ];
    expect([acme.status, umbrella.status]).toEqual([200, 200]);
    expect(acme.body.id).not.toBe(umbrella.body.id);
    expect((await of('/repos/acme/none/installation')).status).toBe(404);
    expect((await of('/orgs/none/installation')).status).toBe(404);
  });

  test('an installation token is good for its repositories and permissions only, and for its life only', async () => {
    const token = await installationToken({
      repositories: ['monorepo'],
      permissions: { administration: 'write' },
    });
    expect((await jit('a', {}, token)).status).toBe(201);
    expect((await call('GET', '/repos/acme/other/actions/runners', { token })).status).toBe(404);
    expect((await call('GET', '/repos/umbrella/app/actions/runners', { token })).status).toBe(404);
    const refused = await call('GET', '/repos/acme/monorepo/actions/runs', { token });
    expect(refused.status).toBe(403);
    expect(refused.headers.get('x-accepted-github-permissions')).toBe('actions=read');
    expect((await call('GET', '/orgs/acme/actions/runners', { token })).status).toBe(403);

    github.behave({ tokenSeconds: 0 });
    expect((await call('GET', RUNNERS, { token: await installationToken() })).status).toBe(401);
  });

  test('a token cannot be wider than its installation', async () => {
    await start({
      apps: [
        {
          id: APP,
          publicKey: keys.publicKey,
          installations: [
            { id: 5, account: 'acme', repositories: ['monorepo'], permissions: { actions: 'read' } },
          ],
        },
      ],
    });
    const create = (body: object) =>
      call('POST', '/app/installations/5/access_tokens', { token: jwt(), body });
    expect((await create({})).status).toBe(201);
    expect((await create({ repositories: ['other'] })).status).toBe(422);
    expect((await create({ permissions: { administration: 'write' } })).status).toBe(422);
    expect((await create({ permissions: { actions: 'write' } })).status).toBe(422);
    expect((await call('POST', '/app/installations/6/access_tokens', { token: jwt() })).status).toBe(404);
    expect((await call('GET', '/repos/acme/other/installation', { token: jwt() })).status).toBe(404);
  });

  test('a call without a credential, with a wrong one, without a user agent or with an old version is refused', async () => {
    expect((await fetch(new URL(RUNNERS, github.url))).status).toBe(401);
    expect((await call('GET', RUNNERS, { token: 'wrong' })).status).toBe(401);
    expect((await call('GET', RUNNERS, { headers: { 'user-agent': '' } })).status).toBe(403);
    expect((await call('GET', RUNNERS, { headers: { 'x-github-api-version': '2020-01-01' } })).status).toBe(
      400,
    );
    expect((await call('GET', RUNNERS, { headers: { 'x-github-api-version': '2026-03-10' } })).status).toBe(
      200,
    );
  });

  test('requests are kept without credentials', async () => {
    const token = await installationToken();
    await jit('a', {}, token);
    expect(JSON.stringify(github.requests())).not.toContain(token);
    expect(github.requests().at(-1)).toMatchObject({
      status: 201,
      caller: expect.stringMatching(/^installation \d+$/),
    });
  });
});

describe('runners', () => {
  test('a just-in-time configuration has the files of the runner, and no label that was not asked for', async () => {
    const { status, body } = await jit('i-1-1', { labels: ['Aspect-Default', 'aspect-default'] });
    expect(status).toBe(201);
    expect(body.runner).toMatchObject({
      name: 'i-1-1',
      status: 'offline',
      busy: false,
      ephemeral: true,
      version: null,
      labels: [{ name: 'aspect-default', type: 'custom' }],
    });
    const files = JSON.parse(Buffer.from(body.encoded_jit_config as unknown as string, 'base64').toString());
    expect(Object.keys(files)).toEqual(['.runner', '.credentials', '.credentials_rsaparams']);
    expect(JSON.parse(Buffer.from(files['.runner'], 'base64').toString())).toMatchObject({
      AgentName: 'i-1-1',
      Ephemeral: true,
      WorkFolder: '_work',
    });
  });

  test.each([
    ['no runner group', { runner_group_id: undefined }, 422],
    ['an unknown runner group', { runner_group_id: 9 }, 404],
    ['no labels', { labels: [] }, 422],
    ['more than 100 labels', { labels: Array.from({ length: 101 }, (_, index) => `l${index}`) }, 422],
    ['no name', { name: '' }, 422],
  ])('refuses %s', async (_, more, status) => {
    expect((await jit('a', more)).status).toBe(status);
    expect(github.registrations()).toEqual([]);
  });

  test('a body that is no JSON is refused', async () => {
    expect((await call('POST', `${RUNNERS}/generate-jitconfig`, { body: '{"name"' })).status).toBe(400);
  });

  test('a name is taken until its runner is removed', async () => {
    const { body } = await jit('a');
    expect((await jit('a')).status).toBe(409);
    const { id } = body.runner as unknown as { id: number };
    expect((await call('DELETE', `${RUNNERS}/${id}`)).status).toBe(204);
    expect((await call('DELETE', `${RUNNERS}/${id}`)).status).toBe(404);
    expect((await jit('a')).status).toBe(201);
  });

  test('an organization has its own runners and groups', async () => {
    const base = '/orgs/acme/actions/runners';
    expect((await jit('a', { runner_group_id: 3 }, 'plain', base)).status).toBe(201);
    expect((await jit('b', { runner_group_id: 2 }, 'plain', base)).status).toBe(403);
    expect((await jit('c', { runner_group_id: 9 }, 'plain', base)).status).toBe(404);
    expect((await call('GET', RUNNERS)).body.total_count).toBe(0);
    expect((await call('GET', base)).body.total_count).toBe(1);
    const { body } = await call('GET', '/orgs/acme/actions/runner-groups');
    expect(body.runner_groups).toMatchObject([
      { id: 1, default: true },
      { id: 2 },
      { id: 3, name: 'builds' },
    ]);
  });

  test('the list has pages, a filter and a lag', async () => {
    for (let count = 0; count < 5; count += 1) await jit(`r-${count}`);
    const first = await call('GET', `${RUNNERS}?per_page=2`);
    expect(first.body).toMatchObject({ total_count: 5, runners: [{ name: 'r-0' }, { name: 'r-1' }] });
    expect(first.headers.get('link')).toMatch(/page=2>; rel="next".*page=3>; rel="last"/);
    const last = await call('GET', `${RUNNERS}?per_page=2&page=3`);
    expect(last.body.runners).toMatchObject([{ name: 'r-4' }]);
    expect(last.headers.get('link')).not.toContain('next');
    expect((await call('GET', `${RUNNERS}?name=r-3`)).body).toMatchObject({ total_count: 1 });
    github.behave({ listLagSeconds: 60 });
    expect((await call('GET', RUNNERS)).body.total_count).toBe(0);
  });

  test('all of it also below /api/v3, as on a server of GitHub Enterprise', async () => {
    expect((await jit('a', {}, 'plain', `/api/v3${RUNNERS}`)).status).toBe(201);
  });

  test('labels can be taken away, and no job is assigned then, unless that does not act', async () => {
    const runner = await listener('a');
    const [{ id } = { id: 0 }] = github.registrations();
    const put = await call('PUT', `${RUNNERS}/${id}/labels`, { body: { labels: [] } });
    expect(put).toMatchObject({ status: 200, body: { total_count: 0, labels: [] } });
    const job = github.queueJob({ command: 'true', labels: ['x'] });
    expect((await runner.message()).status).toBe(202);
    expect(job.state).toBe('queued');

    github.behave({ labelChangesAct: false });
    const other = await listener('b');
    const second = github.registrations()[1];
    await call('PUT', `${RUNNERS}/${second?.id}/labels`, { body: { labels: [] } });
    expect((await other.message()).body).toMatchObject({ kind: 'job', jobId: job.id });
    expect((await call('PUT', `${RUNNERS}/999/labels`, { body: { labels: [] } })).status).toBe(404);
  });

  test('downloads name the newest version', async () => {
    github.behave({ latestVersion: '2.400.0' });
    expect((await call('GET', `${RUNNERS}/downloads`)).body).toMatchObject([
      { os: 'linux', architecture: 'x64', filename: 'actions-runner-linux-x64-2.400.0.tar.gz' },
      {},
      {},
    ]);
    const [file] = (await call('GET', `${RUNNERS}/downloads`)).body as unknown as Record<string, string>[];
    const archive = Buffer.from(await (await fetch(file?.download_url ?? '')).arrayBuffer());
    expect(createHash('sha256').update(archive).digest('hex')).toBe(file?.sha256_checksum);
    expect(github.download('2.400.0').sha256).toBe(file?.sha256_checksum);
    const names = execFileSync('tar', ['-tzf', '-'], { input: archive, encoding: 'utf8' }).trim().split('\n');
    expect(names).toContain('./bin/Runner.Listener');
  });
});

describe('jobs', () => {
  test('go to a runner whose labels contain theirs in any case, and to no other repository', async () => {
    const runner = await listener('a', { labels: ['x', 'Big'] });
    const jobs = [
      github.queueJob({ command: 'true', labels: ['x', 'gpu'] }),
      github.queueJob({ command: 'true', labels: ['x'], repository: 'acme/other' }),
      github.queueJob({ command: 'true', labels: ['x'], held: 'waiting' }),
      github.queueJob({ command: 'true', labels: ['X', 'big'] }),
    ];
    expect((await runner.message()).body).toEqual({ kind: 'job', jobId: jobs[3]?.id });
    expect(jobs.map(({ state }) => state)).toEqual(['queued', 'queued', 'queued', 'assigned']);
  });

  test('are assigned after the lag, and return to the queue when nobody picks them up', async () => {
    github.behave({ assignmentLagSeconds: 0.3, pickupSeconds: 0.2 });
    const runner = await listener('a');
    const job = github.queueJob({ command: 'true', labels: ['x'] });
    expect((await runner.message()).status).toBe(202);
    await until('the assignment', () => job.state === 'assigned');
    await until('the return', () => job.state === 'queued');
    expect(job).toMatchObject({ assignments: 1, starts: 0 });
    // The registration was used up by the assignment: REST does not know it, and it gets no job.
    expect((await call('GET', RUNNERS)).body.total_count).toBe(0);
    expect(github.registrations()).toMatchObject([{ name: 'a', ghost: true }]);
    expect((await runner.post(`jobs/${job.id}/acquire`)).status).toBe(409);

    github.behave({ consumedAtAssignment: false });
    const other = await listener('b');
    // With its registration in place it is the one that gets the job again.
    await until('the second assignment to it', () => job.assignments >= 3);
    expect((await call('GET', RUNNERS)).body.total_count).toBe(1);
    expect((await other.message()).status).toBe(200);
  });

  test('a pick-up whose answer was lost can be repeated, and starts the job once', async () => {
    const runner = await listener('a');
    const job = github.queueJob({ command: 'true', labels: ['x'] });
    await runner.message();
    github.behave({ faults: [{ path: 'acquire$', times: 1, effect: { kind: 'lose-answer' } }] });
    await expect(runner.post(`jobs/${job.id}/acquire`)).rejects.toThrow('fetch failed');
    expect((await runner.post(`jobs/${job.id}/acquire`)).status).toBe(200);
    expect(job).toMatchObject({ state: 'running', starts: 1 });
  });

  test('a busy runner cannot be removed, unless busy lies', async () => {
    const runner = await listener('a');
    const job = github.queueJob({ command: 'true', labels: ['x'] });
    await runner.message();
    await runner.post(`jobs/${job.id}/acquire`);
    const [{ id } = { id: 0 }] = github.registrations();
    expect((await call('GET', `${RUNNERS}/${id}`)).body).toMatchObject({ busy: true, status: 'online' });
    expect((await call('DELETE', `${RUNNERS}/${id}`)).status).toBe(422);
    github.behave({ busyLateSeconds: 30 });
    expect((await call('GET', `${RUNNERS}/${id}`)).body).toMatchObject({ busy: false });
    github.behave({ busyLateSeconds: 0, busyLies: true });
    expect((await call('DELETE', `${RUNNERS}/${id}`)).status).toBe(204);
    expect(job.state).toBe('running');
    expect((await runner.message()).status).toBe(404);
  });

  test('idle runners are removed after their time, and none that has not connected yet', async () => {
    github.behave({ idleRemovalSeconds: 0.3 });
    await jit('b');
    const runner = await listener('a');
    await until('the removal', () => github.registrations().every(({ name }) => name === 'b'));
    expect(github.registrations()).toHaveLength(1);
    expect((await runner.message()).status).toBe(404);
  });

  test('runs and jobs are listed with their states', async () => {
    const first = github.queueJob({ command: 'true', labels: ['x'], name: 'one', workflow: 'build' });
    const runId = (first as { runId?: number }).runId ?? 0;
    github.queueJob({ command: 'true', labels: ['y'], name: 'two', runId });
    github.queueJob({ command: 'true', labels: ['x'], held: 'waiting', ageSeconds: 90_000 });
    const runs = async (query: string) =>
      (await call('GET', `/repos/acme/monorepo/actions/${query}`)).body.workflow_runs as unknown as {
        status: string;
      }[];
    expect((await runs('runs')).map(({ status }) => status)).toEqual(['waiting', 'queued']);
    expect(await runs('runs?status=queued')).toMatchObject([{ id: runId }]);
    expect(await runs('workflows/build.yml/runs?status=queued')).toHaveLength(1);
    expect(await runs('workflows/ci/runs?status=queued')).toHaveLength(0);

    const runner = await listener('a');
    await runner.message();
    const { body: taken } = await runner.post(`jobs/${first.id}/acquire`);
    // A run is queued while any of its jobs is.
    expect(await runs('runs?status=queued')).toHaveLength(1);
    const { body } = await call(
      'GET',
      `/repos/acme/monorepo/actions/runs/${runId}/jobs?filter=latest&per_page=100`,
    );
    expect(body).toMatchObject({
      total_count: 2,
      jobs: [
        {
          id: Number(first.id),
          run_id: runId,
          status: 'in_progress',
          labels: ['x'],
          runner_name: 'a',
          runner_group_name: 'Default',
        },
        { status: 'queued', runner_id: null, runner_name: null },
      ],
    });
    await call('POST', `/_listener/jobs/${first.id}/complete`, {
      token: taken.token as unknown as string,
      body: { result: 'failed', exitStatus: 1 },
    });
    github.cancelJob(String(Number(first.id) + 1));
    expect(await runs('runs?status=completed')).toMatchObject([{ id: runId, conclusion: 'failure' }]);
    expect((await call('GET', '/repos/acme/monorepo/actions/runs/9999/jobs')).status).toBe(404);
  });

  test('a list with a filter has at most 1,000 runs', async () => {
    for (let count = 0; count < 1_005; count += 1) github.queueJob({ command: 'true', labels: ['none'] });
    const total = async (query: string) =>
      (await call('GET', `/repos/acme/monorepo/actions/runs${query}`)).body.total_count;
    expect(await total('?status=queued')).toBe(1_000);
    expect(await total('')).toBe(1_005);
  });
});

describe('limits', () => {
  test('an unchanged list is 304, costs nothing, and depends on the credential', async () => {
    const first = await call('GET', RUNNERS);
    const etag = first.headers.get('etag') ?? '';
    expect(etag).toMatch(/^W\/"/);
    const again = await call('GET', RUNNERS, { headers: { 'if-none-match': etag } });
    expect(again.status).toBe(304);
    expect(again.headers.get('x-ratelimit-used')).toBe(first.headers.get('x-ratelimit-used'));
    const token = await installationToken();
    expect((await call('GET', RUNNERS, { token, headers: { 'if-none-match': etag } })).status).toBe(200);
    await jit('a');
    expect((await call('GET', RUNNERS, { headers: { 'if-none-match': etag } })).status).toBe(200);
  });

  test('the primary limit is per installation and resource, with its headers', async () => {
    github.behave({ coreLimit: 2, registrationLimit: 1 });
    expect((await call('GET', RUNNERS)).headers.get('x-ratelimit-remaining')).toBe('1');
    expect((await call('GET', RUNNERS)).status).toBe(200);
    const refused = await call('GET', RUNNERS);
    expect(refused.status).toBe(403);
    expect(refused.headers.get('x-ratelimit-remaining')).toBe('0');
    expect(Number(refused.headers.get('x-ratelimit-reset'))).toBeGreaterThan(Date.now() / 1000);
    expect(refused.headers.get('retry-after')).toBeNull();
    expect((await jit('a')).headers.get('x-ratelimit-resource')).toBe('actions_runner_registration');
    github.behave({ limitStatus: 429 });
    expect((await jit('b')).status).toBe(429);
    expect((await call('GET', RUNNERS, { token: await installationToken() })).status).toBe(200);
    expect((await call('GET', '/rate_limit')).body).toMatchObject({ resources: { core: { remaining: 0 } } });
  });

  test('the secondary limit counts points per endpoint and names the time to wait', async () => {
    github.behave({ secondaryPoints: 10 });
    await jit('a');
    await jit('b');
    const refused = await jit('c');
    expect(refused.status).toBe(403);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(Number(refused.headers.get('x-ratelimit-remaining'))).toBeGreaterThan(0);
    expect((await call('GET', RUNNERS)).status).toBe(200);
    github.behave({ retryAfter: false });
    expect((await jit('c')).headers.get('retry-after')).toBeNull();
    expect(github.registrations().map(({ name }) => name)).toEqual(['a', 'b']);
  });
});

describe('webhooks', () => {
  let receiver: Server;
  const received: { headers: IncomingHttpHeaders; body: string }[] = [];
  beforeEach(async () => {
    received.length = 0;
    receiver = createServer(async (request, response) => {
      received.push({ headers: request.headers, body: (await buffer(request)).toString() });
      response.end();
    });
    await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook`;
    await start({ webhook: { url, secret: 's3' } });
  });
  afterEach(() => receiver.close());

  test('are signed, and report each change of a job', async () => {
    const runner = await listener('a');
    const job = github.queueJob({ command: 'true', labels: ['x'], name: 'test' });
    await runner.message();
    await runner.post(`jobs/${job.id}/acquire`);
    await until('two events', () => received.length === 2);
    const [queued, started] = received.map(({ body }) => JSON.parse(body));
    expect(queued).toMatchObject({
      action: 'queued',
      workflow_job: { id: Number(job.id), status: 'queued', labels: ['x'], name: 'test', runner_name: null },
      repository: { full_name: 'acme/monorepo', owner: { login: 'acme' } },
    });
    expect(started).toMatchObject({ action: 'in_progress', workflow_job: { runner_name: 'a' } });
    const [{ headers, body } = { headers: {}, body: '' }] = received;
    expect(headers).toMatchObject({
      'x-github-event': 'workflow_job',
      'x-hub-signature-256': `sha256=${createHmac('sha256', 's3').update(body).digest('hex')}`,
    });
    expect(github.deliveries()).toMatchObject([{ status: 200 }, { status: 200 }]);
  });

  test('can be lost or doubled', async () => {
    github.behave({ webhookDeliveries: 0 });
    github.queueJob({ command: 'true', labels: ['x'] });
    github.behave({ webhookDeliveries: 2 });
    github.queueJob({ command: 'true', labels: ['x'] });
    await until('both copies', () => received.length === 2);
    const [first, second] = received.map(({ headers }) => headers['x-github-delivery']);
    expect(first).toBe(second);
  });
});

describe('faults and control', () => {
  test('an answer can be lost after it took effect, and a request can be refused or answered by order', async () => {
    github.behave({ faults: [{ path: 'generate-jitconfig$', times: 1, effect: { kind: 'lose-answer' } }] });
    await expect(jit('a')).rejects.toThrow('fetch failed');
    expect(github.registrations()).toMatchObject([{ name: 'a' }]);
    expect((await jit('a')).status).toBe(409);
    github.behave({
      faults: [
        {
          method: 'GET',
          path: 'runners',
          times: 1,
          effect: { kind: 'answer', status: 502, headers: { 'x-mark': '1' } },
        },
        { path: 'runners', effect: { kind: 'refuse' } },
      ],
    });
    const answered = await call('GET', RUNNERS);
    expect([answered.status, answered.headers.get('x-mark')]).toEqual([502, '1']);
    await expect(jit('b')).rejects.toThrow('fetch failed');
    expect(github.registrations()).toHaveLength(1);
  });

  test('jobs can be queued, read and cancelled over HTTP, without credentials in the answers', async () => {
    const queued = await call('POST', '/_control/jobs', { body: { labels: ['x'], command: 'true' } });
    expect(queued.status).toBe(201);
    expect(JSON.stringify(queued.body)).not.toContain('token');
    const path = `/_control/jobs/${queued.body.id}`;
    expect((await call('POST', `${path}/cancel`)).body).toMatchObject({
      state: 'finished',
      result: 'cancelled',
    });
    expect((await call('GET', path)).body).toMatchObject({ result: 'cancelled' });
    expect((await call('GET', '/_control/jobs')).body).toHaveLength(1);
    await call('POST', '/_control/behave', { body: { latestVersion: '2.400.0' } });
    expect(JSON.stringify((await call('GET', `${RUNNERS}/downloads`)).body)).toContain('2.400.0');
    expect((await call('GET', '/_control/requests')).body).toHaveLength(1);
  });

  test.each([
    ['/_control/jobs', { command: 'true' }, /^labels: /],
    ['/_control/jobs', { labels: [], command: 'true' }, /^labels: must name a label/],
    ['/_control/jobs', { labels: ['x'], command: '' }, /^command: must not be empty/],
    [
      '/_control/jobs',
      { labels: ['x'], command: 'true', repository: 'a/b' },
      /^repository: there is no a\/b; there are acme\/monorepo,/,
    ],
    ['/_control/behave', { busyLie: true }, /^busyLie: /],
    [
      '/_control/behave',
      { faults: [{ path: '(', effect: { kind: 'hang' } }] },
      /^faults.0.path: is no regular expression/,
    ],
  ])('%s with %j is refused with the place of the mistake', async (path, body, message) => {
    expect(await call('POST', path, { body })).toMatchObject({
      status: 422,
      body: { message: expect.stringMatching(message) },
    });
  });
});
