import { resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readFunctionSpecs, visibilitySeconds } from '../../shared/runtime/function-spec.ts';
import { message as inboxMessage, outcomeOf } from '../../test/support/sqs.ts';
import { handleWarmingMessage, retryForMs } from './handle.ts';
import { BUCKET, type FakeWarming, fakeWarming, idOf } from './testing/fake-warming.ts';

const event = (source: string, detailType: string, detail: unknown) => ({
  id: 'x',
  source,
  'detail-type': detailType,
  account: '123456789012',
  region: 'us-east-1',
  time: '2026-11-23T03:00:00Z',
  detail,
});
const due = (set: unknown) => event('aw.schedule', 'Warming Run Due', { set });
const check = (set: unknown) => event('aw.schedule', 'Warming Check', { set });
const created = (key: unknown, bucket = BUCKET) =>
  event('aws.s3', 'Object Created', { bucket: { name: bucket }, object: { key } });
const sender = {
  group: 'gha/warming',
  instanceId: 'i-0123456789abcdef0',
  autoScalingGroup: 'aw-gha-warming',
  at: '2026-11-23T03:05:00Z',
};
const report = (name: string, change: object = {}) =>
  event('aw.lifecycle', name, { report: name, ...sender, ...change });
const unhealthy = (change: object = {}) =>
  report('Runner Unhealthy', { reason: 'warming run failed: exit 37', ...change });
const failedBoot = (instanceId: string) =>
  report('Runner Failed', { stage: 'agent', reason: 'x', instanceId });
const ready = (snapshot: object) => report('Runner Ready', { snapshot, seconds: { restore: 1, boot: 2 } });

function handle(warming: FakeWarming, body: unknown) {
  return outcomeOf(handleWarmingMessage(inboxMessage(body, { sentAt: warming.now() }), warming.deps));
}

/** A run that began at 3:00; it is 3:10. */
async function running(): Promise<FakeWarming> {
  const warming = fakeWarming();
  expect(await handle(warming, due('default'))).toMatchObject({ outcome: 'done' });
  warming.pass(10);
  return warming;
}

describe('skipped', () => {
  test.each([
    ['unknown-set', due('../default')],
    ['unknown-set', due('__proto__')],
    ['unknown-set', check('constructor')],
    ['unknown-set', created(`sets/other/snapshots/${idOf(22)}/manifest.json`)],
    ['foreign-bucket', created(`sets/default/snapshots/${idOf(22)}/manifest.json`, 'elsewhere')],
    ['no-manifest', created('sets/../default/snapshots/x/manifest.json')],
    ['no-manifest', created(`sets/default/snapshots/${idOf(22)}/../manifest.json`)],
    ['no-manifest', created('sets/default/pointer.json')],
    ['no-manifest', created('')],
    ['no-such-snapshot', created(`sets/default/snapshots/${idOf(22)}/manifest.json`)],
    ['snapshot-not-broken', ready({ set: 'default', outcome: 'restored', id: idOf(22) })],
    ['unknown-set', ready({ set: 'other', outcome: 'cold', broken: { id: idOf(22), reason: 'x' } })],
    ['no-pointer', ready({ set: 'default', outcome: 'cold', broken: { id: idOf(22), reason: 'x' } })],
    ['no-run', unhealthy()],
    ['no-run', failedBoot('i-0123456789abcdef0')],
  ])('%s', async (reason, body) => {
    const warming = fakeWarming();
    expect(await handle(warming, body)).toMatchObject({ outcome: 'skipped', reason });
    expect(warming.store.keys()).toEqual([]);
    expect(warming.desiredSet).toEqual([]);
  });
});

describe('dead at once', () => {
  test.each([
    ['malformed-envelope', null],
    ['malformed-envelope', { ...due('default'), time: 'soon' }],
    ['unknown-event', event('aw.schedule', 'Parameters Due', {})],
    ['unknown-event', event('aws.lifecycle', 'Runner Ready', {})],
    ['malformed-detail', due(undefined)],
    ['malformed-detail', due({ $ne: '' })],
    ['malformed-detail', check('x'.repeat(65))],
    ['malformed-detail', created({ toString: 'x' })],
    ['malformed-detail', created('x'.repeat(1025))],
    ['malformed-detail', event('aws.s3', 'Object Created', { object: { key: 'x' } })],
    ['malformed-report', unhealthy({ instanceId: '../../etc/passwd' })],
    ['malformed-report', unhealthy({ group: 'gha/../x' })],
    ['malformed-report', ready({ set: '../x', outcome: 'cold', broken: { id: 'x', reason: 'x' } })],
  ])('%s', async (reason, body) => {
    const warming = fakeWarming();
    expect(await handle(warming, body)).toMatchObject({ outcome: 'dead', reason });
  });

  test('corrupt-record, where only an operator can mend the pointer', async () => {
    const warming = fakeWarming();
    warming.store.put('sets/default/pointer.json', '{"version":2}');
    expect(await handle(warming, check('default'))).toMatchObject({
      outcome: 'dead',
      reason: 'corrupt-record',
    });
  });

  test('a report of another deployment is not for this function', async () => {
    const foreign = event('other.lifecycle', 'Runner Unhealthy', { report: 'Runner Unhealthy', ...sender });
    expect(await handle(fakeWarming(), foreign)).toMatchObject({ outcome: 'dead', reason: 'unknown-event' });
  });
});

