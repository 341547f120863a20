import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { EventBridgeClient, TestEventPatternCommand } from '@aws-sdk/client-eventbridge';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type MiniStack, startMiniStack } from '../../../scripts/local/ministack/start.ts';
import { only, statements, text } from '../state.ts';
import { type Applied, bucket } from './applied.ts';

const root = resolve(import.meta.dirname, '../../..');

type Event = { detail: Record<string, unknown> };
type Change = (event: Event) => void;

/** Sets fields of an event's detail. */
const detail =
  (fields: Record<string, unknown>): Change =>
  (event) => {
    event.detail = { ...event.detail, ...fields };
  };

const ofGroup = (name: string) => detail({ AutoScalingGroupName: name });
const ofAlarm = (alarmName: string) => detail({ alarmName });
const ofParameter = (name: string) => detail({ name });
const ofObject = (name: string, key: string) => detail({ bucket: { name }, object: { key } });
const unchanged: Change = () => {};

const manifest = 'sets/default/snapshots/20261123T030000Z-1f2e3d4c/manifest.json';

/** A sample event, a change of it, and the rules that must match. */
const cases: [file: string, change: Change, rules: string[]][] = [
  ['autoscaling-launch-lifecycle-action', ofGroup('aw-gha-default'), []],
  ['autoscaling-terminate-lifecycle-action', ofGroup('aw-gha-default'), []],
  ['autoscaling-launch-successful', ofGroup('aw-gha-default'), ['aw-parameters-capacity']],
  [
    'autoscaling-terminate-successful',
    ofGroup('aw-bk-default'),
    ['aw-parameters-capacity', 'aw-registration-terminations'],
  ],
  ['autoscaling-terminate-successful', ofGroup('web-servers'), []],
  ['s3-object-created-put', ofObject(bucket, 'config/groups.json'), []],
  [
    'autoscaling-launch-unsuccessful-insufficient-capacity',
    ofGroup('aw-gha-default'),
    ['aw-lifecycle-launch-failures'],
  ],
  ['autoscaling-launch-lifecycle-action', ofGroup('web-servers'), []],
  ['autoscaling-launch-successful', ofGroup('awesome'), []],
  ['autoscaling-instance-refresh-started', ofGroup('aw-gha-default'), []],
  ['ec2-spot-interruption-warning-terminate', unchanged, ['aw-lifecycle-spot-interruptions']],
  ['ec2-rebalance-recommendation', unchanged, []],
  ['ec2-state-change-running', unchanged, []],
  [
    'cloudwatch-alarm-state-change-metric-ok-to-alarm',
    ofAlarm('aw-backlog-gha-default'),
    ['aw-alarms-alarm-state'],
  ],
  [
    'cloudwatch-alarm-state-change-metric-alarm-to-ok',
    ofAlarm('aw-backlog-gha-default'),
    ['aw-alarms-alarm-state'],
  ],
  ['cloudwatch-alarm-state-change-metric-ok-to-alarm', ofAlarm('CPU too high'), []],
  [
    'cloudwatch-alarm-configuration-change-delete',
    ofAlarm('aw-backlog-gha-default'),
    ['aw-alarms-alarm-deleted'],
  ],
  ['cloudwatch-alarm-configuration-change-update', ofAlarm('aw-backlog-gha-default'), []],
  ['ssm-parameter-store-change-update', ofParameter('/aw/deployment'), ['aw-parameters-edits']],
  ['ssm-parameter-store-change-delete', ofParameter('/aw/groups/gha/default'), ['aw-parameters-edits']],
  ['ssm-parameter-store-change-update', ofParameter('/awesome/x'), []],
  ['s3-object-created-put', ofObject(bucket, manifest), ['aw-warming-manifests']],
  ['s3-object-created-put', ofObject(bucket, 'sets/default/pointer.json'), ['aw-parameters-declared']],
  ['s3-object-created-put', ofObject(bucket, 'config/parameters.json'), ['aw-parameters-declared']],
  ['s3-object-created-put', ofObject(bucket, 'sets/default/frames/0123'), []],
  ['s3-object-created-put', ofObject('other', manifest), []],
  ['s3-object-deleted', ofObject(bucket, manifest), []],
];

