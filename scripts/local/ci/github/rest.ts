import { createHash } from 'node:crypto';
import * as v from 'valibot';
import type { Downloads } from '../downloads.ts';
import { type Answer, type Incoming, parseBody, Refused } from '../http.ts';
import type { Caller, Credentials } from './credentials.ts';
import type { Limits, Resource } from './limits.ts';
import type { GithubBehaviour, GithubJob, GithubModel, Run, Runner } from './model.ts';

/** The part of GitHub's REST API that runners and their scaling need. */

/** A runner group of an organization. Id 1 is the default group. */
export type RunnerGroup = {
  id: number;
  name: string;
  visibility?: 'all' | 'selected' | 'private';
  default?: boolean;
};

/** Groups that belong to GitHub: the use of one is refused with 403. */
const HOSTED_GROUP = 'GitHub Actions';

/** The supported versions of the API (`X-GitHub-Api-Version`). */
const API_VERSIONS = ['2022-11-28', '2026-03-10'];

/** Most rows of a list of runs that has a filter. */
const MOST_FILTERED_RUNS = 1_000;

const jitRequest = v.object({
  name: v.pipe(v.string(), v.nonEmpty('must not be empty')),
  runner_group_id: v.pipe(v.number(), v.integer()),
  labels: v.pipe(
    v.array(v.pipe(v.string(), v.nonEmpty('must not be empty'))),
    v.minLength(1, 'needs at least 1 label'),
    v.maxLength(100, 'has more than 100 labels'),
  ),
  work_folder: v.optional(v.string(), '_work'),
});

const labelsRequest = v.object({
  labels: v.pipe(v.array(v.string()), v.maxLength(100, 'has more than 100 labels')),
});

type Context = {
  request: Incoming;
  caller: Caller;
  owner: string;
  /** Undefined for an organization. */
  repository: string | undefined;
  /** `owner/name` or `owner`. */
  scope: string;
  id: number;
};

type Route = {
  method: string;
  /** Below the repository or organization. `:id` is a number. */
  path: string;
  permission: string;
  level: 'read' | 'write';
  resource?: Resource;
  handle(context: Context): Answer;
};

