import {
  CreateEventBusCommand,
  type EventBridgeClient,
  PutRuleCommand,
  PutTargetsCommand,
} from '@aws-sdk/client-eventbridge';
import { CreateScheduleCommand, type SchedulerClient } from '@aws-sdk/client-scheduler';
import type { FunctionSpec, Subscription } from '../../../shared/runtime/function-spec.ts';
import { arn, eventBusName, fill, type QueueNames } from './names.ts';
import type { Deployment } from './settings.ts';

/** A schedule as it was made, so that it can be made to fire now. */
export type MadeSchedule = {
  name: string;
  expression: string;
  targetArn: string;
  roleArn: string;
  input: string;
};

type Clients = { events: EventBridgeClient; scheduler: SchedulerClient };

/** Makes the rules and schedules of one function. */
export async function makeSubscriptions(
  clients: Clients,
  spec: FunctionSpec,
  deployment: Deployment,
  names: QueueNames,
): Promise<MadeSchedule[]> {
  const made: MadeSchedule[] = [];
  const targetArn = names.arn(names.inbox(spec.name));
  for (const subscription of spec.subscriptions) {
    if (subscription.kind === 'url') continue;
    const name = `${deployment.prefix}-${spec.name}-${subscription.name}`;
    if (subscription.kind === 'events') {
      const pattern = fill(subscription.pattern, placeholders(deployment));
      const bus = subscription.bus === undefined ? busOf(pattern, deployment) : deployment.buildkiteBus;
      // A deployment without the bus has no rule on it.
      if (bus === undefined) continue;
      if (subscription.bus !== undefined) await clients.events.send(new CreateEventBusCommand({ Name: bus }));
      await makeRule(clients.events, { name, pattern, bus, targetArn });
      continue;
    }
    for (const schedule of schedulesOf(subscription, name, targetArn, deployment)) {
      // Most tests and acts set capacities by hand. A poll in between would raise them.
      if (spec.name !== 'scaling' || deployment.isScaled) await makeSchedule(clients.scheduler, schedule);
      made.push(schedule);
    }
  }
  return made;
}

type Rule = { name: string; pattern: object; bus: string; targetArn: string };

async function makeRule(events: EventBridgeClient, { name, pattern, bus, targetArn }: Rule) {
  const EventBusName = bus;
  await events.send(new PutRuleCommand({ Name: name, EventBusName, EventPattern: JSON.stringify(pattern) }));
  await events.send(
    new PutTargetsCommand({ Rule: name, EventBusName, Targets: [{ Id: 'inbox', Arn: targetArn }] }),
  );
}

/** Makes the bus of the deployment's own events. */
export async function makeEventBus(events: EventBridgeClient, { prefix }: Deployment): Promise<void> {
  await events.send(new CreateEventBusCommand({ Name: eventBusName(prefix) }));
}

/** As in the Terraform module: the bus of the deployment for its own events, the default bus for those of AWS. */
function busOf({ source }: Record<string, unknown>, { prefix }: Deployment): string {
  const [first] = Array.isArray(source) ? source : [];
  return String(first).startsWith(`${prefix}.`) ? eventBusName(prefix) : 'default';
}

type ScheduleSubscription = Extract<Subscription, { kind: 'schedule' }>;

function schedulesOf(
  subscription: ScheduleSubscription,
  name: string,
  targetArn: string,
  deployment: Deployment,
): MadeSchedule[] {
  const one = (scheduleName: string, values: Record<string, string>): MadeSchedule => ({
    name: scheduleName,
    targetArn,
    roleArn: `arn:aws:iam::${deployment.home.account}:role/${deployment.prefix}-schedules`,
    expression: fill(subscription.schedule, values),
    input: JSON.stringify(scheduledEvent(fill(subscription.input, values), scheduleName, deployment)),
  });
  const common = placeholders(deployment);
  if (subscription.forEach === undefined) return [one(name, common)];
  return Object.entries(deployment.warmingSets).map(([set, { schedule }]) =>
    one(`${name}-${set}`, { ...common, set, schedule }),
  );
}

/** The input in EventBridge's envelope; the Scheduler puts id and time in their places when it fires. */
function scheduledEvent(input: ScheduleSubscription['input'], name: string, { home }: Deployment) {
  return {
    version: '0',
    id: '<aws.scheduler.execution-id>',
    account: home.account,
    region: home.region,
    time: '<aws.scheduler.scheduled-time>',
    resources: [arn(home, 'scheduler', `schedule/default/${name}`)],
    ...input,
  };
}

async function makeSchedule(scheduler: SchedulerClient, schedule: MadeSchedule) {
  await scheduler.send(
    new CreateScheduleCommand({
      Name: schedule.name,
      ScheduleExpression: schedule.expression,
      FlexibleTimeWindow: { Mode: 'OFF' },
      Target: {
        Arn: schedule.targetArn,
        RoleArn: schedule.roleArn,
        Input: schedule.input,
      },
    }),
  );
}

function placeholders({ prefix, bucket }: Deployment): Record<string, string> {
  return { prefix, bucket };
}
