import * as v from 'valibot';
import { describe, expect, test } from 'vitest';
import { reportSchema } from './report.ts';

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
  { report: 'Runner Failed', ...sender, stage: 'agent', reason: 'no token' },
  { report: 'Runner Drained', ...sender },
  { report: 'Runner Idle', ...sender, idleSeconds: 1800 },
  { report: 'Runner Unhealthy', ...sender, reason: 'disk full' },
])('$report is one', (body) => {
  expect(v.safeParse(reportSchema, body).success).toBe(true);
});

describe('what is none', () => {
  test.each([
    ['an unknown report', { ...ready, report: 'Runner Retired' }],
    ['one without a sender', { ...ready, instanceId: undefined }],
    ['an instance id that is a path', { ...ready, instanceId: '../i-0123456789abcdef0' }],
    ['a group that is a path', { ...ready, group: 'gha/../../x' }],
    ['a set that is a path', { ...ready, snapshot: { ...snapshot, set: '../other' } }],
    ['a snapshot that is a path', { ...ready, snapshot: { ...snapshot, id: '../x' } }],
    ['an outcome nobody knows', { ...ready, snapshot: { ...snapshot, outcome: 'warm' } }],
    ['a negative time', { ...ready, seconds: { restore: -1, boot: 2 } }],
    ['a time that would spoil every average', { ...ready, seconds: { restore: 1e12, boot: 2 } }],
    ['a time that is text', { ...ready, seconds: { restore: '1', boot: 2 } }],
    ['a reason of a megabyte', { report: 'Runner Unhealthy', ...sender, reason: 'x'.repeat(1_000_000) }],
    ['an event', { source: 'aws.ec2', 'detail-type': 'x', detail: {} }],
    ['a list', [ready]],
    ['nothing', null],
  ])('%s', (_, body) => {
    expect(v.safeParse(reportSchema, body).success).toBe(false);
  });
});
