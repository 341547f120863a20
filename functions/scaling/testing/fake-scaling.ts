import type { JobList, QueueCounts, QueuedJob } from '../../../shared/ci/backlog.ts';
import type { RunnerGroup } from '../../../shared/fleet/declared-groups.ts';
import type { GroupSettings } from '../../../shared/fleet/group-settings.ts';
import type { Message } from '../../../shared/runtime/message.ts';
import type { Outcome } from '../../../shared/runtime/outcome.ts';
import { type MemoryStore, memoryStore } from '../../../shared/snapshot/testing/memory-store.ts';
import { envelope, message, outcomeOf } from '../../../test/support/sqs.ts';
import { handleScalingMessage } from '../handle.ts';
import { type FleetGroup, freshMemory, type ScalingDeps } from '../ports.ts';

/** The function with its groups, providers and Auto Scaling in memory. A test moves the time. */
export type FakeScaling = {
  deps: ScalingDeps;
  groups: Map<string, RunnerGroup>;
  fleet: Map<string, FleetGroup>;
  /** What GitHub answers per repository, or its refusal. */
  jobs: Map<string, JobList | Error>;
  /** What Buildkite answers per queue, and CircleCI per secret, or their refusal. */
  queues: Map<string, QueueCounts> | Error;
  pollSeconds: number;
  /** Times of the reads in seconds since the start, by repository, or by secret of Buildkite and CircleCI. */
  reads: { repository: string; at: number; workflows: string[] | undefined }[];
  /** `<name> <value> <dimension>` of every metric. */
  metrics: string[];
  /** The groups of each line `backlog read`. */
  logged: unknown[];
  store: MemoryStore;
  /** Groups that cannot launch. */
  failing: Map<string, string>;
  now(): number;
  pass(seconds: number): void;
  /** A group of the provider in its id; those of Buildkite and CircleCI have the queue `q` and the secret `secret`. */
  declare(id: string, change?: Partial<GroupSettings>): void;
  /** Puts instances in service into a group, or with another state. */
  launch(id: string, count: number, lifecycleState?: string): string[];
  /** The message of a minute. */
  poll(change?: Partial<Message>): Promise<Outcome>;
  desired(id: string): number;
  restart(): void;
};

const nameOf = (id: string) => `aw-${id.replace('/', '-')}`;

export function fakeScaling(): FakeScaling {
  const start = Date.parse('2026-11-23T08:00:00Z');
  let time = start;
  let launched = 0;
  let sent = 0;
  const clock = { now: () => new Date(time) };
  const store = memoryStore(clock.now);

  function fresh(): ScalingDeps {
    return {
      prefix: 'aw',
      groups: { all: async () => [...fake.groups.values()] },
      backlogs: {
        async github(settings, workflows) {
          return {
            installation: 'acme',
            async read(reserve) {
              await reserve(2);
              const repository = settings.repository ?? '';
              const at = (time - start) / 1000;
              fake.reads.push({ repository, at, workflows: workflows && [...workflows] });
              const list = fake.jobs.get(repository) ?? { queued: [], running: [], isComplete: true };
              if (list instanceof Error) throw list;
              return list;
            },
          };
        },
        async buildkite(settings) {
          fake.reads.push({
            repository: settings.tokenSecret,
            at: (time - start) / 1000,
            workflows: undefined,
          });
          const { queues } = fake;
          if (queues instanceof Error) throw queues;
          return { queues, pollSeconds: fake.pollSeconds };
        },
        async circleci(settings) {
          fake.reads.push({
            repository: settings.credentialsSecret,
            at: (time - start) / 1000,
            workflows: undefined,
          });
          const { queues } = fake;
          if (queues instanceof Error) throw queues;
          return queues.get(settings.credentialsSecret) ?? { queued: 0, running: 0 };
        },
      },
      autoScaling: {
        list: async () => new Map([...fake.fleet].map(([name, group]) => [name, { ...group }])),
        describe: async (name) => fake.fleet.get(name),
        async setDesired(name, desired) {
          const group = fake.fleet.get(name);
          if (group) group.desired = desired;
        },
        failedLaunch: async (name) => fake.failing.get(name),
      },
      store,
      memory: freshMemory(),
      metrics: {
        add: (name, value, dimensions) =>
          fake.metrics.push([name, value, ...Object.values(dimensions)].join(' ')),
      },
      logger: { info: (_, fields) => void fake.logged.push(fields?.groups), warn() {}, error() {} },
      clock,
      sleep: async (milliseconds) => {
        time += milliseconds;
      },
      random: () => 0,
    };
  }

  const fake: FakeScaling = {
    groups: new Map(),
    fleet: new Map(),
    jobs: new Map(),
    queues: new Map(),
    pollSeconds: 10,
    reads: [],
    metrics: [],
    logged: [],
    store,
    failing: new Map(),
    deps: undefined as unknown as ScalingDeps,
    now: () => time,
    pass: (seconds) => {
      time += seconds * 1000;
    },
    declare(id, change = {}) {
      const settings = {
        provider: id.replace(/\/.*/, ''),
        queue: 'q',
        credentialsSecret: 'secret',
        role: nameOf(id),
        autoScalingGroup: nameOf(id),
        minRunners: 0,
        maxRunners: 20,
        takesJobs: true,
        apiUrl: 'https://api.github.test',
        owner: 'acme',
        repository: 'monorepo',
        labels: ['linux'],
        appSecret: 'app',
        tokenSecret: 'token',
        ...change,
      } as GroupSettings;
      fake.groups.set(id, { id, settings });
      fake.fleet.set(nameOf(id), { name: nameOf(id), max: settings.maxRunners, desired: 0, instances: [] });
    },
    launch(id, count, lifecycleState = 'InService') {
      const group = fake.fleet.get(nameOf(id));
      if (!group) throw new Error(`no group ${id}`);
      const made = Array.from({ length: count }, () => {
        launched += 1;
        return { instanceId: `i-${String(launched).padStart(17, '0')}`, lifecycleState };
      });
      fake.fleet.set(group.name, {
        ...group,
        desired: group.desired + count,
        instances: [...group.instances, ...made],
      });
      return made.map(({ instanceId }) => instanceId);
    },
    poll(change = {}) {
      sent += 1;
      const body = envelope('aw.schedule', 'Backlog Poll Due', {});
      const received = message(body, { id: `m-${sent}`, sentAt: new Date(time), ...change });
      return outcomeOf(handleScalingMessage(received, fake.deps));
    },
    desired: (id) => fake.fleet.get(nameOf(id))?.desired ?? Number.NaN,
    restart() {
      fake.deps = fresh();
    },
  };
  fake.deps = fresh();
  return fake;
}

/** Queued jobs that wait for a minute. */
export function queued(fake: FakeScaling, count: number, labels = ['linux'], prefix = 'job'): QueuedJob[] {
  return Array.from({ length: count }, (_, index) => ({
    id: `${prefix}-${index}`,
    labels,
    workflow: [],
    since: fake.now() - 60_000,
  }));
}
