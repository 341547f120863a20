import * as v from 'valibot';
import type { InstanceState } from '../../../shared/aws/auto-scaling.ts';
import type { SecretReader } from '../../../shared/aws/secret-reader.ts';
import { buildkiteAgents } from '../../../shared/ci/buildkite/agents.ts';
import { circleciAgents } from '../../../shared/ci/circleci/credentials.ts';
import { githubRunners } from '../../../shared/ci/github/runners.ts';
import { declaredGroups } from '../../../shared/fleet/declared-groups.ts';
import { GROUPS_KEY, type GroupSettings } from '../../../shared/fleet/group-settings.ts';
import { registrationAnswerSchema } from '../../../shared/fleet/registration.ts';
import type { UrlAnswer } from '../../../shared/runtime/define-url-function.ts';
import type { MetricSink } from '../../../shared/runtime/metrics.ts';
import { type MemoryStore, memoryStore } from '../../../shared/snapshot/testing/memory-store.ts';
import { handleRequest } from '../handle-request.ts';
import type { RegistrationDeps } from '../ports.ts';
import { FakeGithub, PEM } from './fake-github.ts';

export const ACCOUNT = '123456789012';
export const INSTANCE = 'i-0123456789abcdef0';
export const OTHER_INSTANCE = 'i-0fedcba9876543210';

const common = { minRunners: 0, maxRunners: 9, takesJobs: true };

/** One group of each provider, and one of an organization. */
export const GROUPS = {
  'gha/default': {
    ...common,
    provider: 'gha',
    role: 'aw-gha-default',
    autoScalingGroup: 'aw-gha-default',
    apiUrl: 'https://api.github.test',
    owner: 'acme',
    repository: 'monorepo',
    labels: ['hearth', 'hearth-default'],
    appSecret: 'app-secret',
    tokenSecret: 'token-secret',
  },
  'gha/org': {
    ...common,
    provider: 'gha',
    role: 'aw-gha-org',
    autoScalingGroup: 'aw-gha-org',
    apiUrl: 'https://api.github.test',
    owner: 'acme',
    runnerGroup: 'trusted',
    labels: ['org'],
    appSecret: 'app-secret',
    tokenSecret: 'token-secret',
  },
  'gha/warming': {
    ...common,
    takesJobs: false,
    provider: 'gha',
    role: 'aw-gha-warming',
    autoScalingGroup: 'aw-gha-warming',
    apiUrl: 'https://api.github.test',
    owner: 'acme',
    repository: 'monorepo',
    labels: ['warming'],
    appSecret: 'app-secret',
    tokenSecret: 'token-secret',
  },
  'bk/default': {
    ...common,
    provider: 'bk',
    role: 'aw-bk-default',
    autoScalingGroup: 'aw-bk-default',
    apiUrl: 'https://agent.buildkite.test/v3',
    queue: 'default',
    tokenSecret: 'bk-secret',
  },
  'cci/default': {
    ...common,
    provider: 'cci',
    role: 'aw-cci-default',
    autoScalingGroup: 'aw-cci-default',
    apiUrl: 'https://runner.circleci.test',
    credentialsSecret: 'cci-secret',
  },
} satisfies Record<string, GroupSettings>;

export type GroupId = keyof typeof GROUPS;

/** The function with its store, providers and Auto Scaling in memory. A test advances the time. */
export type FakeRegistration = {
  deps: RegistrationDeps;
  github: FakeGithub;
  store: MemoryStore;
  /** Text of each secret; undefined: it has no value. */
  secrets: Map<string, string | undefined>;
  instances: Map<string, InstanceState>;
  /** `<name> <value> <dimensions>` of every metric. */
  metrics: string[];
  /** Messages and fields of every log line. */
  log: string[];
  now(): Date;
  pass(seconds: number): void;
  /** Puts an instance into the group, in service unless a state is given. */
  launch(instanceId?: string, group?: GroupId, lifecycleState?: string): void;
  /** A request as the URL delivers it. */
  request(
    body: unknown,
    options?: { instanceId?: string; group?: GroupId; arn?: string },
  ): Promise<UrlAnswer>;
  /** A new execution environment: everything in memory is gone. */
  restart(): void;
  record(instanceId?: string): Promise<Record<string, unknown> | undefined>;
};