// The patterns come from the applied module and the events from samples of real ones. The emulator's EventBridge matches them.
export function aboutEvents(made: Applied): void {
  const { of, inFunction } = made;
  describe('events and rules', () => {
    let cloud: MiniStack;
    let client: EventBridgeClient;
    let temp: string;

    beforeAll(async () => {
      temp = mkdtempSync(join(tmpdir(), 'hearth-events-'));
      const home = { account: '123456789012', region: 'us-west-2' };
      cloud = await startMiniStack({ root, folder: temp, home });
      const credentials = { accessKeyId: 'test', secretAccessKey: 'test' };
      client = new EventBridgeClient({ endpoint: cloud.url, region: home.region, credentials });
    });
    afterAll(async () => {
      client?.destroy();
      await cloud?.stop();
      rmSync(temp, { recursive: true, force: true });
    });

    const matchingRules = async (event: object): Promise<string[]> => {
      const matching: string[] = [];
      for (const { values } of of('aws_cloudwatch_event_rule')) {
        const { Result } = await client.send(
          new TestEventPatternCommand({
            EventPattern: text(values.event_pattern),
            Event: JSON.stringify(event),
          }),
        );
        if (Result) matching.push(text(values.name));
      }
      return matching.sort();
    };

    test.each(cases)('%s', async (file, change, rules) => {
      const event = JSON.parse(readFileSync(join(root, `test/fixtures/events/${file}.json`), 'utf8'));
      change(event);
      expect(await matchingRules(event)).toEqual(rules);
    });

    test('verified reports have a bus of their own, to which lifecycle alone may publish', () => {
      for (const { values } of [...of('aws_cloudwatch_event_rule'), ...of('aws_cloudwatch_event_target')]) {
        // The partner event source of a CI provider has a bus too: see below.
        if ([values.name, values.rule].includes('aw-scaling-buildkite')) continue;
        const isOurs = [values.name, values.rule].includes('aw-warming-reports');
        expect(values.event_bus_name, text(values.name ?? values.rule)).toBe(
          isOurs ? 'aw-reports' : 'default',
        );
      }
      const policy = only(of('aws_cloudwatch_event_bus_policy')).values;
      expect(policy.event_bus_name).toBe('aw-reports');
      expect(statements(policy.policy)).toMatchObject([
        {
          Effect: 'Deny',
          Principal: '*',
          Action: ['events:PutEvents'],
          Resource: [only(of('aws_cloudwatch_event_bus')).values.arn],
          Condition: {
            ArnNotEquals: {
              'aws:PrincipalArn': only(
                inFunction('aws_iam_role', 'lifecycle').filter(({ name }) => name === 'this'),
              ).values.arn,
            },
          },
        },
      ]);
    });

    test("a queued job of Buildkite's partner source reaches the function scaling, from its event bus alone", async () => {
      const bus = 'aws.partner/buildkite.com/acme/00000000-0000-0000-0000-000000000000';
      const event = (detailType: string) => ({
        version: '0',
        id: '00000000-0000-0000-0000-000000000000',
        'detail-type': detailType,
        source: bus,
        account: '123456789012',
        time: '2026-11-23T03:00:00Z',
        region: 'us-west-2',
        resources: [],
        detail: {},
      });
      expect(await matchingRules(event('Job Scheduled'))).toEqual(['aw-scaling-buildkite']);
      expect(await matchingRules(event('Job Finished'))).toEqual([]);
      const buses = [...of('aws_cloudwatch_event_rule'), ...of('aws_cloudwatch_event_target')]
        .filter(({ values }) => values.event_bus_name === bus)
        .map(({ values }) => values.name ?? values.rule);
      expect(buses).toEqual(['aw-scaling-buildkite', 'aw-scaling-buildkite']);
    });

    test('verified reports reach the function warming', async () => {
      const report = (name: string) => ({
        version: '0',
        id: '00000000-0000-0000-0000-000000000000',
        'detail-type': name,
        source: 'aw.lifecycle',
        account: '123456789012',
        time: '2026-11-23T03:00:00Z',
        region: 'us-west-2',
        resources: [],
        detail: {},
      });
      expect(await matchingRules(report('Runner Ready'))).toEqual(['aw-warming-reports']);
      expect(await matchingRules(report('Runner Failed'))).toEqual(['aw-warming-reports']);
      expect(await matchingRules(report('Runner Unhealthy'))).toEqual(['aw-warming-reports']);
      expect(await matchingRules(report('Runner Heartbeat'))).toEqual([]);
      expect(await matchingRules({ ...report('Runner Ready'), source: 'someone.else' })).toEqual([]);
    });
  });
}
