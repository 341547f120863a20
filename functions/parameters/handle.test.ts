import { describe, expect, test } from 'vitest';
import type { Message } from '../../shared/runtime/message.ts';
import { envelope as event, message as inboxMessage, outcomeOf } from '../../test/support/sqs.ts';
import { handleParametersMessage } from './handle.ts';
import { BUCKET, type FakeParameterWorld, fakeParameterWorld } from './testing/fake-parameter-world.ts';
import { awsError } from './testing/fake-region.ts';

function declaredWorld(): FakeParameterWorld {
  const world = fakeParameterWorld();
  world.declare({ '/aw/deployment': '1' });
  return world;
}

function message(world: FakeParameterWorld, body: unknown): Message {
  return inboxMessage(body, { sentAt: world.now() });
}

const due = event('aw.schedule', 'Parameters Due', {});
const edit = (name: string, operation = 'Update') =>
  event('aws.ssm', 'Parameter Store Change', { name, operation, type: 'String' });
const created = (key: string, bucket = BUCKET) =>
  event('aws.s3', 'Object Created', { bucket: { name: bucket }, object: { key } });
const launched = (AutoScalingGroupName: string) =>
  event('aws.autoscaling', 'EC2 Instance Launch Successful', { AutoScalingGroupName });

const handle = (world: FakeParameterWorld, body: unknown) =>
  outcomeOf(handleParametersMessage(message(world, body), world.deps));

describe('a pass follows', () => {
  test.each([
    ['the schedule', due],
    ['a change below the root', edit('/aw/deployment')],
    ['a label below the root', edit('/aw/deployment', 'LabelParameterVersion')],
    ['a new declaration', created('config/parameters.json')],
    ['a changed pointer', created('sets/default/pointer.json')],
    ['a launched instance of the deployment', launched('aw-gha-default')],
    [
      'a terminated instance of the deployment',
      event('aws.autoscaling', 'EC2 Instance Terminate Successful', { AutoScalingGroupName: 'aw-bk-x' }),
    ],
  ])('%s', async (_, body) => {
    const world = declaredWorld();
    expect(await handle(world, body)).toMatchObject({ outcome: 'done' });
    expect(world.home.values()).toEqual({ '/aw/deployment': '1' });
  });
});

describe('skipped without a pass', () => {
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
    const world = declaredWorld();
    expect(await handle(world, body)).toEqual({ outcome: 'skipped', reason });
    expect(world.home.calls).toEqual([]);
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
    expect(await handle(declaredWorld(), body)).toMatchObject({ outcome: 'dead', reason });
  });

  test('a declaration with a value that Parameter Store does not accept; the schedule does not repeat it', async () => {
    const world = declaredWorld();
    world.declare({ '/aw/big': 'x'.repeat(5000), '/aw/deployment': '1' });
    expect(await handle(world, created('config/parameters.json'))).toMatchObject({
      outcome: 'dead',
      reason: 'faulty-object',
    });
    expect(await handle(world, due)).toMatchObject({ outcome: 'done' });
  });

  test('a declaration that is no JSON; capacity events are skipped meanwhile', async () => {
    const world = declaredWorld();
    world.store.put('config/parameters.json', '{');
    expect(await handle(world, due)).toMatchObject({ outcome: 'dead', reason: 'corrupt-record' });
    expect(await handle(world, launched('aw-gha-default'))).toMatchObject({
      outcome: 'skipped',
      reason: 'nothing-declared',
    });
  });
});

test('without a declaration the schedule is retried, and other events are skipped', async () => {
  const world = fakeParameterWorld();
  expect(await handle(world, due)).toEqual({
    outcome: 'retry',
    reason: 'nothing-declared',
    afterSeconds: 60,
  });
  expect(await handle(world, edit('/aw/x'))).toEqual({ outcome: 'skipped', reason: 'nothing-declared' });
});

