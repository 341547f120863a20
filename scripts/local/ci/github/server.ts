import { controlOf } from '../control.ts';
import { downloadsOf } from '../downloads.ts';
import { startServer } from '../http.ts';
import { type Change, change, type StandIn, type StandInOptions } from '../stand-in.ts';
import { keep } from '../state-file.ts';
import { type GithubApp, githubCredentials, type InstallationToken } from './credentials.ts';
import { githubLimits } from './limits.ts';
import { listenerService } from './listener-service.ts';
import {
  freshState,
  type GithubBehaviour,
  type GithubJobRequest,
  githubBehaviour,
  githubDefaults,
  githubJobRequest,
  githubModel,
} from './model.ts';
import { githubRest, type RunnerGroup } from './rest.ts';
import { type Delivery, githubWebhooks, type WebhookTarget } from './webhooks.ts';

export type GithubOptions = StandInOptions & {
  /** `owner/name` of each. Every owner is an organization. Default: `acme/monorepo`. */
  repositories?: readonly string[];
  apps?: readonly GithubApp[];
  /** Plain tokens. They may do everything. */
  tokens?: readonly string[];
  /** Runner groups of organizations. Default: `Default` with the id 1. */
  runnerGroups?: readonly RunnerGroup[];
  webhook?: WebhookTarget;
  behaviour?: Change<GithubBehaviour>;
};

/** A registration as `registrations()` shows it. */
export type GithubRegistration = {
  id: number;
  name: string;
  scope: string;
  labels: readonly string[];
  groupId: number;
  online: boolean;
  version: string | null;
  jobId: string | undefined;
  /** The listener still polls, and the registration is gone. */
  ghost: boolean;
};

export type Github = StandIn<GithubJobRequest, GithubRegistration, GithubBehaviour> & {
  /** Webhook deliveries so far. */
  deliveries(): readonly Delivery[];
};

const ADVANCE_EVERY_MS = 20;

/** Starts a stand-in of GitHub: REST API, webhooks, and the service that the listener of `agents/gha.mts` polls. */
export async function startGithub(options: GithubOptions = {}): Promise<Github> {
  const repositories = options.repositories ?? ['acme/monorepo'];
  const groups = options.runnerGroups ?? [{ id: 1, name: 'Default', default: true }];
  const behaviour: GithubBehaviour = { ...githubDefaults };
  change(behaviour, options.behaviour ?? {});
  const settings = () => behaviour;
  const archives = downloadsOf('gha');
  const kept = keep(options.stateFile, { ...freshState(), tokens: [] as InstallationToken[] });
  const model = githubModel(kept.state, repositories, settings, (job, action) => webhooks.send(job, action));
  const credentials = githubCredentials(
    options.apps ?? [],
    options.tokens ?? [],
    repositories,
    kept.state.tokens,
    () => behaviour.tokenSeconds,
  );
  const rest = githubRest(
    model,
    credentials,
    githubLimits(settings),
    groups,
    settings,
    () => server.url,
    archives,
  );
  const webhooks = githubWebhooks(options.webhook, () => behaviour.webhookDeliveries, rest.jobBody);
  const listeners = listenerService(model, settings);

  const standIn = {
    queueJob: model.queueJob,
    cancelJob: model.cancelJob,
    jobs: () => kept.state.jobs,
    registrations: () =>
      kept.state.runners.map((runner) => ({
        id: runner.id,
        name: runner.name,
        scope: runner.scope,
        labels: runner.labels,
        groupId: runner.groupId,
        online: model.isOnline(runner),
        version: runner.version,
        jobId: runner.jobId,
        ghost: runner.ghost,
      })),
    behave: (by: Change<GithubBehaviour>) => change(behaviour, by),
    requests: () => server.requests,
  };
  const control = controlOf(standIn, githubJobRequest, githubBehaviour);

  const server = await startServer(
    options,
    async (request) => {
      const answer =
        archives.handle(request) ??
        control(request) ??
        (await listeners.handle(request)) ??
        rest.handle(request);
      kept.save();
      return answer;
    },
    () => behaviour.faults,
  );
  // What time alone changes follows again from an older state, so only requests save it.
  const timer = setInterval(() => model.advance(), ADVANCE_EVERY_MS);

  return {
    ...standIn,
    url: server.url,
    download: archives.of,
    deliveries: () => webhooks.deliveries,
    async close() {
      clearInterval(timer);
      await webhooks.close();
      await server.close();
      kept.save();
    },
  };
}
