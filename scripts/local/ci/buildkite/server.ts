import { controlOf } from '../control.ts';
import { downloadsOf } from '../downloads.ts';
import { startServer } from '../http.ts';
import { type Change, change, type StandIn, type StandInOptions } from '../stand-in.ts';
import { keep } from '../state-file.ts';
import { agentApi } from './agent-api.ts';
import { buildkiteEvents, type Delivery, type PartnerEvent, type WebhookTarget } from './events.ts';
import {
  type Agent,
  type BuildkiteBehaviour,
  type BuildkiteJob,
  type BuildkiteJobRequest,
  buildkiteBehaviour,
  buildkiteDefaults,
  buildkiteJobRequest,
  buildkiteModel,
} from './model.ts';

export type BuildkiteOptions = StandInOptions & {
  organization?: string;
  cluster?: string;
  /** Keys of the queues of the cluster. Default: `default`. */
  queues?: readonly string[];
  /** Tokens that may register agents and read metrics. Default: none, so nothing may. */
  agentTokens?: readonly string[];
  webhook?: WebhookTarget;
  /** Gets each event of the Amazon EventBridge partner source. */
  onPartnerEvent?: (event: PartnerEvent) => void;
  behaviour?: Change<BuildkiteBehaviour>;
};

/** A registration as `registrations()` shows it. */
export type BuildkiteRegistration = Omit<Agent, 'token'>;

export type Buildkite = Omit<
  StandIn<BuildkiteJobRequest, BuildkiteRegistration, BuildkiteBehaviour>,
  'jobs'
> & {
  jobs(): readonly BuildkiteJob[];
  /** Webhook deliveries so far. */
  deliveries(): readonly Delivery[];
};

const ADVANCE_EVERY_MS = 20;

/** Starts a stand-in of Buildkite that satisfies buildkite-agent v3.138: Agent API, metrics, webhooks, partner events. */
export async function startBuildkite(options: BuildkiteOptions = {}): Promise<Buildkite> {
  const organization = options.organization ?? 'acme';
  const behaviour: BuildkiteBehaviour = { ...buildkiteDefaults };
  change(behaviour, options.behaviour ?? {});
  const settings = () => behaviour;
  const archives = downloadsOf('bk');
  const kept = keep(options.stateFile, {
    nextNumber: 1,
    jobs: [] as BuildkiteJob[],
    agents: [] as Agent[],
  });
  const events = buildkiteEvents(options.webhook, options.onPartnerEvent, organization, settings);
  const model = buildkiteModel(kept.state, options.queues ?? ['default'], settings, events.announce);
  const api = agentApi(
    model,
    organization,
    options.cluster ?? 'Default cluster',
    options.agentTokens ?? [],
    settings,
    () => server.url,
  );

  const standIn = {
    queueJob: model.queueJob,
    cancelJob: model.cancelJob,
    jobs: () => kept.state.jobs,
    registrations: () => kept.state.agents.map(({ token: _, ...agent }) => agent),
    behave: (by: Change<BuildkiteBehaviour>) => change(behaviour, by),
    requests: () => server.requests,
  };
  const control = controlOf(standIn, buildkiteJobRequest, buildkiteBehaviour);
  const server = await startServer(
    options,
    async (request) => {
      const answer = archives.handle(request) ?? control(request) ?? api.handle(request);
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
    deliveries: () => events.deliveries,
    async close() {
      clearInterval(timer);
      await events.close();
      await server.close();
      kept.save();
    },
  };
}
