import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parseEnvelope } from '../../shared/runtime/envelope.ts';
import { isAlarmEvent, parseAlarmEvent } from './alarm-event.ts';

const sample = (name: string) =>
  JSON.parse(
    readFileSync(new URL(`../../test/fixtures/events/cloudwatch-${name}.json`, import.meta.url), 'utf8'),
  );

const NAME = 'aw-gha-default-bootstrap-failures';
const ARN = `arn:aws:cloudwatch:us-west-2:210987654321:alarm:${NAME}`;

describe('an event about an alarm', () => {
  test('in alarm contains everything that a page needs', () => {
    const event = parseEnvelope(sample('alarm-state-change-metric-ok-to-alarm'));
    expect(isAlarmEvent(event)).toBe(true);
    expect(parseAlarmEvent(event)).toEqual({
      name: NAME,
      arn: ARN,
      reportedState: 'ALARM',
      at: new Date('2024-05-14T16:20:12.204Z'),
      snapshot: {
        name: NAME,
        arn: ARN,
        state: 'ALARM',
        reason: expect.stringMatching(/^Threshold Crossed: 1 out of the last 1 datapoints \[2\.0/),
        since: new Date('2024-05-14T16:20:12.204Z'),
        description: 'Runner bootstrap failures',
        suppression: { kind: 'none' },
        metric: 'BootstrapFailures',
        dimensions: { RunnerGroup: 'default', Host: 'gha' },
      },
    });
  });

  test.each([
    ['alarm-state-change-metric-alarm-to-ok', 'OK', '2024-05-14T16:11:12.004Z'],
    ['alarm-state-change-metric-insufficient-data', 'INSUFFICIENT_DATA', '2024-05-14T16:40:12.204Z'],
    ['alarm-configuration-change-delete', 'deleted', '2024-05-14T16:20:31.000Z'],
  ])('%s reports %s', (name, reportedState, at) => {
    expect(parseAlarmEvent(parseEnvelope(sample(name)))).toEqual({
      name: NAME,
      arn: ARN,
      reportedState,
      at: new Date(at),
    });
  });

  test.each(['alarm-state-change-metric-alarm-to-ok', 'alarm-configuration-change-delete'])(
    '%s names the runner group of the metric',
    (name) => {
      const event = sample(name);
      event.detail.configuration.metrics[0].metricStat.metric.dimensions = {
        Group: 'gha/default',
        Deployment: 'aw',
      };
      expect(parseAlarmEvent(parseEnvelope(event))).toMatchObject({ group: 'gha/default' });
      event.detail.configuration.metrics = null;
      expect(parseAlarmEvent(parseEnvelope(event))).toMatchObject({ group: undefined });
    },
  );

  test.each(['create', 'update'])('of a configuration %s is ignored', (operation) => {
    const event = parseEnvelope(sample(`alarm-configuration-change-${operation}`));
    expect(parseAlarmEvent(event)).toEqual({
      ignored: 'configuration-changed',
    });
  });

  test('may lack every field that only describes', () => {
    const event = sample('alarm-state-change-metric-ok-to-alarm');
    event.resources = [];
    event.detail = {
      alarmName: NAME,
      state: { value: 'ALARM', timestamp: 'soon' },
      configuration: { metrics: 7 },
    };
    expect(parseAlarmEvent(parseEnvelope(event))).toMatchObject({
      arn: ARN,
      at: new Date('2024-05-14T16:20:12Z'),
      snapshot: { reason: '', description: '', dimensions: {}, suppression: { kind: 'none' } },
    });
  });

  test('of a composite alarm with a suppressor in alarm is muted', () => {
    const event = sample('alarm-state-change-metric-ok-to-alarm');
    event.detail.configuration = { alarmRule: 'ALARM("a") OR ALARM("b")' };
    event.detail.state.actionsSuppressedBy = 'Alarm';
    expect(parseAlarmEvent(parseEnvelope(event))).toMatchObject({
      snapshot: { suppression: { kind: 'muted' }, metric: undefined },
    });
  });

  test.each(['WaitPeriod', 'ExtensionPeriod'])('of a composite alarm in its %s is held', (period) => {
    const event = sample('alarm-state-change-metric-ok-to-alarm');
    event.detail.state.actionsSuppressedBy = period;
    expect(parseAlarmEvent(parseEnvelope(event))).toMatchObject({
      snapshot: { suppression: { kind: 'held' } },
    });
  });

  test('inside a mute window has the end of the window', () => {
    const event = sample('alarm-state-change-metric-ok-to-alarm');
    event.detail.muteDetail = {
      mutedByArn: 'arn:aws:cloudwatch:us-west-2:210987654321:alarm-mute-rule:nightly',
      muteWindowStart: '2024-05-14T16:00:00.000+0000',
      muteWindowEnd: '2024-05-14T18:00:00.000+0000',
    };
    expect(parseAlarmEvent(parseEnvelope(event))).toMatchObject({
      mutedUntil: new Date('2024-05-14T18:00:00Z'),
    });
    event.detail.muteDetail = { muteWindowEnd: 'soon' };
    expect(parseAlarmEvent(parseEnvelope(event))).not.toHaveProperty('mutedUntil');
  });

  test('about the first data of a new alarm is ignored', () => {
    const event = sample('alarm-state-change-metric-alarm-to-ok');
    event.detail.previousState = {
      value: 'INSUFFICIENT_DATA',
      reason: 'Unchecked: Initial alarm creation',
    };
    expect(parseAlarmEvent(parseEnvelope(event))).toEqual({ ignored: 'first-state' });
    event.detail.state.value = 'ALARM';
    expect(parseAlarmEvent(parseEnvelope(event))).toMatchObject({ reportedState: 'ALARM' });
  });

  test('may have null in place of every text and object that only describes', () => {
    const event = sample('alarm-state-change-metric-ok-to-alarm');
    const { state } = event.detail;
    event.detail = {
      ...event.detail,
      state: { ...state, reason: null, actionsSuppressedBy: null, actionsSuppressedReason: null },
      previousState: null,
      muteDetail: null,
      configuration: { ...event.detail.configuration, description: null },
    };
    expect(parseAlarmEvent(parseEnvelope(event))).toMatchObject({
      reportedState: 'ALARM',
      snapshot: { reason: '', description: '', suppression: { kind: 'none' }, metric: 'BootstrapFailures' },
    });
    // An unreadable description does not hide that the actions are disabled.
    event.detail.configuration = { description: null, actionsEnabled: false };
    expect(parseAlarmEvent(parseEnvelope(event))).toMatchObject({
      snapshot: { suppression: { kind: 'muted' } },
    });
  });

  test('without its ARN gets one of the partition of its region', () => {
    const event = sample('alarm-state-change-metric-ok-to-alarm');
    event.resources = [];
    event.region = 'eusc-de-east-1';
    expect(parseAlarmEvent(parseEnvelope(event))).toMatchObject({
      arn: `arn:aws-eusc:cloudwatch:eusc-de-east-1:210987654321:alarm:${NAME}`,
    });
  });

  test.each([
    ['no name', { state: { value: 'ALARM' } }],
    ['a name that is a list', { alarmName: ['x'], state: { value: 'ALARM' } }],
    ['a name that is too long', { alarmName: 'x'.repeat(256), state: { value: 'ALARM' } }],
    ['an unknown state', { alarmName: NAME, state: { value: 'PANIC' } }],
    ['a state that is text', { alarmName: NAME, state: 'ALARM' }],
  ])('with %s is dead', (_, detail) => {
    const event = parseEnvelope({ ...sample('alarm-state-change-metric-ok-to-alarm'), detail });
    expect(() => parseAlarmEvent(event)).toThrow(expect.objectContaining({ reason: 'malformed-detail' }));
  });
});

test.each([
  ['aws.ec2', 'CloudWatch Alarm State Change'],
  ['aws.cloudwatch', 'CloudWatch Something Else'],
])('%s: %s is not an alarm event', (source, detailType) => {
  const event = { ...sample('alarm-state-change-metric-ok-to-alarm'), source, 'detail-type': detailType };
  expect(isAlarmEvent(parseEnvelope(event))).toBe(false);
});
