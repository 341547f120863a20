import { randomUUID } from 'node:crypto';
import * as v from 'valibot';
import { type Answer, type Incoming, longPoll, parseBody, Refused } from '../http.ts';
import { type CircleciBehaviour, type CircleciModel, secret } from './model.ts';

/**
 * The runner API (`runner.circleci.com/api/v3`), and the service that `agents/cci.mts` claims tasks from. How the real program claims
 * tasks is not public; these calls are others with the same results:
 *
 *     POST /_agent/claim                   {name, hostname, version} -> 200 a task, 204 none for now; with the token of the resource class
 *     POST /_agent/tasks/<id>/heartbeat    -> {cancel}; with the token of the task, as the others
 *     POST /_agent/tasks/<id>/log|finish
 */

const resourceName = v.pipe(v.string(), v.regex(/^[^/\s]+\/[^/\s]+$/, 'must have the form namespace/name'));
const claimRequest = v.object({ name: v.string(), hostname: v.string(), version: v.string() });
const finishRequest = v.object({
  result: v.picklist(['succeeded', 'failed', 'cancelled']),
  exitStatus: v.number(),
});

export function runnerApi(
  model: CircleciModel,
  apiTokens: readonly string[],
  settings: () => CircleciBehaviour,
) {
  const { state } = model;

  async function handle(request: Incoming): Promise<Answer | undefined> {
    if (request.path.startsWith('/_agent/')) return agentCall(request);
    const [, rest] = /^\/api\/v3\/runner(?:\/(.*))?$/.exec(request.path) ?? [request.path];
    if (!request.path.startsWith('/api/v3/runner')) return undefined;
    const [kind = '', id = '', force = ''] = (rest ?? '').split('/');
    if (request.method === 'POST' && kind === 'unclaim') return unclaim(request);
    authorize(request);
    switch (`${request.method} ${kind}${id === '' ? '' : `/${id === 'running' ? id : 'id'}`}`) {
      case 'GET tasks':
        return { status: 200, body: { unclaimed_task_count: countOf(request, ['queued']) } };
      case 'GET tasks/running':
        return { status: 200, body: { running_runner_tasks: countOf(request, ['assigned', 'running']) } };
      case 'GET ':
        return listRunners(request);
      case 'GET resource':
        return { status: 200, body: { items: classesOf(request).map(classBody) } };
      case 'POST resource':
        return addClass(request);
      case 'DELETE resource/id':
        return removeClass(id, force === 'force');
      case 'GET token':
        return listTokens(request);
      case 'POST token':
        return addToken(request);
      case 'DELETE token/id': {
        if (!state.tokens.some((token) => token.id === id)) throw new Refused(404, 'token not found');
        state.tokens = state.tokens.filter((token) => token.id !== id);
        return { status: 204 };
      }
      default:
        return undefined;
    }
  }

  /** A personal API token, in the header `Circle-Token` or as the user of Basic authentication. */
  function authorize(request: Incoming): void {
    const basic = /^Basic (\S+)$/.exec(request.headers.authorization ?? '')?.[1];
    const user = basic === undefined ? undefined : Buffer.from(basic, 'base64').toString().split(':')[0];
    const token = request.headers['circle-token'] ?? user;
    // The token of a resource class can claim tasks and nothing else.
    if (typeof token !== 'string' || !apiTokens.includes(token))
      throw new Refused(401, 'You must log in first.');
    request.caller = 'api token';
  }

  function classOf(request: Incoming): string {
    const name = request.query.get('resource-class');
    if (name === null || name === '') throw new Refused(400, 'resource-class is missing');
    if (!state.classes.some((known) => known.name === name))
      throw new Refused(404, `resource class ${name} not found`);
    return name;
  }

  function countOf(request: Incoming, states: readonly string[]): number {
    const name = classOf(request);
    return state.jobs.filter((job) => job.resourceClass === name && states.includes(job.state)).length;
  }

  function classesOf(request: Incoming) {
    const namespace = request.query.get('namespace');
    return state.classes.filter(({ name }) => namespace === null || name.startsWith(`${namespace}/`));
  }

  function listRunners(request: Incoming): Answer {
    const { query } = request;
    if (!['resource-class', 'namespace', 'org-id'].some((name) => query.has(name))) {
      throw new Refused(400, 'one of resource-class, namespace and org-id is needed');
    }
    const wanted = query.has('resource-class')
      ? [classOf(request)]
      : classesOf(request).map(({ name }) => name);
    const oldest = Date.now() - settings().listSeconds * 1000;
    const items = state.runners
      .filter((runner) => wanted.includes(runner.resourceClass) && runner.lastConnected >= oldest)
      .map((runner) => ({
        resource_class: runner.resourceClass,
        hostname: runner.hostname,
        name: runner.name,
        first_connected: iso(runner.firstConnected),
        last_connected: iso(runner.lastConnected),
        last_used: runner.lastUsed === undefined ? null : iso(runner.lastUsed),
        ip: runner.ip,
        version: runner.version,
      }));
    return { status: 200, body: { items } };
  }

  function addClass(request: Incoming): Answer {
    const asked = parseBody(
      v.object({ resource_class: resourceName, description: v.optional(v.string(), '') }),
      request.json(),
      400,
    );
    if (state.classes.some(({ name }) => name === asked.resource_class)) {
      throw new Refused(409, `resource class ${asked.resource_class} exists`);
    }
    const added = { id: randomUUID(), name: asked.resource_class, description: asked.description };
    state.classes.push(added);
    return { status: 200, body: classBody(added) };
  }

  function removeClass(id: string, force: boolean): Answer {
    const found = state.classes.find((candidate) => candidate.id === id);
    if (!found) throw new Refused(404, 'resource class not found');
    const own = state.tokens.filter(({ resourceClass }) => resourceClass === found.name);
    if (own.length > 0 && !force) throw new Refused(409, 'the resource class has tokens');
    state.classes = state.classes.filter((candidate) => candidate !== found);
    state.tokens = state.tokens.filter((token) => !own.includes(token));
    return { status: 204 };
  }

  function listTokens(request: Incoming): Answer {
    const name = classOf(request);
    // The value of a token is shown once, when it is made.
    const items = state.tokens
      .filter(({ resourceClass }) => resourceClass === name)
      .map(({ id, resourceClass, nickname, createdAt }) => ({
        id,
        resource_class: resourceClass,
        nickname,
        created_at: iso(createdAt),
      }));
    return { status: 200, body: { items } };
  }

  function addToken(request: Incoming): Answer {
    const asked = parseBody(
      v.object({ resource_class: resourceName, nickname: v.optional(v.string(), '') }),
      request.json(),
      400,
    );
    if (!state.classes.some(({ name }) => name === asked.resource_class)) {
      throw new Refused(404, `resource class ${asked.resource_class} not found`);
    }
    const token = {
      id: randomUUID(),
      resourceClass: asked.resource_class,
      nickname: asked.nickname,
      value: secret(),
      createdAt: Date.now(),
    };
    state.tokens.push(token);
    return {
      status: 200,
      body: {
        id: token.id,
        token: token.value,
        resource_class: token.resourceClass,
        nickname: token.nickname,
        created_at: iso(token.createdAt),
      },
    };
  }

  function unclaim(request: Incoming): Answer {
    const { task_id, task_token } = parseBody(
      v.object({ task_id: v.string(), task_token: v.string() }),
      request.json(),
      400,
    );
    const job = state.jobs.find(({ id, token }) => id === task_id && token === task_token);
    if (!job || (job.state !== 'assigned' && job.state !== 'running'))
      throw new Refused(404, 'task not found');
    request.caller = `task ${job.id}`;
    model.unclaim(job);
    return { status: 200, body: {} };
  }

  async function agentCall(request: Incoming): Promise<Answer | undefined> {
    const token = /^Bearer (\S+)$/.exec(request.headers.authorization ?? '')?.[1];
    const [kind, id = '', action = ''] = request.path.slice('/_agent/'.length).split('/');
    if (request.method !== 'POST') return undefined;
    if (kind === 'claim') return claim(request, token);
    const job = state.jobs.find((candidate) => candidate.id === id && candidate.token === token);
    if (!job || job.state === 'finished' || job.state === 'queued') throw new Refused(404, 'task not found');
    request.caller = `task ${job.id}`;
    switch (action) {
      case 'heartbeat':
        model.heartbeat(job);
        return { status: 200, body: { cancel: job.canceling } };
      case 'log':
        job.log += request.body.toString();
        return { status: 200, body: {} };
      case 'finish': {
        const { result, exitStatus } = parseBody(finishRequest, request.json());
        model.end(job, result, exitStatus);
        return { status: 200, body: {} };
      }
      default:
        return undefined;
    }
  }

  async function claim(request: Incoming, value: string | undefined): Promise<Answer> {
    const token = state.tokens.find((candidate) => candidate.value === value);
    if (!token) throw new Refused(401, 'the resource class token is not valid');
    const { name, hostname, version } = parseBody(claimRequest, request.json(), 400);
    request.caller = name;
    const runner = model.connect({
      name,
      hostname,
      version,
      ip: '127.0.0.1',
      resourceClass: token.resourceClass,
    });
    // A token that is deleted while a claim waits gets nothing.
    const job = await longPoll(request, settings().pollSeconds, () =>
      state.tokens.includes(token) ? model.claim(runner) : undefined,
    );
    if (!job) return { status: 204 };
    return {
      status: 200,
      body: {
        id: job.id,
        token: job.token,
        name: job.name,
        command: job.command,
        env: { CIRCLE_JOB: job.name, CIRCLE_RUNNER_TASK: job.id, ...job.env },
        heartbeatSeconds: Math.max(0.1, Math.min(10, settings().lostSeconds / 5)),
      },
    };
  }

  return { handle };
}

function classBody({ id, name, description }: { id: string; name: string; description: string }) {
  return { id, resource_class: name, description };
}

function iso(milliseconds: number): string {
  return new Date(milliseconds).toISOString();
}