export function fakeRegistration(): FakeRegistration {
  let time = Date.parse('2026-11-23T08:00:00Z');
  const now = () => new Date(time);
  const clock = { now };
  const store = memoryStore(now);
  store.put(GROUPS_KEY, JSON.stringify({ version: 1, groups: GROUPS }));
  const github = new FakeGithub(now);
  const secrets = new Map<string, string | undefined>([
    ['app-secret', JSON.stringify({ appId: 12, privateKey: PEM })],
    ['token-secret', undefined],
    ['bk-secret', 'bk-agent-token'],
    [
      'cci-secret',
      JSON.stringify({
        resource_class: 'acme/linux',
        auth_token: 'cci-class-token',
        access_token: 'cci-user',
      }),
    ],
  ]);
  const instances = new Map<string, InstanceState>();
  const metrics: string[] = [];
  const log: string[] = [];
  const sink: MetricSink = {
    add: (name, value, dimensions) => {
      metrics.push([name, value, ...Object.values(dimensions)].join(' '));
    },
  };
  const line = (message: string, fields?: object) => log.push(`${message} ${JSON.stringify(fields)}`);

  function fresh(): RegistrationDeps {
    const cached = new Map<string, string>();
    const reader = (secretId: string): SecretReader => ({
      async get() {
        const text = cached.get(secretId) ?? secrets.get(secretId);
        if (text !== undefined) cached.set(secretId, text);
        return text;
      },
      refresh: () => cached.delete(secretId),
    });
    const shared = { secrets: reader, clock, tokens: new Map(), runnerGroups: new Map() };
    return {
      prefix: 'aw',
      account: ACCOUNT,
      groups: declaredGroups(store, clock),
      providers: {
        async open(settings, key, options) {
          if (settings.provider === 'gha') return githubRunners(settings, key, shared, options);
          if (settings.provider === 'bk') return buildkiteAgents(settings, shared, options);
          return circleciAgents(settings, reader);
        },
      },
      autoScaling: {
        describeInstance: async (instanceId) => instances.get(instanceId),
        listInstances: async () => new Map(instances),
      },
      store,
      states: new Map(),
      turns: new Map(),
      lists: new Map(),
      metrics: sink,
      logger: { warn: line, error: line },
      clock,
      random: () => 0,
    };
  }

  const fake: FakeRegistration = {
    deps: fresh(),
    github,
    store,
    secrets,
    instances,
    metrics,
    log,
    now,
    pass: (seconds) => {
      time += seconds * 1000;
    },
    launch(instanceId = INSTANCE, group = 'gha/default', lifecycleState = 'InService') {
      instances.set(instanceId, { autoScalingGroup: GROUPS[group].autoScalingGroup, lifecycleState });
    },
    request(body, { instanceId = INSTANCE, group = 'gha/default', arn } = {}) {
      return handleRequest(
        {
          id: 'r-1',
          method: 'POST',
          path: '/',
          headers: {},
          body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
          caller: {
            account: ACCOUNT,
            arn: arn ?? `arn:aws:sts::${ACCOUNT}:assumed-role/${GROUPS[group].role}/${instanceId}`,
          },
          signal: new AbortController().signal,
        },
        fake.deps,
      );
    },
    restart() {
      fake.deps = fresh();
    },
    async record(instanceId = INSTANCE) {
      const stored = await store.read(`registrations/${instanceId}.json`);
      return stored && JSON.parse(stored.text);
    },
  };
  return fake;
}

/** The body of an answer, if it is one of the contract's. */
export function answerBody({ body }: UrlAnswer): v.InferOutput<typeof registrationAnswerSchema> {
  return v.parse(registrationAnswerSchema, body);
}
