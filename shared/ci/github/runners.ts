import * as v from 'valibot';
import type { Clock } from '../../runtime/clock.ts';
import type { Secrets } from '../credential.ts';
import {
  type CallOptions,
  type IssueRequest,
  type IssueResult,
  type KnownRegistration,
  ProviderError,
  type RegistrationClient,
  type RemovableRegistrations,
  type SettingsOf,
} from '../provider.ts';
import { type GithubCall, githubApi, readAnswer, type TokenCache } from './api.ts';
import { githubCredential } from './credentials.ts';

/** Most runners per page of a list (REST API, "List self-hosted runners"). */
const PAGE = 100;

/** Life of the id of a runner group, in milliseconds. */
const GROUP_MS = 10 * 60_000;

/** The runner group of every repository (terraform-aws-github-runner uses the same); a repository cannot have others. */
const REPOSITORY_GROUP = 1;

/** Refusals that are about one runner: 4xx without those about the credential, the time and the rate. */
const ABOUT_RUNNER = Array.from({ length: 100 }, (_, index) => 400 + index).filter(
  (status) => ![401, 408, 429].includes(status),
);

const runnerSchema = v.object({
  id: v.number(),
  name: v.string(),
  status: v.optional(v.string(), 'offline'),
  busy: v.optional(v.boolean(), false),
});
const jitSchema = v.object({
  runner: v.object({ id: v.number() }),
  encoded_jit_config: v.pipe(v.string(), v.nonEmpty()),
});
const runnersSchema = v.object({ runners: v.array(runnerSchema) });
const groupsSchema = v.object({
  runner_groups: v.array(
    v.object({ id: v.number(), name: v.string(), default: v.optional(v.boolean(), false) }),
  ),
});

/** What the clients of one execution environment share. */
export type GithubShared = {
  secrets: Secrets;
  tokens: TokenCache;
  /** Ids of runner groups with the time of their reading, by organization and name. */
  runnerGroups: Map<string, { id: number; at: number }>;
  clock: Clock;
};

/**
 * The self-hosted runners of a repository or an organization: just-in-time registrations, each for one job.
 *
 * @param key selects one of several GitHub Apps
 * @throws {ProviderError} `credential` if there is no usable credential
 */
export async function githubRunners(
  settings: SettingsOf<'gha'>,
  key: string,
  shared: GithubShared,
  options: CallOptions,
): Promise<RegistrationClient> {
  const { owner, repository } = settings;
  const readCredential = () => githubCredential(shared.secrets, settings, key);
  const credential = await readCredential();
  const call = githubApi({
    ...options,
    ...shared,
    settings,
    credential,
    readCredential,
    permissions:
      repository === undefined ? { organization_self_hosted_runners: 'write' } : { administration: 'write' },
  });
  const base =
    repository === undefined
      ? `/orgs/${encodeURIComponent(owner)}/actions`
      : `/repos/${encodeURIComponent(owner)}/${encodeURIComponent(repository)}/actions`;
  const scope = `${settings.apiUrl}${base}`;
  const account = credential.kind === 'app' ? `app ${credential.appId}` : credential.secretId;

  return {
    installation: `${settings.apiUrl} ${owner} ${account}`,
    issue: (request) => issue(request, settings, { call, base, shared }),
    removable: removableRunners(call, base, scope),
  };
}

type Call = (call: GithubCall) => ReturnType<ReturnType<typeof githubApi>>;

async function issue(
  { name }: IssueRequest,
  settings: SettingsOf<'gha'>,
  { call, base, shared }: { call: Call; base: string; shared: GithubShared },
): Promise<IssueResult> {
  const groupKey = `${settings.apiUrl} ${settings.owner} ${settings.runnerGroup ?? ''}`;
  const body = {
    name,
    labels: settings.labels,
    runner_group_id:
      settings.repository === undefined
        ? await runnerGroupId(settings, groupKey, call, shared)
        : REPOSITORY_GROUP,
  };
  try {
    const answer = await call({
      method: 'POST',
      path: `${base}/runners/generate-jitconfig`,
      body,
      accept: [409],
    });
    if (answer.status === 409) return 'name-taken';
    const { runner, encoded_jit_config: jitConfig } = readAnswer(jitSchema, answer.body);
    return { registration: { provider: 'gha', name, jitConfig }, id: runner.id };
  } catch (error) {
    // The runner group may have been deleted and made again.
    if (error instanceof ProviderError && error.kind === 'settings') shared.runnerGroups.delete(groupKey);
    throw error;
  }
}

async function runnerGroupId(
  { owner, runnerGroup }: SettingsOf<'gha'>,
  cacheKey: string,
  call: Call,
  { runnerGroups, clock }: GithubShared,
): Promise<number> {
  const now = clock.now().getTime();
  const cached = runnerGroups.get(cacheKey);
  if (cached && now - cached.at < GROUP_MS) return cached.id;
  const path = `/orgs/${encodeURIComponent(owner)}/actions/runner-groups`;
  for await (const { runner_groups: groups } of pages(call, path, groupsSchema)) {
    const found = groups.find((group) =>
      runnerGroup === undefined ? group.default : group.name === runnerGroup,
    );
    if (!found) continue;
    runnerGroups.set(cacheKey, { id: found.id, at: now });
    return found.id;
  }
  throw new ProviderError(
    'settings',
    `the organization ${owner} has no ${runnerGroup === undefined ? 'default runner group' : `runner group ${runnerGroup}`} that the credential may see`,
  );
}

function removableRunners(call: Call, base: string, scope: string): RemovableRegistrations {
  async function* list(query = ''): AsyncGenerator<KnownRegistration> {
    for await (const { runners } of pages(call, `${base}/runners`, runnersSchema, query)) {
      for (const { id, name, status, busy } of runners) yield { id, name, online: status === 'online', busy };
    }
  }

  return {
    scope,
    async stopAssignment(id) {
      const path = `${base}/runners/${id}`;
      const { status } = await call({
        method: 'PUT',
        path: `${path}/labels`,
        body: { labels: [] },
        accept: ABOUT_RUNNER,
      });
      if (status < 300) return 'stopped';
      if (status !== 404) return 'refused';
      // 404 is the answer for a registration that is gone, and for a server without the call.
      const runner = await call({ method: 'GET', path, accept: [404] });
      return runner.status === 404 ? 'gone' : 'refused';
    },
    async remove(id) {
      // Each of them but "not found" means "busy or unclear" (422, and 400 by an early note of GitHub's staff).
      const path = `${base}/runners/${id}`;
      const { status } = await call({ method: 'DELETE', path, accept: ABOUT_RUNNER });
      return status < 300 || status === 404 || status === 410 ? 'removed' : 'busy';
    },
    async find(name) {
      // Whether GitHub compares the name exactly or by its beginning is not documented.
      for await (const runner of list(`name=${encodeURIComponent(name)}&`)) {
        if (runner.name === name) return runner;
      }
      return undefined;
    },
    list: () => list(),
  };
}

/** Every page of a list. A page that is not full, or that has no next one by its `Link` header, is the last. */
async function* pages<S extends v.GenericSchema>(
  call: Call,
  path: string,
  schema: S,
  query = '',
): AsyncGenerator<v.InferOutput<S>> {
  for (let page = 1; ; page += 1) {
    const answer = await call({ method: 'GET', path: `${path}?${query}per_page=${PAGE}&page=${page}` });
    yield readAnswer(schema, answer.body);
    if (!/\brel="?next"?/.test(answer.headers.get('link') ?? '')) return;
  }
}
