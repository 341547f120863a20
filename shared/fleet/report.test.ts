import * as v from 'valibot';
import { describe, expect, test } from 'vitest';
import { MAX_LABEL, MAX_REASON, MAX_SECONDS, reportSchema } from './report.ts';

const sender = {
  group: 'gha/default',
  instanceId: 'i-0123456789abcdef0',
  autoScalingGroup: 'aw-gha-default',
  at: '2026-11-23T08:00:00.000Z',
};
const snapshot = { set: 'default', id: '20261123T030000Z-1f2e3d4c', outcome: 'restored' };
const ready = { report: 'Runner Ready', ...sender, snapshot, seconds: { restore: 3.1, boot: 20 } };

test.each([
  { report: 'Runner Heartbeat', ...sender, phase: 'drain', job: '17' },
  ready,
  { ...ready, snapshot: { set: 'none', outcome: 'none' } },
  { ...ready, snapshot: { ...snapshot, outcome: 'previous', broken: { id: 'x', reason: 'flipped bit' } } },
  {
    ...ready,
    snapshot: {
      ...snapshot,
      outcome: 'previous',
      broken: { id: 'x', reason: 'y', frame: { object: 'x', offset: 7 } },
    },
  },
  { report: 'Runner Failed', ...sender, stage: 'agent', reason: 'no token' },
  { report: 'Runner Drained', ...sender },
  { report: 'Runner Idle', ...sender, idleSeconds: 1800 },
  { report: 'Runner Unhealthy', ...sender, reason: 'disk full' },
])('%j is a report', (body) => {
  expect(v.safeParse(reportSchema, body).success).toBe(true);
});

describe('not a report', () => {
  test.each([
    ['an unknown report', { ...ready, report: 'Runner Retired' }],
    ['one without a sender', { ...ready, instanceId: undefined }],
    ['an instance id that is a path', { ...ready, instanceId: '../i-0123456789abcdef0' }],
    ['a group that is a path', { ...ready, group: 'gha/../../x' }],
    ['a set that is a path', { ...ready, snapshot: { ...snapshot, set: '../other' } }],
    ['a snapshot that is a path', { ...ready, snapshot: { ...snapshot, id: '../x' } }],
    ['an unknown outcome', { ...ready, snapshot: { ...snapshot, outcome: 'warm' } }],
    ['an event', { source: 'aws.ec2', 'detail-type': 'x', detail: {} }],
    ['a list', [ready]],
    ['nothing', null],
  ])('%s', (_, body) => {
    expect(v.safeParse(reportSchema, body).success).toBe(false);
  });
});

describe('decoration never makes a report unreadable', () => {
  const read = (body: unknown) => v.parse(reportSchema, body);

  test.each([
    [-0.2, 0],
    [1e12, MAX_SECONDS],
    [691_200, 691_200],
    ['1', 0],
    [null, 0],
    [undefined, 0],
  ])('a duration of %o is read as %d', (value, seconds) => {
    expect(read({ ...ready, seconds: { restore: value, boot: 2 } })).toMatchObject({
      seconds: { restore: seconds, boot: 2 },
    });
    expect(read({ report: 'Runner Idle', ...sender, idleSeconds: value })).toMatchObject({
      idleSeconds: seconds,
    });
  });

  test.each(['x'.repeat(1_000_000), 7, null, { a: 1 }])(
    'a text of another kind or length is cut: %#',
    (value) => {
      const text = expect.stringMatching(/^(x+|unreadable)$/);
      const unhealthy = read({ report: 'Runner Unhealthy', ...sender, reason: value });
      expect(unhealthy).toMatchObject({ reason: text });
      expect(JSON.stringify(unhealthy).length).toBeLessThan(MAX_REASON + 300);
      expect(read({ report: 'Runner Failed', ...sender, stage: value, reason: value })).toMatchObject({
        stage: text,
      });
      const heartbeat = read({ report: 'Runner Heartbeat', ...sender, phase: 'drain', job: value });
      expect(JSON.stringify(heartbeat).length).toBeLessThan(MAX_LABEL + 300);
    },
  );

  test.each([undefined, null, {}, { object: '../x', offset: 0 }, { object: 'x', offset: -1 }, 'frame'])(
    'a frame that is no place (%j) is dropped, and the broken snapshot is read',
    (frame) => {
      const broken = { id: 'x', reason: 'flipped bit', frame };
      expect(read({ ...ready, snapshot: { ...snapshot, outcome: 'previous', broken } })).toMatchObject({
        snapshot: { broken: { id: 'x', reason: 'flipped bit', frame: undefined } },
      });
    },
  );

  test('a text is not cut inside of a character', () => {
    const unhealthy = read({
      report: 'Runner Unhealthy',
      ...sender,
      reason: `${'x'.repeat(MAX_REASON - 1)}🔥`,
    });
    expect(unhealthy).toMatchObject({ reason: 'x'.repeat(MAX_REASON - 1) });
  });

  test('a snapshot without an id, and none that is broken, may be null', () => {
    const cold = { set: 'default', outcome: 'cold', id: null, broken: null };
    expect(read({ ...ready, snapshot: cold })).toMatchObject({ snapshot: { outcome: 'cold' } });
  });

  test.each([undefined, null, 'fast', 3])('durations of another kind are zero or absent: %o', (seconds) => {
    expect(read({ ...ready, seconds })).toMatchObject({ seconds: { restore: 0, boot: 0 } });
    expect(read({ report: 'Runner Drained', ...sender, seconds })).toMatchObject({
      report: 'Runner Drained',
    });
  });
});