export function githubRest(
  model: GithubModel,
  credentials: Credentials,
  limits: Limits,
  groups: readonly RunnerGroup[],
  settings: () => GithubBehaviour,
  url: () => string,
  archives: Downloads,
) {
  const { state } = model;

  const runnerRoutes: Route[] = [
    {
      method: 'POST',
      path: 'actions/runners/generate-jitconfig',
      permission: 'administration',
      level: 'write',
      resource: 'actions_runner_registration',
      handle: createJitConfig,
    },
    {
      method: 'GET',
      path: 'actions/runners',
      permission: 'administration',
      level: 'read',
      handle: listRunners,
    },
    {
      method: 'GET',
      path: 'actions/runners/downloads',
      permission: 'administration',
      level: 'read',
      handle: downloads,
    },
    {
      method: 'GET',
      path: 'actions/runners/:id',
      permission: 'administration',
      level: 'read',
      handle: (context) => ({ status: 200, body: runnerBody(runnerOf(context)) }),
    },
    {
      method: 'DELETE',
      path: 'actions/runners/:id',
      permission: 'administration',
      level: 'write',
      handle: deleteRunner,
    },
    {
      method: 'PUT',
      path: 'actions/runners/:id/labels',
      permission: 'administration',
      level: 'write',
      handle: setLabels,
    },
  ];
  const routes: Route[] = [
    ...runnerRoutes,
    { method: 'GET', path: 'actions/runs', permission: 'actions', level: 'read', handle: listRuns },
    { method: 'GET', path: 'actions/runs/:id/jobs', permission: 'actions', level: 'read', handle: listJobs },
  ];
  const organizationRoutes: Route[] = [
    ...runnerRoutes.map((route) => ({ ...route, permission: 'organization_self_hosted_runners' })),
    {
      method: 'GET',
      path: 'actions/runner-groups',
      permission: 'organization_self_hosted_runners',
      level: 'read',
      handle: listGroups,
    },
  ];

  /** Undefined for a path that the API does not have. */
  function handle(request: Incoming): Answer | undefined {
    const path = request.path.replace(/^\/api\/v3(?=\/)/, '');
    if (!request.headers['user-agent']) {
      throw new Refused(
        403,
        'Request forbidden by administrative rules. Please make sure your request has a User-Agent header.',
      );
    }
    const version = request.headers['x-github-api-version'];
    if (version !== undefined && !API_VERSIONS.includes(String(version))) {
      throw new Refused(400, `${version} is not a supported version of the API`);
    }
    const caller = credentials.callerOf(request);
    request.caller = caller.key;
    if (path === '/rate_limit') return { status: 200, body: limits.overview(caller.key) };

    const [, appInstallation] = /^\/app\/installations\/(\d+)\/access_tokens$/.exec(path) ?? [];
    if (appInstallation !== undefined && request.method === 'POST') {
      return { status: 201, body: credentials.createToken(caller, Number(appInstallation), request.json()) };
    }
    const [, kind, owner = '', repositoryPart, rest = ''] =
      /^\/(?:(repos)\/([^/]+)\/([^/]+)|orgs\/[^/]+)\/(.+)$/.exec(path) ?? [];
    const isRepository = kind === 'repos';
    const account = isRepository ? owner : (/^\/orgs\/([^/]+)\//.exec(path)?.[1] ?? '');
    if (account === '') return undefined;
    const repository = isRepository ? repositoryPart : undefined;
    if (rest === 'installation' && request.method === 'GET') {
      return { status: 200, body: credentials.installationOf(caller, account, repository) };
    }
    for (const route of isRepository ? routes : organizationRoutes) {
      const match = new RegExp(`^${route.path.replace(':id', '(\\d+)')}$`).exec(rest);
      if (!match || route.method !== request.method) continue;
      return answer(route, {
        request,
        caller,
        owner: account,
        repository,
        scope: scopeOf(account, repository),
        id: Number(match[1]),
      });
    }
    const [, workflow] = /^actions\/workflows\/([^/]+)\/runs$/.exec(rest) ?? [];
    if (workflow !== undefined && isRepository && request.method === 'GET') {
      const route: Route = {
        method: 'GET',
        path: 'actions/workflows',
        permission: 'actions',
        level: 'read',
        handle: (context) => listRuns(context, decodeURIComponent(workflow)),
      };
      return answer(route, {
        request,
        caller,
        owner: account,
        repository,
        scope: scopeOf(account, repository),
        id: 0,
      });
    }
    return undefined;
  }

  function answer(route: Route, context: Context): Answer {
    const { request, caller, owner, repository } = context;
    const resource = route.resource ?? 'core';
    limits.check(caller.key, resource, `${route.method} ${route.path}`, request.method === 'GET');
    try {
      credentials.authorize(caller, route.permission, route.level, owner, repository);
      const given = route.handle(context);
      return limits.count(
        caller.key,
        resource,
        request.method === 'GET' ? conditional(context, given) : given,
      );
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      return limits.count(caller.key, resource, error.answer);
    }
  }

  /** Spelling of the repository or owner as the stand-in was given it. */
  function scopeOf(owner: string, repository: string | undefined): string {
    const full = repository === undefined ? owner : `${owner}/${repository}`;
    const known = [...model.repositories, ...model.repositories.map((name) => name.split('/')[0] ?? '')];
    return known.find((name) => name.toLowerCase() === full.toLowerCase()) ?? full;
  }

  function createJitConfig({ request, scope, repository }: Context): Answer {
    const asked = parseBody(jitRequest, request.json());
    if (repository === undefined) {
      const group = groups.find(({ id }) => id === asked.runner_group_id);
      if (!group) throw new Refused(404, 'Not Found');
      if (group.name === HOSTED_GROUP) throw new Refused(403, 'Runners cannot be added to this group.');
    } else if (asked.runner_group_id !== 1) {
      throw new Refused(404, 'Not Found');
    }
    const runner = model.register({
      name: asked.name,
      labels: asked.labels,
      groupId: asked.runner_group_id,
      workFolder: asked.work_folder,
      scope,
    });
    return {
      status: 201,
      body: { runner: runnerBody(runner), encoded_jit_config: jitConfig(runner, url()) },
    };
  }

  function listRunners({ request, scope }: Context): Answer {
    const name = request.query.get('name');
    const runners = model.listed(scope).filter((runner) => name === null || runner.name === name);
    return page(request, 'runners', runners.map(runnerBody));
  }

  function downloads(): Answer {
    const { latestVersion } = settings();
    const { sha256 } = archives.of(latestVersion);
    // One archive for all: the fake listener needs Node and bash.
    const file = (os: string, architecture: string) => {
      const filename = `actions-runner-${os}-${architecture}-${latestVersion}.tar.gz`;
      return {
        os,
        architecture,
        download_url: `${url()}/downloads/v${latestVersion}/${filename}`,
        filename,
        sha256_checksum: sha256,
      };
    };
    return { status: 200, body: [file('linux', 'x64'), file('linux', 'arm64'), file('osx', 'arm64')] };
  }

  function runnerOf({ scope, id }: Context): Runner {
    const runner = state.runners.find(
      (candidate) => candidate.id === id && candidate.scope === scope && !candidate.ghost,
    );
    if (!runner) throw new Refused(404, 'Not Found');
    return runner;
  }

  function deleteRunner(context: Context): Answer {
    const runner = runnerOf(context);
    if (model.reportedBusy(runner)) {
      throw new Refused(422, `Bad request - Runner "${runner.name}" is still running a job"`);
    }
    model.remove(runner);
    return { status: 204 };
  }

  function setLabels(context: Context): Answer {
    const runner = runnerOf(context);
    const { labels } = parseBody(labelsRequest, context.request.json());
    runner.labels = [...new Set(labels.map((label) => label.toLowerCase()))];
    if (settings().labelChangesAct) runner.matched = runner.labels;
    return { status: 200, body: { total_count: runner.labels.length, labels: labelBodies(runner) } };
  }

  function listGroups({ request }: Context): Answer {
    const rows = groups.map(({ id, name, visibility = 'all', default: isDefault }) => ({
      id,
      name,
      visibility,
      default: isDefault ?? id === 1,
      inherited: false,
      allows_public_repositories: false,
    }));
    return page(request, 'runner_groups', rows);
  }

  function listRuns({ request, scope }: Context, workflow?: string): Answer {
    const status = request.query.get('status');
    const filtered = [...FILTERS].some((name) => request.query.has(name));
    const runs = state.runs
      .filter((run) => run.repository === scope && (workflow === undefined || isWorkflow(run, workflow)))
      .map(runBody)
      .filter((run) => status === null || run.status === status || run.conclusion === status)
      .reverse();
    return page(request, 'workflow_runs', filtered ? runs.slice(0, MOST_FILTERED_RUNS) : runs);
  }

  function listJobs({ request, scope, id }: Context): Answer {
    const run = state.runs.find((candidate) => candidate.id === id && candidate.repository === scope);
    if (!run) throw new Refused(404, 'Not Found');
    return page(
      request,
      'jobs',
      jobsOf(run).map((job) => jobBody(job)),
    );
  }

  function jobsOf(run: Run): GithubJob[] {
    return state.jobs.filter(({ runId }) => runId === run.id);
  }

  function runBody(run: Run) {
    const states = jobsOf(run).map(statusOf);
    const first = ['queued', 'in_progress', 'waiting', 'pending', 'requested'].find((status) =>
      states.includes(status),
    );
    const results = new Set(jobsOf(run).map(conclusionOf));
    const conclusion = ['failure', 'cancelled', 'success'].find((name) => results.has(name)) ?? null;
    return {
      id: run.id,
      name: run.workflow,
      path: `.github/workflows/${run.workflow}.yml`,
      status: first ?? 'completed',
      conclusion: first === undefined ? conclusion : null,
      run_attempt: 1,
      head_branch: 'main',
      event: 'push',
      created_at: iso(run.createdAt),
      repository: { full_name: run.repository },
    };
  }

  /** Also the `workflow_job` of webhooks. */
  function jobBody(job: GithubJob) {
    const run = state.runs.find(({ id }) => id === job.runId);
    return {
      id: Number(job.id),
      run_id: job.runId,
      run_attempt: 1,
      status: statusOf(job),
      conclusion: conclusionOf(job),
      created_at: iso(job.queuedAt),
      started_at: iso(job.startedAt ?? job.queuedAt),
      completed_at: job.finishedAt === undefined ? null : iso(job.finishedAt),
      labels: job.target,
      runner_id: job.runnerId ?? null,
      runner_name: job.runnerId === undefined ? null : (job.agent ?? null),
      runner_group_id: job.groupId ?? null,
      runner_group_name: groups.find(({ id }) => id === job.groupId)?.name ?? null,
      name: job.name,
      workflow_name: run?.workflow ?? null,
      head_branch: 'main',
    };
  }

  function runnerBody(runner: Runner) {
    return {
      id: runner.id,
      name: runner.name,
      os: 'linux',
      status: model.isOnline(runner) ? 'online' : 'offline',
      busy: model.reportedBusy(runner),
      labels: labelBodies(runner),
      runner_group_id: runner.groupId,
      ephemeral: true,
      version: runner.version,
    };
  }

  return { handle, jobBody };
}

/** Parameters of the list of runs that are filters. */
const FILTERS = new Set(['status', 'created', 'branch', 'event', 'actor', 'head_sha', 'check_suite_id']);

function isWorkflow(run: Run, workflow: string): boolean {
  return run.workflow === workflow || `${run.workflow}.yml` === workflow;
}

function statusOf(job: GithubJob): string {
  if (job.state === 'finished') return 'completed';
  if (job.state === 'running') return 'in_progress';
  return job.held ?? 'queued';
}

function conclusionOf(job: GithubJob): string | null {
  if (job.result === undefined) return null;
  return { succeeded: 'success', failed: 'failure', cancelled: 'cancelled', lost: 'failure' }[job.result];
}

/** One page of a list, with the link to the next. */
function page(request: Incoming, name: string, rows: readonly unknown[]): Answer {
  const perPage = Math.min(100, positive(request.query.get('per_page'), 30));
  const number = positive(request.query.get('page'), 1);
  const last = Math.max(1, Math.ceil(rows.length / perPage));
  const link = (rel: string, to: number) => {
    const query = new URLSearchParams(request.query);
    query.set('page', String(to));
    return `<http://${request.headers.host}${request.path}?${query}>; rel="${rel}"`;
  };
  const links = [
    ...(number > 1 ? [link('prev', number - 1), link('first', 1)] : []),
    ...(number < last ? [link('next', number + 1), link('last', last)] : []),
  ];
  return {
    status: 200,
    body: { total_count: rows.length, [name]: rows.slice((number - 1) * perPage, number * perPage) },
    ...(links.length > 0 && { headers: { link: links.join(', ') } }),
  };
}

function positive(text: string | null, otherwise: number): number {
  const value = Number(text);
  return Number.isInteger(value) && value > 0 ? value : otherwise;
}

/** 304 if the caller has this answer. The tag depends on the credential, as GitHub's does. */
function conditional({ request, caller }: Context, answer: Answer): Answer {
  const credential = caller.kind === 'app' ? caller.key : caller.credential;
  const digest = createHash('sha256').update(credential).update(JSON.stringify(answer.body)).digest('hex');
  const headers = {
    ...answer.headers,
    etag: `W/"${digest}"`,
    'cache-control': 'private, max-age=60, s-maxage=60',
  };
  return request.headers['if-none-match'] === headers.etag
    ? { status: 304, headers }
    : { ...answer, headers };
}

/**
 * The content of a just-in-time configuration, as GitHub packs it: files by name. What is in the files belongs to the listener of
 * this repository, except the names in `.runner`.
 */
function jitConfig(runner: Runner, url: string): string {
  const file = (content: unknown) => Buffer.from(JSON.stringify(content)).toString('base64');
  const files = {
    '.runner': file({
      AgentId: String(runner.id),
      AgentName: runner.name,
      PoolId: '1',
      PoolName: 'Default',
      ServerUrl: url,
      GitHubUrl: `${url}/${runner.scope}`,
      WorkFolder: runner.workFolder,
      Ephemeral: true,
    }),
    '.credentials': file({ Scheme: 'OAuth', Data: { ClientId: String(runner.id), Token: runner.token } }),
    '.credentials_rsaparams': file({ note: 'the stand-in uses the token of .credentials instead' }),
  };
  return Buffer.from(JSON.stringify(files)).toString('base64');
}

function labelBodies(runner: Runner) {
  return runner.labels.map((name, index) => ({ id: index + 1, name, type: 'custom' }));
}

function iso(milliseconds: number): string {
  return new Date(milliseconds).toISOString().replace(/\.\d+Z$/, 'Z');
}
