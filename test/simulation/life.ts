import type { LifecycleDeps } from '../../functions/lifecycle/handle.ts';
import { GROUP, INSTANCE, ModelAutoScaling } from './model-auto-scaling.ts';
import { ModelQueue } from './model-queue.ts';
import { ModelRunner } from './model-runner.ts';

/** One thing that happens at one second of a runner's life. */
export type Happening = {
  what: 'job-starts' | 'job-ends' | 'scale-in' | 'breaks' | 'spot' | 'rebalance' | 'restart';
};

/** How the messages of a life travel. */
export type Travel = {
  /** Seconds that the next message is late; cycled through. */
  delays: readonly number[];
  /** Whether the next message comes twice; cycled through. */
  twice: readonly boolean[];
  /** Whether the next event of EventBridge is lost; reports are not, SQS keeps them. */
  lost: readonly boolean[];
  /** Whether Auto Scaling throttles the first, second, … call of the function. */
  throttled: readonly boolean[];
};

export type Life = {
  /** Of the group. */
  min: number;
  bootSeconds: number;
  bootFails: boolean;
  /** What happens, by second. */
  happenings: readonly { at: number; what: Happening['what'] }[];
  travel: Travel;
};

/** Long enough for every timeout behind the last thing that can happen. */
const SECONDS = 700;

/** Longer than any message is late, with all of its tries. */
const SETTLE_SECONDS = 150;

/** Lives one runner's life, second by second, with the real handler in the middle. */
export async function live(life: Life) {
  const group = new ModelAutoScaling(life.min, life.travel.throttled);
  const runner = new ModelRunner(group, life.bootSeconds, life.bootFails);
  const queue = new ModelQueue();
  const published: string[] = [];
  group.jobRunning = () => runner.job !== undefined;
  let now = 0;
  const deps: LifecycleDeps = {
    clock: { now: () => new Date(now * 1000) },
    prefix: 'aw',
    reportsQueue: 'reports',
    autoScaling: group,
    events: { publish: async (report) => void published.push(report.report) },
    metrics: { add() {} },
  };

  let messages = 0;
  const cycled = <T>(values: readonly T[], fallback: T): T => values[messages % values.length] ?? fallback;
  const send = (to: 'reports' | 'inbox', body: unknown) => {
    messages += 1;
    if (to === 'inbox' && cycled(life.travel.lost, false)) return;
    queue.send(to, body, now + cycled(life.travel.delays, 0), now);
    if (cycled(life.travel.twice, false))
      queue.send(to, body, now + 2 * cycled(life.travel.delays, 0) + 1, now);
  };
  const event = (source: string, detailType: string, detail: object) =>
    send('inbox', envelope(source, detailType, detail, now));

  let before = group.state;
  for (; now < SECONDS; now += 1) {
    group.advance(1);
    for (const { at, what } of life.happenings) {
      if (at !== now) continue;
      if (what === 'job-starts') runner.startJob();
      if (what === 'job-ends') runner.endJob();
      if (what === 'scale-in') group.beginTermination();
      if (what === 'restart') runner.restart();
      if (what === 'breaks') runner.unhealthy = 'simulated';
      if (what === 'rebalance') {
        event('aws.ec2', 'EC2 Instance Rebalance Recommendation', { 'instance-id': INSTANCE });
      }
      if (what === 'spot') {
        runner.reclaimed = true;
        event('aws.ec2', 'EC2 Spot Instance Interruption Warning', spotDetail);
      }
    }
    if (group.state !== before) {
      before = group.state;
      const phase = /^(Pending|Terminating):Wait$/.exec(before)?.[1];
      if (phase) event('aws.autoscaling', actionType(phase), hookDetail(phase));
    }
    // Every job ends some time; this one at the latest now, so that a drain can be told from a job that never ends.
    if (now === 450) runner.endJob();
    runner.step(1);
    for (const body of runner.sent.splice(0)) {
      const about = { group: 'gha/default', autoScalingGroup: GROUP, instanceId: INSTANCE };
      send('reports', { ...body, ...about, at: new Date(now * 1000).toISOString() });
    }
    await queue.deliver(now, deps);
  }
  // What is under way still arrives; nothing new is said.
  for (; now < SECONDS + SETTLE_SECONDS; now += 1) await queue.deliver(now, deps);
  return { group, runner, queue, published };
}

const spotDetail = { 'instance-id': INSTANCE, 'instance-action': 'terminate' };

function actionType(phase: string): string {
  return `EC2 Instance-${phase === 'Pending' ? 'launch' : 'terminate'} Lifecycle Action`;
}

function hookDetail(phase: string): object {
  return {
    AutoScalingGroupName: GROUP,
    EC2InstanceId: INSTANCE,
    LifecycleHookName: phase === 'Pending' ? 'aw-boot' : 'aw-drain',
  };
}

function envelope(source: string, detailType: string, detail: object, now: number): object {
  return {
    id: 'x',
    source,
    'detail-type': detailType,
    account: '123456789012',
    region: 'us-east-1',
    time: new Date(now * 1000).toISOString(),
    detail,
  };
}
