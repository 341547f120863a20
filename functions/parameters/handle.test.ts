import { describe, expect, test } from 'vitest';
import type { Message } from '../../shared/runtime/message.ts';
import type { Outcome } from '../../shared/runtime/outcome.ts';
import { message as inboxMessage } from '../../test/support/sqs.ts';
import { handleParametersMessage, type ParametersDeps } from './handle.ts';
import { looker } from './looker.ts';
import { reconcile } from './reconcile.ts';
import { BUCKET, type FakeHouse, fakeHouse } from './testing/fake-house.ts';

function depsOf(house: FakeHouse): ParametersDeps {
  const { prefix, root, removals, clock } = house.context;
  const isGood = ({ outcome }: { outcome: Outcome }) => outcome.outcome === 'done';
  return {
    prefix,
    root,
    removals,
    bucket: BUCKET,
    looker: looker(() => reconcile(house.context), isGood, clock, 0),
  };
}

function declaredHouse(): FakeHouse {
  const house = fakeHouse();
  house.declare({ '/aw/deployment': '1' });
  return house;
}

function message(house: FakeHouse, body: unknown): Message {
  return inboxMessage(body, { sentAt: house.now() });
}

const event = (source: string, detailType: string, detail: unknown) => ({
  id: 'x',
  source,
  'detail-type': detailType,
  account: '123456789012',
  region: 'us-east-1',
  time: '2026-11-23T03:00:00Z',
  detail,
});
const due = event('aw.schedule', 'Parameters Due', {});
const edit = (name: string, operation = 'Update') =>
  event('aws.ssm', 'Parameter Store Change', { name, operation, type: 'String' });
const created = (key: string, bucket = BUCKET) =>
  event('aws.s3', 'Object Created', { bucket: { name: bucket }, object: { key } });
const launched = (AutoScalingGroupName: string) =>
  event('aws.autoscaling', 'EC2 Instance Launch Successful', { AutoScalingGroupName });

const handle = (house: FakeHouse, body: unknown, deps = depsOf(house)) =>
  handleParametersMessage(message(house, body), deps);

describe('a look is asked for by', () => {
  test.each([
    ['the schedule', due],
    ['a change below the root', edit('/aw/deployment')],
    ['a new declaration', created('config/parameters.json')],
    ['a pointer that moved', created('sets/default/pointer.json')],
    ['a machine of ours', launched('aw-gha-default')],
    [
      'a machine that went',
      event('aws.autoscaling', 'EC2 Instance Terminate Successful', { AutoScalingGroupName: 'aw-bk-x' }),
    ],
  ])('%s', async (_, body) => {
    const house = declaredHouse();
    expect(await handle(house, body)).toMatchObject({ outcome: 'done' });
    expect(house.home.values()).toEqual({ '/aw/deployment': '1' });
  });
});

describe('skipped without a look', () => {
  test.each([
    ['foreign-parameter', edit('/awful/x')],
    ['foreign-parameter', edit('/aw')],
    ['foreign-bucket', created('config/parameters.json', 'other')],
    ['other-object', created('sets/../pointer.json')],
    ['other-object', created('sets/default/run.json')],
    ['other-object', created('config/parameters.json.bak')],
    ['foreign-group', launched('other-gha-default')],
    ['foreign-group', launched('aw-gha-../x')],
  ])('%s', async (reason, body) => {
    const house = declaredHouse();
    expect(await handle(house, body)).toEqual({ outcome: 'skipped', reason });
    expect(house.home.calls).toEqual([]);
  });
});

