import { groupRoles } from '../../functions/lifecycle/group-roles.ts';
import type { LifecycleDeps } from '../../functions/lifecycle/handle.ts';
import { reportLimits } from '../../functions/lifecycle/report-limits.ts';
import { memoryStore } from '../../shared/snapshot/testing/memory-store.ts';
import { AutoScalingModel, GROUP, INSTANCE } from '../support/auto-scaling-model.ts';
import { envelope } from '../support/sqs.ts';
import { QueueModel } from './queue-model.ts';
import { RunnerModel } from './runner-model.ts';

/** One event of a scenario. */
export type ScenarioEvent = {
  /** Second at which it happens. */
  at: number;
  what: 'job-starts' | 'job-ends' | 'scale-in' | 'breaks' | 'spot' | 'restart';
};

/** How the messages of a scenario are delivered. Each list is repeated from its start. */
export type DeliveryFaults = {
  /** Delay of the next message, in seconds. */
  delays: readonly number[];
  /** Whether the next message is delivered twice. */
  twice: readonly boolean[];
  /** Whether the next event of EventBridge is lost. Reports are not lost: SQS keeps them. */
  lost: readonly boolean[];
  /** Whether Auto Scaling throttles the first, second, … call of the function. This list is not repeated. */
  throttled: readonly boolean[];
};

/** One runner, from its launch on. */
export type Scenario = {
  /** Minimum size of the group. */
  min: number;
  bootSeconds: number;
  bootFails: boolean;
  events: readonly ScenarioEvent[];
  faults: DeliveryFaults;
};

/** Longer than every timeout after the last event. */
const SECONDS = 700;

/** Longer than the delay of any message with all of its retries. */
const DELIVERY_SECONDS = 150;

/** Runs one scenario, second by second, through the real handler. */
export async function runScenario(scenario: Scenario) {
  const group = new AutoScalingModel(scenario.min, scenario.faults.throttled);
  const runner = new RunnerModel(group, scenario.bootSeconds, scenario.bootFails);
  const queue = new QueueModel();
  const published: string[] = [];
  group.jobRunning = () => runner.job !== undefined;
  let now = 0;
  const clock = { now: () => new Date(now * 1000) };
  const deps: LifecycleDeps = {
    clock,
    roles: groupRoles(group, clock),
    prefix: 'aw',
    reportsQueue: 'reports',
    autoScaling: group,
    events: { publish: async (report) => void published.push(report.report) },
    metrics: { add() {} },
    groups: { all: async () => [] },
    store: memoryStore(clock.now),
    logger: { warn() {} },
    limits: reportLimits({
      reportsQueue: 'reports',
      clock,
      logger: { warn() {} },
      metrics: { add() {} },
    }),
  };

  let messages = 0;
  const cycled = <T>(values: readonly T[], fallback: T): T => values[messages % values.length] ?? fallback;
  const send = (to: 'reports' | 'inbox', body: unknown) => {
    messages += 1;
    if (to === 'inbox' && cycled(scenario.faults.lost, false)) return;
    queue.send(to, body, now + cycled(scenario.faults.delays, 0), now);
    if (cycled(scenario.faults.twice, false))
      queue.send(to, body, now + 2 * cycled(scenario.faults.delays, 0) + 1, now);
  };
  const event = (source: string, detailType: string, detail: object) =>
    send('inbox', envelope(source, detailType, detail, { time: new Date(now * 1000) }));

  for (; now < SECONDS; now += 1) {
    group.advance(1);
    for (const { at, what } of scenario.events) {
      if (at !== now) continue;
      if (what === 'job-starts') runner.startJob();
      if (what === 'job-ends') runner.endJob();
      if (what === 'scale-in') group.beginTermination();
      if (what === 'restart') runner.restart();
      if (what === 'breaks') runner.unhealthy = 'simulated';
      if (what === 'spot') {
        runner.reclaimed = true;
        event('aws.ec2', 'EC2 Spot Instance Interruption Warning', spotDetail);
      }
    }
    // Every job ends, here at the latest, so that a drain that waits for its job differs from a drain that hangs.
    if (now === 450) runner.endJob();
    runner.step(1);
    for (const body of runner.sent.splice(0)) {
      const sender = { group: 'gha/default', autoScalingGroup: GROUP, instanceId: INSTANCE };
      send('reports', { ...body, ...sender, at: new Date(now * 1000).toISOString() });
    }
    await queue.deliver(now, deps);
  }
  // Messages in flight are still delivered; no new ones are sent.
  for (; now < SECONDS + DELIVERY_SECONDS; now += 1) await queue.deliver(now, deps);
  return { group, runner, queue, published };
}

const spotDetail = { 'instance-id': INSTANCE, 'instance-action': 'terminate' };
