import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { until } from '../testing/program.ts';
import { type Circleci, startCircleci } from './server.ts';

let circleci: Circleci;
beforeEach(async () => {
  circleci = await startCircleci({
    resourceClasses: { 'acme/q': ['class-token'], 'acme/other': [] },
    apiTokens: ['api-token'],
    behaviour: { pollSeconds: 0.1 },
  });
});
afterEach(() => circleci.close());

// biome-ignore lint/suspicious/noExplicitAny: answers are read with matchers
type Answer = { status: number; body: any };

async function call(
  method: string,
  path: string,
  headers: Record<string, string>,
  body?: unknown,
): Promise<Answer> {
  const response = await fetch(new URL(path, circleci.url), {
    method,
    headers,
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, body: text === '' ? undefined : JSON.parse(text) };
}

const api = (method: string, path: string, body?: unknown) =>
  call(method, `/api/v3/runner${path}`, { 'circle-token': 'api-token' }, body);
const claim = (name = 'i-1', token = 'class-token') =>
  call('POST', '/_agent/claim', { authorization: `Bearer ${token}` }, { name, hostname: 'h', version: '3' });
const task = ({ body }: Answer, action: string, content: object = {}) =>
  call('POST', `/_agent/tasks/${body.id}/${action}`, { authorization: `Bearer ${body.token}` }, content);

describe('tokens', () => {
  test('the token of a resource class claims tasks and reads nothing; an API token does the reverse', async () => {
    const path = '/api/v3/runner/tasks?resource-class=acme/q';
    expect((await call('GET', path, { 'circle-token': 'api-token' })).status).toBe(200);
    const basic = `Basic ${Buffer.from('api-token:').toString('base64')}`;
    expect((await call('GET', path, { authorization: basic })).status).toBe(200);
    expect((await call('GET', path, { 'circle-token': 'class-token' })).status).toBe(401);
    expect((await call('GET', path, { authorization: 'Bearer class-token' })).status).toBe(401);
    expect((await call('GET', path, {})).status).toBe(401);
    expect((await claim()).status).toBe(204);
    expect((await claim('i-1', 'api-token')).status).toBe(401);
  });

  test('can be made, listed without their value, and deleted', async () => {
    const { body } = await api('POST', '/token', { resource_class: 'acme/other', nickname: 'n' });
    expect(body).toMatchObject({ resource_class: 'acme/other', nickname: 'n', token: expect.any(String) });
    const listed = await api('GET', '/token?resource-class=acme/other');
    expect(listed.body.items).toMatchObject([{ id: body.id, nickname: 'n' }]);
    expect(JSON.stringify(listed.body)).not.toContain(body.token);
    expect((await claim('i-1', body.token)).status).toBe(204);
    expect((await api('DELETE', `/token/${body.id}`)).status).toBe(204);
    expect((await claim('i-1', body.token)).status).toBe(401);
  });
});

describe('tasks', () => {
  test('the backlog counts unclaimed and running ones per class', async () => {
    const counts = async (name: string) => [
      (await api('GET', `/tasks?resource-class=${name}`)).body.unclaimed_task_count,
      (await api('GET', `/tasks/running?resource-class=${name}`)).body.running_runner_tasks,
    ];
    circleci.queueJob({ command: 'true' });
    circleci.queueJob({ command: 'true' });
    circleci.queueJob({ command: 'true', resourceClass: 'acme/other' });
    expect(await counts('acme/q')).toEqual([2, 0]);
    const claimed = await claim();
    expect(claimed).toMatchObject({ status: 200, body: { command: 'true', env: { CIRCLE_JOB: 'task-1' } } });
    expect(await counts('acme/q')).toEqual([1, 1]);
    await task(claimed, 'heartbeat');
    await task(claimed, 'finish', { result: 'succeeded', exitStatus: 0 });
    expect(await counts('acme/q')).toEqual([1, 0]);
    expect(await counts('acme/other')).toEqual([1, 0]);
    expect((await api('GET', '/tasks')).status).toBe(400);
    expect((await api('GET', '/tasks?resource-class=acme/none')).status).toBe(404);
  });

  test('one that is given back is claimed again, until its retries are used up', async () => {
    circleci.behave({ unclaims: 1 });
    const job = circleci.queueJob({ command: 'true' });
    const first = await claim();
    const unclaim = ({ body }: Answer) =>
      call('POST', '/api/v3/runner/unclaim', {}, { task_id: body.id, task_token: body.token });
    expect((await unclaim(first)).status).toBe(200);
    expect(job.state).toBe('queued');
    expect((await unclaim(first)).status).toBe(404);
    const second = await claim();
    expect((await task(first, 'heartbeat')).status).toBe(404);
    expect((await unclaim(second)).status).toBe(409);
    expect(job).toMatchObject({ state: 'assigned', assignments: 2 });
  });

  test('one that is not started in time is lost, and one whose heartbeats stop', async () => {
    const jobs = [circleci.queueJob({ command: 'true' }), circleci.queueJob({ command: 'true', reruns: 1 })];
    await claim();
    await task(await claim(), 'heartbeat');
    circleci.behave({ startSeconds: 0.1 });
    await until('the first loss', () => jobs[0]?.result === 'lost');
    expect(jobs[1]?.state).toBe('running');
    circleci.behave({ lostSeconds: 0.1 });
    await until('the second loss', () => jobs[1]?.result === 'lost');
    expect(circleci.jobs()).toMatchObject([{}, {}, { state: 'queued', rerunOf: jobs[1]?.id, starts: 0 }]);
  });

  test('a cancellation reaches the runner with its heartbeat', async () => {
    const job = circleci.queueJob({ command: 'true' });
    const claimed = await claim();
    expect((await task(claimed, 'heartbeat')).body).toEqual({ cancel: false });
    circleci.cancelJob(job.id);
    expect((await task(claimed, 'heartbeat')).body).toEqual({ cancel: true });
  });
});

describe('inventory', () => {
  test('lists runners without a busy flag, until they are silent for long', async () => {
    await claim('i-1');
    expect((await api('GET', '?resource-class=acme/q')).body.items).toMatchObject([
      { name: 'i-1', resource_class: 'acme/q', hostname: 'h', version: '3', last_used: null },
    ]);
    expect((await api('GET', '?namespace=acme')).body.items).toHaveLength(1);
    expect((await api('GET', '?resource-class=acme/other')).body.items).toEqual([]);
    expect((await api('GET', '')).status).toBe(400);
    circleci.behave({ listSeconds: -1 });
    expect((await api('GET', '?namespace=acme')).body.items).toEqual([]);
  });

  test('has the resource classes', async () => {
    const { body } = await api('POST', '/resource', { resource_class: 'acme/new' });
    expect((await api('POST', '/resource', { resource_class: 'acme/new' })).status).toBe(409);
    expect((await api('POST', '/resource', { resource_class: 'new' })).status).toBe(400);
    expect((await api('GET', '/resource?namespace=acme')).body.items).toHaveLength(3);
    await api('POST', '/token', { resource_class: 'acme/new' });
    expect((await api('DELETE', `/resource/${body.id}`)).status).toBe(409);
    expect((await api('DELETE', `/resource/${body.id}/force`)).status).toBe(204);
    expect((await api('GET', '/token?resource-class=acme/new')).status).toBe(404);
  });
});

test('a job request with a mistake is refused with its place', () => {
  expect(() => circleci.queueJob({ command: 'true', resourceClass: 'acme/none' })).toThrow(
    'resourceClass: there is no acme/none; there are acme/q, acme/other',
  );
});
