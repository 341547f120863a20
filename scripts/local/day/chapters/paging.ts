import { PutSecretValueCommand } from '@aws-sdk/client-secrets-manager';
import { SendMessageCommand } from '@aws-sdk/client-sqs';
import { ROUTING_SECRET } from '../../deploy/settings.ts';
import type { Incident } from '../../pagerduty/incidents.ts';
import { type Chapter, type Day, expectThat } from '../day.ts';
import { ALARMS, DEFAULT_GROUP } from '../fleet.ts';
import { inService } from '../look.ts';
import { setCapacity } from './runners.ts';

async function incident(
  day: Day,
  alarm: string,
  status: Incident['status'],
  seconds = 60,
): Promise<Incident> {
  return day.until(
    `the incident of ${alarm} to be ${status}`,
    () =>
      day.cloud.pagerDuty.incidents().find((one) => one.dedupKey.endsWith(alarm) && one.status === status),
    { seconds, state: () => day.cloud.pagerDuty.calls() },
  );
}

export const alarmToIncident: Chapter = {
  title: 'alarm, incident, resolve',
  async play(day) {
    const { cloud } = day;
    await cloud.clients.secrets.send(
      new PutSecretValueCommand({
        SecretId: ROUTING_SECRET,
        SecretString: JSON.stringify(cloud.routingKeys),
      }),
    );
    day.tell('an operator has put the PagerDuty keys into the routing secret');
    const before = await inService(day, DEFAULT_GROUP);
    cloud.autoScaling.behave({ hasCapacity: () => false });
    const began = performance.now();
    await setCapacity(day, before.length + 1);
    day.tell('EC2 has no capacity left: a launch fails');
    const opened = await incident(day, ALARMS.launchFailures, 'triggered');
    const seconds = (performance.now() - began) / 1000;
    expectThat(opened.severity === 'critical', `the incident is ${opened.severity}`);
    expectThat(opened.route === 'critical', `it came through the key ${opened.route}`);
    day.tell(`incident ${opened.number}, ${opened.severity}: ${opened.summary.slice(0, 100)}`);
    cloud.autoScaling.behave({ hasCapacity: () => true });
    await incident(day, ALARMS.launchFailures, 'resolved', 120);
    day.tell('capacity is back, the alarm recovered, and the incident is resolved');
    await setCapacity(day, before.length);
    return `paged ${seconds.toFixed(1)} s after the failure, resolved by itself`;
  },
};

export const poisonedMessage: Chapter = {
  title: 'poisoned message, dead letter, page',
  async play(day) {
    const { cloud } = day;
    const forged = {
      report: 'Runner Drained',
      group: 'gha/default',
      autoScalingGroup: DEFAULT_GROUP,
      instanceId: 'i-0123456789abcdef0',
      at: new Date().toISOString(),
    };
    await cloud.clients.sqs.send(
      new SendMessageCommand({
        QueueUrl: cloud.queues.url('aw-reports'),
        MessageBody: JSON.stringify(forged),
      }),
    );
    day.tell('somebody reports in the name of an instance that they are not');
    const line = await day.until(
      'the forged report to end',
      () => cloud.gateway.functions.outcomes.all.find((one) => one.reason === 'forged-instance'),
      { seconds: 30 },
    );
    expectThat(line.outcome === 'dead', `it ended as ${line.outcome}`);
    const opened = await incident(day, ALARMS.deadLetters, 'triggered');
    day.tell(`it is in the dead-letter queue, and incident ${opened.number} says so`);
    return `1 dead (${line.reason}), incident ${opened.number} ${opened.severity}`;
  },
};