test('a source that cannot be read is retried', async () => {
  const world = declaredWorld();
  world.store.read = async () => {
    throw Object.assign(new Error('slow down'), { name: 'SlowDown' });
  };
  expect(await handle(world, edit('/aw/x'))).toMatchObject({
    outcome: 'retry',
    reason: 'service-unavailable',
  });
});

test('a backlog of events costs one pass', async () => {
  const world = declaredWorld();
  const old = message(world, launched('aw-gha-default'));
  world.pass(5000);
  expect(await handleParametersMessage(old, world.deps)).toMatchObject({ outcome: 'done' });
  expect(await handleParametersMessage(old, world.deps)).toEqual({
    outcome: 'skipped',
    reason: 'already-reconciled',
  });
  // The pass of the schedule replaces skipped ones, so it is never skipped.
  expect(await handleParametersMessage({ ...old, body: due }, world.deps)).toMatchObject({ outcome: 'done' });
});

test('a hand edit is repaired and counted once, and the event about the repair changes nothing', async () => {
  const world = declaredWorld();
  await handle(world, due);
  world.pass(60_000);
  world.home.edit('/aw/deployment', 'mine', world.now());
  await handle(world, edit('/aw/deployment'));
  world.pass(1000);
  world.home.calls.length = 0;
  expect(await handle(world, edit('/aw/deployment'))).toMatchObject({ outcome: 'done' });
  expect(world.home.calls).toEqual([]);
  expect(world.drift).toEqual([1]);
});

test('a parameter of another type is replaced and counted once, though there is an event about its delete', async () => {
  const world = declaredWorld();
  world.home.edit('/aw/deployment', 'secret', world.now(), 'SecureString');
  expect(await handle(world, due)).toMatchObject({ outcome: 'retry', reason: 'writes-left' });
  expect(await handle(world, edit('/aw/deployment', 'Delete'))).toMatchObject({ outcome: 'done' });
  expect(world.home.values()).toEqual({ '/aw/deployment': '1' });
  expect(world.drift).toEqual([1]);
});

describe('a pass that has no time for all writes', () => {
  const age = (world: FakeParameterWorld, seconds: number) => {
    const sentAt = new Date(world.now().getTime() - seconds * 1000);
    return outcomeOf(handleParametersMessage(inboxMessage(due, { sentAt }), world.deps));
  };

  test('leaves them to the next message, which comes before this one would be dead', async () => {
    const world = declaredWorld();
    world.declare({ '/aw/a': '1', '/aw/b': '2', '/aw/c': '3' });
    for (const home of [world.home, world.replica])
      home.before = ([name]) => {
        if (name !== '/aw/a') throw awsError('ThrottlingException');
      };
    expect(await age(world, 10)).toMatchObject({ outcome: 'retry', reason: 'writes-left' });
    for (const home of [world.home, world.replica]) home.erase('/aw/a');
    expect(await age(world, 250)).toMatchObject({ outcome: 'skipped', reason: 'stale' });
  });

  test('is dead in the end if it cannot write at all', async () => {
    const world = declaredWorld();
    world.home.before = () => {
      throw awsError('ThrottlingException');
    };
    expect(await age(world, 250)).toMatchObject({ outcome: 'retry', reason: 'writes-left' });
  });
});

test('a parameter that somebody deleted is written again and counted', async () => {
  const world = declaredWorld();
  await handle(world, due);
  world.home.erase('/aw/deployment');
  await handle(world, edit('/aw/deployment', 'Delete'));
  expect(world.home.values()).toEqual({ '/aw/deployment': '1' });
  expect(world.drift).toEqual([1]);
});

test('while one parameter cannot be overwritten, a new declaration is not dead', async () => {
  const world = declaredWorld();
  await handle(world, due);
  world.home.edit('/aw/deployment', 'by hand', world.now(), 'String', { advanced: true });
  expect(await handle(world, created('config/parameters.json'))).toMatchObject({ outcome: 'retry' });
  expect(await handle(world, created('config/parameters.json'))).toMatchObject({ outcome: 'done' });
});
