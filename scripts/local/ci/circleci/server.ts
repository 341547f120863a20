import { randomUUID } from 'node:crypto';
import { controlOf } from '../control.ts';
import { downloadsOf } from '../downloads.ts';
import { startServer } from '../http.ts';
import { type Change, change, type StandIn, type StandInOptions } from '../stand-in.ts';
import { keep } from '../state-file.ts';
import {
  type CircleciBehaviour,
  type CircleciJobRequest,
  type CircleciRunner,
  type CircleciState,
  circleciBehaviour,
  circleciDefaults,
  circleciJobRequest,
  circleciModel,
} from './model.ts';
import { runnerApi } from './runner-api.ts';

export type CircleciOptions = StandInOptions & {
  /** Tokens of each resource class, by its name `namespace/name`. Default: `acme/default` without a token. */
  resourceClasses?: Readonly<Record<string, readonly string[]>>;
  /** Personal API tokens. Default: none, so the runner API refuses every call. */
  apiTokens?: readonly string[];
  behaviour?: Change<CircleciBehaviour>;
};

export type Circleci = StandIn<CircleciJobRequest, CircleciRunner, CircleciBehaviour>;

const ADVANCE_EVERY_MS = 20;

/** Starts a stand-in of CircleCI: the runner API, and the service that `agents/cci.mts` claims tasks from. */
export async function startCircleci(options: CircleciOptions = {}): Promise<Circleci> {
  const behaviour: CircleciBehaviour = { ...circleciDefaults };
  change(behaviour, options.behaviour ?? {});
  const settings = () => behaviour;
  const archives = downloadsOf('cci');
  const classes = Object.entries(options.resourceClasses ?? { 'acme/default': [] });
  const kept = keep<CircleciState>(options.stateFile, {
    jobs: [],
    runners: [],
    classes: classes.map(([name]) => ({ id: randomUUID(), name, description: '' })),
    tokens: classes.flatMap(([resourceClass, values]) =>
      values.map((value) => ({
        id: randomUUID(),
        resourceClass,
        nickname: 'given',
        value,
        createdAt: Date.now(),
      })),
    ),
  });
  const model = circleciModel(kept.state, settings);
  const api = runnerApi(model, options.apiTokens ?? [], settings);

  const standIn = {
    queueJob: model.queueJob,
    cancelJob: model.cancelJob,
    jobs: () => kept.state.jobs,
    registrations: () => kept.state.runners,
    behave: (by: Change<CircleciBehaviour>) => change(behaviour, by),
    requests: () => server.requests,
  };
  const control = controlOf(standIn, circleciJobRequest, circleciBehaviour);
  const server = await startServer(
    options,
    async (request) => {
      const answer = archives.handle(request) ?? control(request) ?? (await api.handle(request));
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
    async close() {
      clearInterval(timer);
      await server.close();
      kept.save();
    },
  };
}
