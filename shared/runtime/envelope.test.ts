import { expect, test } from 'vitest';
import { ownEvent, parseEnvelope, scheduleSource } from './envelope.ts';
import { PermanentError } from './errors.ts';

const event = {
  version: '0',
  id: '7bf73129-1428-4cd3-a780-95db273d1602',
  source: 'aws.autoscaling',
  'detail-type': 'EC2 Instance-launch Lifecycle Action',
  account: '123456789012',
  region: 'eu-west-1',
  time: '2026-11-23T08:00:00Z',
  resources: [],
  detail: { AutoScalingGroupName: 'aw-gha-default' },
};

test('an event of the bus', () => {
  expect(parseEnvelope(event)).toMatchObject({
    source: 'aws.autoscaling',
    detailType: 'EC2 Instance-launch Lifecycle Action',
    time: new Date('2026-11-23T08:00:00Z'),
    detail: event.detail,
  });
});

test('resources may be absent or null', () => {
  expect(parseEnvelope({ ...event, resources: null }).resources).toEqual([]);
  const { resources: _, ...rest } = event;
  expect(parseEnvelope(rest).resources).toEqual([]);
});

test.each([
  ['nothing', null],
  ['a text', 'event'],
  ['a list', [event]],
  ['no detail', { ...event, detail: undefined }],
  ['a detail that is a text', { ...event, detail: 'x' }],
  ['no source', { ...event, source: undefined }],
  ['a time that is none', { ...event, time: 'yesterday' }],
  ['a time that is a number', { ...event, time: 5 }],
])('%s is dead at once', (_, body) => {
  expect(() => parseEnvelope(body)).toThrow(PermanentError);
  expect(() => parseEnvelope(body)).toThrow(/expected/);
});

test('an event of another account than that of the inbox is dead', () => {
  expect(ownEvent({ body: event, account: '123456789012' })).toEqual(parseEnvelope(event));
  expect(() => ownEvent({ body: event, account: '999999999999' })).toThrow(
    expect.objectContaining({ name: 'PermanentError', reason: 'foreign-account' }),
  );
});

test('the schedules of two deployments have two sources', () => {
  expect(scheduleSource('aw')).toBe('aw.schedule');
  expect(scheduleSource('ci')).toBe('ci.schedule');
});
