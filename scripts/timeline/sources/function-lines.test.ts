import { expect, test } from 'vitest';
import { functionLines } from './function-lines.ts';

const AT = Date.parse('2026-11-23T08:00:00Z');
const SENDER = {
  group: 'gha/default',
  instanceId: 'i-0123456789abcdef0',
  autoScalingGroup: 'aw-gha-default',
};
const WHO = { runner: SENDER.instanceId, group: SENDER.group };

function read(...lines: object[]) {
  const reader = functionLines();
  const events = lines.flatMap((line) =>
    reader.read(JSON.stringify({ service: 'lifecycle', timestamp: '2026-11-23T08:00:00.000Z', ...line }), 0),
  );
  return [...events, ...reader.end()];
}

const handled = (outcome: string, more: object = {}, record: object = {}) => ({
  message: 'record handled',
  record: { messageId: 'm', queue: 'aw-reports', receiveCount: 1, outcome, ...record },
  ...more,
});
const report = (name: string, fields: object = {}) => ({
  report: { report: name, ...SENDER, at: '2026-11-23T07:59:59.000Z', ...fields },
});

test('Runner Ready: launch, restore, and in service once its hook is completed', () => {
  const ready = report('Runner Ready', {
    snapshot: { set: 'default', id: 's1', outcome: 'restored' },
    seconds: { restore: 3, boot: 20 },
  });
  const restore = {
    event: 'restore',
    at: AT - 1000,
    ...WHO,
    outcome: 'restored',
    set: 'default',
    snapshot: 's1',
    seconds: 3,
  };
  const launch = { event: 'launch', at: AT - 21_000, ...WHO };
  expect(read(handled('done', ready))).toEqual([restore, launch, { event: 'in-service', at: AT, ...WHO }]);
  expect(read(handled('skipped', ready, { reason: 'hook-completed' }))).toEqual([restore, launch]);
});

test('a drain begins when the runner measured its begin, and ends with its hook', () => {
  const seconds = { drain: 59 };
  expect(
    read(
      handled('done', report('Runner Heartbeat', { phase: 'drain', seconds })),
      handled('done', report('Runner Drained', { seconds })),
    ),
  ).toEqual([
    { event: 'drain', at: AT - 60_000, ...WHO },
    { event: 'drain', at: AT - 60_000, ...WHO },
    { event: 'end', at: AT, ...WHO },
  ]);
});

test('idle and unhealthy runners, and Spot notices', () => {
  expect(read(handled('done', report('Runner Idle', { idleSeconds: 5 })))).toMatchObject([
    { event: 'drain', why: 'it was idle' },
  ]);
  expect(
    read(handled('skipped', report('Runner Idle', { idleSeconds: 5 }), { reason: 'at-minimum' })),
  ).toEqual([]);
  expect(read(handled('done', report('Runner Unhealthy', { reason: 'disk full' })))).toMatchObject([
    { event: 'note', text: 'unhealthy: disk full' },
    { event: 'drain', why: 'unhealthy: disk full' },
  ]);
  expect(read(handled('done', {}, { detail: { replaced: WHO.runner } }))).toMatchObject([
    { event: 'note', runner: WHO.runner },
    { event: 'drain', runner: WHO.runner, why: 'Spot interruption' },
  ]);
});

test('snapshots', () => {
  const warming = { service: 'warming', set: 'default' };
  expect(read(handled('done', warming, { detail: { current: 's2', objects: 1 } }))).toEqual([
    { event: 'snapshot', at: AT, set: 'default', change: 'promoted', snapshot: 's2' },
  ]);
  // A check of the set changes nothing.
  expect(read(handled('done', warming, { detail: { current: 's2', pruned: 0 } }))).toEqual([]);
  expect(
    read(handled('done', warming, { detail: { quarantined: 's2', reason: 'bad frame', current: 's1' } })),
  ).toMatchObject([
    { change: 'quarantined', snapshot: 's2', reason: 'bad frame' },
    { change: 'rolled-back', snapshot: 's1' },
  ]);
});

test('the backlog of a group is an event when it changes', () => {
  const line = (queued: number, desired: number) => ({
    service: 'scaling',
    message: 'backlog read',
    groups: { 'gha/default': { queued, running: 0, desired } },
  });
  expect(read(line(3, 1), line(3, 1), line(0, 3))).toEqual([
    { event: 'backlog', at: AT, group: 'gha/default', queued: 3 },
    { event: 'capacity', at: AT, group: 'gha/default', desired: 1 },
    { event: 'backlog', at: AT, group: 'gha/default', queued: 0 },
    { event: 'capacity', at: AT, group: 'gha/default', desired: 3 },
  ]);
});

test('an incident lasts from its trigger to its resolve', () => {
  const alarm = (sent: string, timestamp: string) => ({
    ...handled('done', { service: 'alarms', alarm: 'aw-x' }, { detail: { sent } }),
    timestamp,
  });
  expect(
    read(
      alarm('trigger', '2026-11-23T08:00:00Z'),
      alarm('trigger', '2026-11-23T08:00:30Z'),
      alarm('resolve', '2026-11-23T08:01:00Z'),
    ),
  ).toMatchObject([{ event: 'incident', summary: 'aw-x', openedAt: AT, resolvedAt: AT + 60_000 }]);
  const [open] = read(alarm('trigger', '2026-11-23T08:00:00Z'));
  expect(open).not.toHaveProperty('resolvedAt');
});

test('dead letters and held capacity are notes; the same one again within ten minutes is not', () => {
  const held = {
    service: 'scaling',
    message: 'capacity held',
    name: 'gha/default',
    error: 'launches fail: no capacity',
  };
  expect(read(held, held, { ...held, timestamp: '2026-11-23T08:11:00Z' })).toMatchObject([
    { level: 'warning', group: 'gha/default', text: 'capacity held: launches fail: no capacity' },
    { at: AT + 660_000 },
  ]);
  expect(read(handled('dead', {}, { reason: 'forged-instance' }))).toMatchObject([
    { level: 'error', text: 'dead letter of lifecycle: forged-instance' },
  ]);
});

test('a registration shows that its instance is in service', () => {
  const request = {
    status: 200,
    outcome: 'registered',
    detail: { instanceId: WHO.runner, group: 'gha/default' },
  };
  expect(read({ service: 'registration', message: 'request handled', request })).toEqual([
    { event: 'in-service', at: AT, ...WHO },
  ]);
  expect(
    read({
      service: 'registration',
      message: 'request handled',
      request: { ...request, outcome: 'refused' },
    }),
  ).toEqual([]);
});

test.each([
  'START RequestId: 1 Version: $LATEST',
  '{"_aws":{},"x":1}',
  '{',
  '{"message":"record handled","service":"lifecycle"}',
  '{"message":"record handled","service":"lifecycle","record":{"outcome":"done"},"report":{"report":"Runner Ready"}}',
])('%s is passed over', (text) => {
  expect(functionLines().read(text, AT)).toEqual([]);
});
