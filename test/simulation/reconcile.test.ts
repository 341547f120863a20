import { describe, expect, test } from 'vitest';
import { groupRoles } from '../../functions/lifecycle/group-roles.ts';
import { handleLifecycleMessage, type LifecycleDeps } from '../../functions/lifecycle/handle.ts';
import type { AutoScalingPort } from '../../functions/lifecycle/ports.ts';
import { reportLimits } from '../../functions/lifecycle/report-limits.ts';
import { completeAction } from '../../scripts/local/autoscaling/core/actions.ts';
import { advance } from '../../scripts/local/autoscaling/core/advance.ts';
import { createGroup, terminateInstance, updateGroup } from '../../scripts/local/autoscaling/core/groups.ts';
import {
  findInstance,
  type Group,
  type Instance,
  type World,
} from '../../scripts/local/autoscaling/core/model.ts';
import type { GroupSettings } from '../../shared/fleet/group-settings.ts';
import { SWEEP_KEY } from '../../shared/fleet/registration-record.ts';
import { memoryStore } from '../../shared/snapshot/testing/memory-store.ts';
import { envelope, message } from '../support/sqs.ts';

const NAME = 'aw-gha-default';
const START = Date.parse('2026-11-23T00:00:00Z');
const RUN_SECONDS = 300;
const BOOT_SECONDS = 40;
const HOUR = 3_600;

type Setting = {
  size: number;
  maxInstanceLifetimeSeconds?: number;
  replaceOutdated?: boolean;
  /** Seconds for which each job runs; every instance always has one. Undefined: no jobs. */
  jobSeconds?: number;
  /** Whether instances of the present version boot. */
  boots?: (version: string) => boolean;
};

/** A group with its instances, in steps of ten seconds: Auto Scaling's model, runners that drain, and the real function. */
class Fleet {
  readonly terminated: string[] = [];
  readonly metrics: string[] = [];
  killedJobs = 0;
  /** Most instances without service at once, of those that the group is to have. */
  mostUnavailable = 0;
  /** Instances without an agent, with the time since when; the sweep finds them. */
  readonly silent = new Set<string>();
  /** Whether the sweep runs. */
  sweeps = true;
  /** Answers about single instances wait for it: what they describe is as old. */
  answersAfter: Promise<unknown> | undefined;
  private readonly setting: Setting;
  private readonly world: World;
  private readonly jobEnds = new Map<string, number>();
  private readonly silentSince = new Map<string, string>();
  private readonly store = memoryStore(() => new Date(this.world.now));
  private readonly deps: LifecycleDeps;
  private steps = 0;

  constructor(setting: Setting) {
    this.setting = setting;
    let ids = 0;
    this.world = {
      home: { region: 'us-east-1', account: '123456789012' },
      behaviour: {
        timeScale: 1,
        launchSeconds: 5,
        terminateSeconds: 5,
        actionDelaySeconds: 0,
        hasCapacity: () => true,
      },
      groups: new Map(),
      effects: [],
      now: START,
      newId: () => `${++ids}`.padStart(36, '0'),
      newInstanceId: () => `i-${(++ids).toString(16).padStart(17, '0')}`,
    };
    const hook = (name: string, transition: 'LAUNCHING' | 'TERMINATING', heartbeatTimeout: number) => ({
      name,
      transition: `autoscaling:EC2_INSTANCE_${transition}` as const,
      heartbeatTimeout,
      defaultResult: transition === 'LAUNCHING' ? ('ABANDON' as const) : ('CONTINUE' as const),
      notificationMetadata: undefined,
      notificationTargetArn: undefined,
      roleArn: undefined,
    });
    createGroup(this.world, {
      name: NAME,
      min: setting.size,
      max: setting.size * 2,
      desired: setting.size,
      zones: ['us-east-1a'],
      subnets: ['subnet-1'],
      tags: [],
      hooks: [hook('aw-boot', 'LAUNCHING', 300), hook('aw-drain', 'TERMINATING', 7_200)],
      instanceType: undefined,
      purchase: undefined,
      launchTemplate: { id: undefined, name: NAME, version: '1' },
      defaultCooldown: undefined,
      healthCheckType: undefined,
      healthCheckGracePeriod: undefined,
      newInstancesProtected: undefined,
      capacityRebalance: undefined,
    });
    const clock = { now: () => new Date(this.world.now) };
    const metrics = {
      add: (name: string, value: number, dimensions: object) =>
        void this.metrics.push(`${name} ${value} ${Object.values(dimensions).join(' ')}`),
    };
    const settings: GroupSettings = {
      provider: 'gha',
      role: NAME,
      autoScalingGroup: NAME,
      minRunners: setting.size,
      maxRunners: setting.size * 2,
      takesJobs: true,
      apiUrl: 'https://api.github.com',
      owner: 'acme',
      repository: 'monorepo',
      labels: ['hearth'],
      appSecret: 'app',
      tokenSecret: 'token',
      ...(setting.maxInstanceLifetimeSeconds !== undefined && {
        maxInstanceLifetimeSeconds: setting.maxInstanceLifetimeSeconds,
      }),
      ...(setting.replaceOutdated !== undefined && { replaceOutdated: setting.replaceOutdated }),
    };
    this.deps = {
      prefix: 'aw',
      reportsQueue: 'reports',
      autoScaling: this.port(),
      roles: groupRoles(this.port(), clock),
      limits: reportLimits({ reportsQueue: 'reports', clock, logger: { warn() {} }, metrics }),
      events: { async publish() {} },
      groups: { all: async () => [{ id: 'gha/default', settings }] },
      store: this.store,
      metrics,
      logger: { warn() {} },
      clock,
    };
  }