describe('dead at once', () => {
  test.each([
    ['malformed-envelope', 'text'],
    ['malformed-envelope', { ...due, detail: 'x' }],
    ['unknown-event', event('aws.ssm', 'Parameter Store Policy Action', {})],
    ['malformed-detail', edit('x'.repeat(3000))],
    ['malformed-detail', event('aws.ssm', 'Parameter Store Change', { name: { $ne: '' } })],
    ['malformed-detail', event('aws.s3', 'Object Created', { bucket: BUCKET })],
    ['malformed-detail', launched('x'.repeat(300))],
  ])('%s', async (reason, body) => {
    expect(await handle(declaredHouse(), body)).toMatchObject({ outcome: 'dead', reason });
  });

  test('a declaration with a value that Parameter Store does not take; the schedule does not repeat it', async () => {
    const house = declaredHouse();
    house.declare({ '/aw/big': 'x'.repeat(5000), '/aw/deployment': '1' });
    expect(await handle(house, created('config/parameters.json'))).toMatchObject({
      outcome: 'dead',
      reason: 'faulty-object',
    });
    expect(await handle(house, due)).toMatchObject({ outcome: 'done' });
  });

  test('a declaration that is no JSON; capacity events are skipped meanwhile', async () => {
    const house = declaredHouse();
    house.store.put('config/parameters.json', '{');
    expect(await handle(house, due)).toMatchObject({ outcome: 'dead', reason: 'corrupt-record' });
    expect(await handle(house, launched('aw-gha-default'))).toMatchObject({
      outcome: 'skipped',
      reason: 'nothing-declared',
    });
  });
});

test('without a declaration the schedule asks again, until its deadline; others leave it to it', async () => {
  const house = fakeHouse();
  expect(await handle(house, due)).toEqual({
    outcome: 'retry',
    reason: 'nothing-declared',
    afterSeconds: 60,
    deadline: new Date('2026-11-23T03:15:00Z'),
  });
  expect(await handle(house, edit('/aw/x'))).toEqual({ outcome: 'skipped', reason: 'nothing-declared' });
});

test('a source that cannot be read is tried again', async () => {
  const house = declaredHouse();
  house.store.read = async () => {
    throw Object.assign(new Error('slow down'), { name: 'SlowDown' });
  };
  expect(await handle(house, edit('/aw/x'))).toMatchObject({
    outcome: 'retry',
    reason: 'service-unavailable',
  });
});

test('a backlog of events costs one look', async () => {
  const house = declaredHouse();
  const deps = depsOf(house);
  const old = message(house, launched('aw-gha-default'));
  house.pass(5000);
  expect(await handleParametersMessage(old, deps)).toMatchObject({ outcome: 'done' });
  expect(await handleParametersMessage(old, deps)).toEqual({ outcome: 'skipped', reason: 'looked-since' });
  // The schedule's look is what all others rely on: it is never left out.
  expect(await handleParametersMessage({ ...old, body: due }, deps)).toMatchObject({ outcome: 'done' });
});

test('a hand edit is repaired and counted once, and the event about the repair changes nothing', async () => {
  const house = declaredHouse();
  const deps = depsOf(house);
  await handle(house, due, deps);
  house.pass(60_000);
  house.home.edit('/aw/deployment', 'mine', house.now());
  await handle(house, edit('/aw/deployment'), deps);
  house.pass(1000);
  house.home.calls.length = 0;
  expect(await handle(house, edit('/aw/deployment'), deps)).toMatchObject({ outcome: 'done' });
  expect(house.home.calls).toEqual([]);
  expect(house.drift).toEqual([1]);
});

test('a parameter of another type is replaced and counted once, though its delete is told as an event', async () => {
  const house = declaredHouse();
  const deps = depsOf(house);
  house.home.edit('/aw/deployment', 'secret', house.now(), 'SecureString');
  expect(await handle(house, due, deps)).toMatchObject({ outcome: 'retry', reason: 'writes-left' });
  expect(await handle(house, edit('/aw/deployment', 'Delete'), deps)).toMatchObject({ outcome: 'done' });
  expect(house.home.values()).toEqual({ '/aw/deployment': '1' });
  expect(house.drift).toEqual([1]);
});

test('a parameter that somebody deleted is back, and counted', async () => {
  const house = declaredHouse();
  const deps = depsOf(house);
  await handle(house, due, deps);
  house.home.erase('/aw/deployment');
  await handle(house, edit('/aw/deployment', 'Delete'), deps);
  expect(house.home.values()).toEqual({ '/aw/deployment': '1' });
  expect(house.drift).toEqual([1]);
});