describe('an instance of the warming group', () => {
  test('whose warming run failed ends the run, once', async () => {
    const warming = await running();
    expect(await handle(warming, unhealthy())).toEqual({ outcome: 'done', detail: { failed: ['default'] } });
    expect(await handle(warming, unhealthy())).toEqual({ outcome: 'skipped', reason: 'no-run' });
    expect(await warming.run()).toMatchObject({ state: 'failed', reason: 'warming run failed: exit 37' });
    expect(warming.metrics).toEqual(['WarmingRunFailures 1']);
    expect(warming.capacity?.desired).toBe(0);
  });

  test('of another group, or of an earlier run, ends nothing', async () => {
    const warming = await running();
    expect(
      await handle(warming, unhealthy({ group: 'gha/default', autoScalingGroup: 'aw-gha-default' })),
    ).toMatchObject({ reason: 'no-run' });
    expect(await handle(warming, unhealthy({ at: '2026-11-23T02:59:59Z' }))).toMatchObject({
      reason: 'no-run',
    });
    expect(await warming.run()).toMatchObject({ state: 'running' });
  });

  test('that is unhealthy for another cause can be one of the minimum: it is recorded', async () => {
    const warming = await running();
    const diskFull = unhealthy({ reason: 'disk full: 1.0 % free at /' });
    expect(await handle(warming, diskFull)).toEqual({ outcome: 'done', detail: { recorded: ['default'] } });
    expect(await warming.run()).toMatchObject({ state: 'running' });
    expect(warming.metrics).toEqual([]);
  });

  test('that is unhealthy after the snapshot is saved ends nothing', async () => {
    const warming = await running();
    warming.save(idOf(23, 3), ['base']);
    expect(await handle(warming, unhealthy())).toEqual({ outcome: 'skipped', reason: 'no-run' });
    expect(await warming.run()).toMatchObject({ state: 'running' });
  });

  test('that does not boot is replaced by Auto Scaling; the third one ends the run', async () => {
    const warming = await running();
    const [one, two, three] = ['i-00000000000000001', 'i-00000000000000002', 'i-00000000000000003'] as const;
    expect(await handle(warming, failedBoot(one))).toEqual({
      outcome: 'done',
      detail: { recorded: ['default'] },
    });
    for (let again = 0; again < 3; again += 1) await handle(warming, failedBoot(one));
    await handle(warming, failedBoot(two));
    expect(await warming.run()).toMatchObject({ state: 'running', failedInstances: [one, two] });
    expect(await handle(warming, failedBoot(three))).toMatchObject({ detail: { failed: ['default'] } });
    expect(await warming.run()).toMatchObject({ state: 'failed' });
    expect(warming.capacity?.desired).toBe(0);
  });
});

describe('the retry time of a message', () => {
  test.each([
    ['of a due run: until the deadline of the run', due('default'), 60],
    ['of a check: until several later checks have run', check('default'), 30],
    ['of a snapshot: six hours', created(`sets/default/snapshots/${idOf(22)}/manifest.json`), 360],
  ])('%s', (_, body, minutes) => {
    expect(retryForMs({ body }, fakeWarming().deps)).toBe(minutes * 60_000);
  });
});

test('a message whose invocation crashed is visible again within ten minutes, and not before the timeout', async () => {
  const spec = (await readFunctionSpecs(resolve(import.meta.dirname, '../..'))).find(
    ({ name }) => name === 'warming',
  );
  expect(spec && visibilitySeconds(spec)).toBeGreaterThan(spec?.timeoutSeconds ?? 0);
  expect(spec && visibilitySeconds(spec)).toBeLessThanOrEqual(600);
});

test('work that is left at the time limit changes nothing when its environment resumes', async () => {
  const warming = fakeWarming({ keep: 1 });
  for (const day of [10, 11, 12]) warming.save(idOf(day), [`layer ${day}`]);
  warming.setPointer({ current: idOf(12) });
  warming.pass(20);
  const limit = new AbortController();
  const { remove } = warming.store;
  const removed: string[] = [];
  warming.store.remove = async (key, ...rest) => {
    removed.push(key);
    limit.abort();
    return remove(key, ...rest);
  };
  const message = inboxMessage(check('default'), { sentAt: warming.now(), signal: limit.signal });
  await handleWarmingMessage(message, warming.deps).catch(() => undefined);
  expect(removed).toEqual([`sets/default/snapshots/${idOf(10)}/manifest.json`]);
});
