import { expect, test } from 'vitest';
import { envelope, message, outcomeOf } from '../../test/support/sqs.ts';
import { handleWarmingMessage } from './handle.ts';
import { type FakeWarming, fakeWarming } from './testing/fake-warming.ts';

/** The report that fails a run, as `lifecycle` of a deployment with the prefix publishes it. */
const failure = (prefix: string, autoScalingGroup = `${prefix}-gha-warming`) =>
  envelope(`${prefix}.lifecycle`, 'Runner Unhealthy', {
    report: 'Runner Unhealthy',
    group: 'gha/warming',
    instanceId: 'i-0123456789abcdef0',
    autoScalingGroup,
    at: '2026-11-23T03:05:00Z',
    reason: 'warming run failed: forged',
  });

function handle(warming: FakeWarming, body: unknown) {
  return outcomeOf(handleWarmingMessage(message(body, { sentAt: warming.now() }), warming.deps));
}

async function running(): Promise<FakeWarming> {
  const warming = fakeWarming();
  await handle(
    warming,
    envelope('aw.schedule', 'Warming Run Due', { set: 'default' }, { time: warming.now() }),
  );
  warming.pass(10);
  expect(await warming.run()).toMatchObject({ state: 'running' });
  return warming;
}

test.each([
  ['of another deployment with a group of the same name', 'unknown-event', failure('xx')],
  ['about the group of another deployment', 'forged-group', failure('aw', 'xx-gha-warming')],
  ['about another group of this deployment', 'forged-group', failure('aw', 'aw-gha-default')],
  ['of another account', 'foreign-account', { ...failure('aw'), account: '999999999999' }],
  ['of another account and deployment', 'foreign-account', { ...failure('xx'), account: '999999999999' }],
])('an event %s ends no run', async (_, reason, body) => {
  const warming = await running();
  expect(await handle(warming, body)).toMatchObject({ outcome: 'dead', reason });
  expect(await warming.run()).toMatchObject({ state: 'running' });
  expect(warming.capacity?.desired).toBe(1);
  expect(warming.metrics).toEqual([]);
});

test.each(['Warming Run Due', 'Warming Check'])(
  '%s of another deployment starts and changes nothing',
  async (name) => {
    const warming = fakeWarming();
    const body = envelope('xx.schedule', name, { set: 'default' });
    expect(await handle(warming, body)).toMatchObject({ outcome: 'dead', reason: 'unknown-event' });
    expect(warming.store.keys()).toEqual([]);
    expect(warming.desiredSet).toEqual([]);
  },
);

test('the same event of this deployment ends the run', async () => {
  const warming = await running();
  expect(await handle(warming, failure('aw'))).toMatchObject({ outcome: 'done' });
  expect(await warming.run()).toMatchObject({ state: 'failed' });
});
