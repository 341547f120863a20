import { PutSecretValueCommand } from '@aws-sdk/client-secrets-manager';
import { SendMessageCommand } from '@aws-sdk/client-sqs';
import { ROUTING_SECRET } from '../../deploy/settings.ts';
import type { Incident } from '../../pagerduty/incidents.ts';
import { ALARMS, DEFAULT_GROUP, GROUPS } from '../fleet.ts';
import { inService } from '../queries.ts';
import { type Demo, expectThat, type Step } from '../step.ts';
import { setCapacity } from './runners.ts';

const GROUP = 'aw-cci-default';

async function incident(
  demo: Demo,
  alarm: string,
  status: Incident['status'],
  seconds = 60,
): Promise<Incident> {
  return demo.waitFor(
    `the incident of ${alarm} to be ${status}`,
    () =>
      demo.cloud.pagerDuty.incidents().find((one) => one.dedupKey.endsWith(alarm) && one.status === status),
    { seconds, state: () => demo.cloud.pagerDuty.calls() },
  );
}

export const alarmToIncident: Step = {
  title: 'alarm and PagerDuty incident',
  async run(demo) {
    const { cloud } = demo;
    await cloud.clients.secrets.send(
      new PutSecretValueCommand({
        SecretId: ROUTING_SECRET,
        SecretString: JSON.stringify(cloud.routingKeys),
      }),
    );
    demo.log('the routing secret holds the PagerDuty keys');
    const before = inService(demo, GROUP);
    cloud.autoScaling.behave({ hasCapacity: ({ group }) => group !== GROUP });
    const began = performance.now();
    await setCapacity(demo, GROUPS.circleci, before.length + 1);
    demo.log('EC2 has no capacity; a launch fails');
    const opened = await incident(demo, ALARMS.launchFailures, 'triggered');
    const seconds = (performance.now() - began) / 1000;
    expectThat(opened.severity === 'critical', `the severity of the incident is ${opened.severity}`);
    expectThat(opened.route === 'critical', `the route of the incident is ${opened.route}`);
    demo.log(`incident ${opened.number}, ${opened.severity}: ${opened.summary.slice(0, 100)}`);
    cloud.autoScaling.behave({ hasCapacity: () => true });
    await incident(demo, ALARMS.launchFailures, 'resolved', 120);
    demo.log('EC2 has capacity again; the alarm is OK and the incident is resolved');
    await setCapacity(demo, GROUPS.circleci, before.length);
    return `incident ${seconds.toFixed(1)} s after the failure, resolved automatically`;
  },
};

export const poisonedMessage: Step = {
  title: 'dead letter and PagerDuty incident',
  async run(demo) {
    const { cloud } = demo;
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
    demo.log('an operator sends a report with the id of an instance');
    const line = await demo.waitFor(
      'the outcome of the forged report',
      () => cloud.gateway.functions.outcomes.all.find((one) => one.reason === 'forged-instance'),
      { seconds: 300 },
    );
    expectThat(line.outcome === 'dead', `the outcome of the report is ${line.outcome}`);
    const opened = await incident(demo, ALARMS.deadLetters, 'triggered');
    demo.log(`the report is in the dead-letter queue; incident ${opened.number} is open`);
    return `1 dead letter (${line.reason}), incident ${opened.number} ${opened.severity}`;
  },
};