  get instances(): readonly Instance[] {
    return this.group.instances;
  }

  get inService(): string[] {
    return this.instances.filter(({ state }) => state === 'InService').map(({ id }) => id);
  }

  get waiting(): number {
    const last = this.metrics.findLast((one) => one.startsWith('RepairDueSeconds'));
    return Number(last?.split(' ')[1] ?? Number.NaN);
  }

  applyVersion(version: string): void {
    updateGroup(this.world, NAME, {
      launchTemplate: { id: undefined, name: NAME, version },
    } as Parameters<typeof updateGroup>[2]);
  }

  /** @param seconds a multiple of ten */
  async run(seconds: number): Promise<void> {
    for (let step = 0; step < seconds / 10; step += 1) {
      this.world.now += 10_000;
      this.runners();
      this.settle();
      this.steps += 1;
      if (this.sweeps && this.steps % 30 === 15) await this.sweep();
      if (this.steps % (RUN_SECONDS / 10) === 0) await this.reconcile();
      if (this.steps * 10 > 10 * BOOT_SECONDS)
        this.mostUnavailable = Math.max(this.mostUnavailable, this.group.desired - this.inService.length);
    }
  }

  async reconcile(): Promise<void> {
    const body = envelope('aw.schedule', 'Fleet Reconcile', {}, { time: new Date(this.world.now) });
    const outcome = await handleLifecycleMessage(
      message(body, { sentAt: new Date(this.world.now) }),
      this.deps,
    );
    expect(outcome.outcome).toBe('done');
  }

  private get group(): Group {
    const group = this.world.groups.get(NAME);
    if (!group) throw new Error('the group is gone');
    return group;
  }

  /** What the runners do: boot, take the next job, and drain. */
  private runners(): void {
    const { jobSeconds, boots } = this.setting;
    const now = this.world.now;
    for (const { id, state, launchedAt, launchTemplate } of [...this.instances]) {
      const isBusy = (this.jobEnds.get(id) ?? 0) > now;
      const reference = (hook: string) => ({ group: NAME, hook, token: undefined, instanceId: id });
      if (state === 'Pending:Wait' && now - launchedAt >= BOOT_SECONDS * 1_000) {
        const isSound = boots?.(launchTemplate?.version ?? '') ?? true;
        completeAction(this.world, reference('aw-boot'), isSound ? 'CONTINUE' : 'ABANDON');
      } else if (state === 'InService' && !isBusy && jobSeconds !== undefined && !this.silent.has(id)) {
        this.jobEnds.set(id, now + jobSeconds * 1_000);
      } else if (state === 'Terminating:Wait' && !isBusy) {
        completeAction(this.world, reference('aw-drain'), 'CONTINUE');
      }
    }
  }

  private settle(): void {
    for (const effect of advance(this.world, this.world.now)) {
      if (effect.kind !== 'terminate') continue;
      if ((this.jobEnds.get(effect.instance.id) ?? 0) > this.world.now) this.killedJobs += 1;
    }
  }

  private async sweep(): Promise<void> {
    const at = new Date(this.world.now).toISOString();
    const found = this.inService.filter((id) => this.silent.has(id));
    for (const id of found) this.silentSince.set(id, this.silentSince.get(id) ?? at);
    const withoutAgent = Object.fromEntries(found.map((id) => [id, this.silentSince.get(id) ?? at]));
    this.store.put(SWEEP_KEY, JSON.stringify({ version: 2, at, withoutAgent, silent: found }));
  }

  private port(): AutoScalingPort {
    const stateOf = ({ name, min, max, desired, instances, launchTemplate }: Group) => ({
      name,
      min,
      max,
      desired,
      ...templateOf(launchTemplate),
      instances: instances.map(({ id, state, launchTemplate: own }) => ({
        instanceId: id,
        lifecycleState: state,
        ...templateOf(own),
      })),
      tags: new Map<string, string>(),
    });
    return {
      complete: async () => ({ applied: true }),
      heartbeat: async () => ({ applied: true }),
      describeInstance: async (id) => {
        const found = findInstance(this.world, id);
        const state = found && { autoScalingGroup: found.group.name, lifecycleState: found.instance.state };
        await this.answersAfter;
        return state;
      },
      describeGroup: async () => stateOf(this.group),
      listGroups: async () => new Map([[NAME, stateOf(this.group)]]),
      terminate: async (id, decrement) => {
        this.terminated.push(id);
        terminateInstance(this.world, id, decrement);
        this.settle();
        return { applied: true };
      },
    };
  }
}

