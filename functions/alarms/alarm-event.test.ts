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
  test('in alarm tells all that a page needs, should the alarm be out of reach', () => {
    const event = parseEnvelope(sample('alarm-state-change-metric-ok-to-alarm'));
    expect(isAlarmEvent(event)).toBe(true);
    expect(parseAlarmEvent(event)).toEqual({
      name: NAME,
      arn: ARN,
      said: 'ALARM',
      at: new Date('2024-05-14T16:20:12.204Z'),
      told: {
        name: NAME,
        arn: ARN,
        state: 'ALARM',
        reason: expect.stringMatching(/^Threshold Crossed: 1 out of the last 1 datapoints \[2\.0/),
        since: new Date('2024-05-14T16:20:12.204Z'),
        description: 'Runner bootstrap failures',
        muted: false,
        metric: 'BootstrapFailures',
        dimensions: { RunnerGroup: 'default', Host: 'gha' },
      },
    });
  });

  test.each([
    ['alarm-state-change-metric-alarm-to-ok', 'OK', '2024-05-14T16:11:12.004Z'],
    ['alarm-state-change-metric-insufficient-data', 'INSUFFICIENT_DATA', '2024-05-14T16:40:12.204Z'],
    ['alarm-configuration-change-delete', 'deleted', '2024-05-14T16:20:31.000Z'],
  ])('%s says %s', (name, said, at) => {
    expect(parseAlarmEvent(parseEnvelope(sample(name)))).toEqual({
      name: NAME,
      arn: ARN,
      said,
      at: new Date(at),
    });
  });

  test.each(['create', 'update'])('on a %s of its settings says nothing', (operation) => {
    const event = parseEnvelope(sample(`alarm-configuration-change-${operation}`));
    expect(parseAlarmEvent(event)).toBeUndefined();
  });

  test('may lack what only describes it, and its reasonData', () => {
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
      told: { reason: '', description: '', dimensions: {}, muted: false },
    });
  });

  test('of a composite alarm says whether its suppressor holds it back', () => {
    const event = sample('alarm-state-change-metric-ok-to-alarm');
    event.detail.configuration = { alarmRule: 'ALARM("a") OR ALARM("b")' };
    event.detail.state.actionsSuppressedBy = 'Alarm';
    expect(parseAlarmEvent(parseEnvelope(event))).toMatchObject({ told: { muted: true, metric: undefined } });
  });

  test.each([
    ['no name', { state: { value: 'ALARM' } }],
    ['a name that is none', { alarmName: ['x'], state: { value: 'ALARM' } }],
    ['a name longer than any', { alarmName: 'x'.repeat(256), state: { value: 'ALARM' } }],
    ['a state nobody knows', { alarmName: NAME, state: { value: 'PANIC' } }],
    ['a state that is none', { alarmName: NAME, state: 'ALARM' }],
  ])('with %s is refused for good', (_, detail) => {
    const event = parseEnvelope({ ...sample('alarm-state-change-metric-ok-to-alarm'), detail });
    expect(() => parseAlarmEvent(event)).toThrow(expect.objectContaining({ reason: 'malformed-detail' }));
  });
});

test.each([
  ['aws.ec2', 'CloudWatch Alarm State Change'],
  ['aws.cloudwatch', 'CloudWatch Something Else'],
])('%s: %s is no event about an alarm', (source, detailType) => {
  const event = { ...sample('alarm-state-change-metric-ok-to-alarm'), source, 'detail-type': detailType };
  expect(isAlarmEvent(parseEnvelope(event))).toBe(false);
});