function templateOf(template: Group['launchTemplate']) {
  const { name, version } = template ?? {};
  return name && version ? { launchTemplate: { id: name, version } } : {};
}

const once = (fleet: Fleet) => expect(new Set(fleet.terminated).size).toBe(fleet.terminated.length);

describe('instances beyond their lifetime', () => {
  test('are replaced after their jobs, those of the minimum too, and never all at once', async () => {
    const fleet = new Fleet({ size: 20, maxInstanceLifetimeSeconds: 6 * HOUR, jobSeconds: 900 });
    await fleet.run(5 * HOUR);
    const first = fleet.inService;
    expect(first).toHaveLength(20);
    await fleet.run(11 * HOUR);
    expect(fleet.inService.filter((id) => first.includes(id))).toEqual([]);
    expect(fleet.inService).toHaveLength(20);
    expect(fleet.killedJobs).toBe(0);
    expect(fleet.mostUnavailable).toBeLessThanOrEqual(2);
    once(fleet);
  });

  test('a group of one is replaced after its lifetime, and not before', async () => {
    const fleet = new Fleet({ size: 1, maxInstanceLifetimeSeconds: 2 * HOUR, jobSeconds: 600 });
    await fleet.run(1.9 * HOUR);
    expect(fleet.terminated).toEqual([]);
    await fleet.run(HOUR);
    expect(fleet.terminated).toHaveLength(1);
    expect(fleet.killedJobs).toBe(0);
  });
});

describe('instances of an older version', () => {
  test('are replaced after their jobs, until the group has one version', async () => {
    const fleet = new Fleet({ size: 10, replaceOutdated: true, jobSeconds: 1_200 });
    await fleet.run(HOUR);
    fleet.applyVersion('2');
    await fleet.run(8 * HOUR);
    const versions = fleet.instances.map(({ launchTemplate }) => launchTemplate?.version);
    expect(new Set(versions)).toEqual(new Set(['2']));
    expect(fleet.killedJobs).toBe(0);
    expect(fleet.mostUnavailable).toBeLessThanOrEqual(1);
    expect(fleet.waiting).toBe(0);
    once(fleet);
  });

  test('a new version that does not boot costs one instance of ten, and an alarm', async () => {
    const fleet = new Fleet({ size: 10, replaceOutdated: true, boots: (version) => version === '1' });
    await fleet.run(HOUR);
    fleet.applyVersion('2');
    await fleet.run(12 * HOUR);
    expect(fleet.terminated).toHaveLength(1);
    expect(fleet.inService).toHaveLength(9);
    expect(fleet.waiting).toBeGreaterThan(11 * HOUR);
  });
});

describe('instances that no provider knows', () => {
  test('are replaced one after the other, and the others stay', async () => {
    const fleet = new Fleet({ size: 10 });
    await fleet.run(HOUR);
    const [one = '', two = ''] = fleet.inService;
    for (const id of [one, two]) fleet.silent.add(id);
    await fleet.run(HOUR);
    expect(fleet.terminated.toSorted()).toEqual([one, two].toSorted());
    expect(fleet.metrics.filter((name) => name.startsWith('RunnersReplaced'))).toEqual([
      'RunnersReplaced 1 gha/default no-agent',
      'RunnersReplaced 1 gha/default no-agent',
    ]);
    once(fleet);
  });

  test('stay while the registrations are not swept, and while most have none', async () => {
    const fleet = new Fleet({ size: 10 });
    await fleet.run(HOUR);
    fleet.sweeps = false;
    fleet.silent.add(fleet.inService[0] ?? '');
    await fleet.run(2 * HOUR);
    fleet.sweeps = true;
    for (const id of fleet.inService) fleet.silent.add(id);
    await fleet.run(2 * HOUR);
    expect(fleet.terminated).toEqual([]);
  });

  test('whose replacements have no agent either cost four instances an hour', async () => {
    const fleet = new Fleet({ size: 1 });
    await fleet.run(HOUR);
    for (let hour = 0; hour < 4; hour += 1) {
      const before = fleet.terminated.length;
      for (let run = 0; run < 12; run += 1) {
        for (const id of fleet.inService) fleet.silent.add(id);
        await fleet.run(RUN_SECONDS);
      }
      expect(fleet.terminated.length - before).toBeLessThanOrEqual(4);
    }
    expect(fleet.terminated.length).toBeGreaterThan(0);
  });
});

test('two runs at once replace nothing twice', async () => {
  // The first run has seen the instances.
  const fleet = new Fleet({ size: 3, maxInstanceLifetimeSeconds: HOUR - RUN_SECONDS - 10 });
  await fleet.run(HOUR - 10);
  fleet.answersAfter = new Promise((resolve) => setTimeout(resolve, 50));
  await Promise.all([fleet.reconcile(), fleet.reconcile(), fleet.reconcile()]);
  expect(fleet.terminated).toHaveLength(1);
  await fleet.run(600);
  once(fleet);
  expect(fleet.mostUnavailable).toBeLessThanOrEqual(1);
});
