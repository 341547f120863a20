import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { blockBudget } from '../../shared/ci/budget.ts';
import { GROUPS_KEY } from '../../shared/fleet/group-settings.ts';
import { parseSweep, SWEEP_KEY } from '../../shared/fleet/registration-record.ts';
import { envelope, message, outcomeOf } from '../../test/support/sqs.ts';
import { handleMessage, retryForMs } from './handle-message.ts';
import {
  type FakeRegistration,
  fakeRegistration,
  GROUPS,
  type GroupId,
  INSTANCE,
  OTHER_INSTANCE,
} from './testing/fake-registration.ts';

let fake: FakeRegistration;
beforeEach(() => {
  fake = fakeRegistration();
  vi.stubGlobal('fetch', fake.github.fetch);
});
afterEach(() => {
  vi.unstubAllGlobals();
});

const handle = (body: unknown) => outcomeOf(handleMessage(message(body), fake.deps));

const terminated = (
  instanceId = INSTANCE,
  AutoScalingGroupName: string = GROUPS['gha/default'].autoScalingGroup,
) =>
  envelope('aws.autoscaling', 'EC2 Instance Terminate Successful', {
    AutoScalingGroupName,
    EC2InstanceId: instanceId,
  });
const due = envelope('aw.schedule', 'Registration Sweep', {});

async function issue(instanceId = INSTANCE, group: GroupId = 'gha/default') {
  fake.launch(instanceId, group);
  const agent = group === 'bk/default' ? { agent: { meta_data: ['queue=default'] } } : {};
  const answer = await fake.request(
    { action: 'register', previous: 'none', ...agent },
    { instanceId, group },
  );
  expect(answer.status).toBe(200);
}

describe('an instance that has terminated', () => {
  test('leaves nothing at the provider and no record', async () => {
    await issue();
    await issue(OTHER_INSTANCE);
    fake.instances.delete(INSTANCE);
    expect(await handle(terminated())).toEqual({
      outcome: 'done',
      detail: { instanceId: INSTANCE, removed: [`${INSTANCE}-1`] },
    });
    expect(fake.github.runners.map(({ name }) => name)).toEqual([`${OTHER_INSTANCE}-1`]);
    expect(await fake.record()).toBeUndefined();
    expect(await fake.record(OTHER_INSTANCE)).toBeDefined();
    expect(await handle(terminated())).toMatchObject({ outcome: 'skipped', reason: 'no-registration' });
  });

  test('leaves no earlier registration either', async () => {
    await issue();
    fake.github.add(`${INSTANCE}-0`);
    await handle(terminated());
    expect(fake.github.runners).toEqual([]);
  });

  test('whose registration the provider calls busy is cleaned up later', async () => {
    await issue();
    for (const runner of fake.github.runners) runner.busy = true;
    expect(await handle(terminated())).toMatchObject({
      outcome: 'retry',
      reason: 'registration-busy',
      afterSeconds: 300,
    });
    expect(await fake.record()).toBeDefined();
    for (const runner of fake.github.runners) runner.busy = false;
    expect(await handle(terminated())).toMatchObject({ outcome: 'done' });
  });

  test('whose answer was lost is found by its name', async () => {
    fake.github.lost.add('POST /repos/acme/monorepo/actions/runners/generate-jitconfig');
    fake.launch();
    await fake.request({ action: 'register', previous: 'none' });
    expect(fake.github.runners).toHaveLength(1);
    expect(await handle(terminated())).toMatchObject({ outcome: 'done' });
    expect(fake.github.runners).toEqual([]);
  });

  test('in a fleet that is replaced, one list serves many', async () => {
    const ids = Array.from({ length: 20 }, (_, index) => `i-${String(index).padStart(17, '0')}`);
    for (const id of ids) await issue(id);
    fake.github.calls.length = 0;
    for (const id of ids) await handle(terminated(id));
    expect(fake.github.runners).toEqual([]);
    expect(fake.github.calls.filter(({ call }) => call.startsWith('GET'))).toHaveLength(1);
  });

  test('in a fleet with a long list, the list costs eight calls per minute, and not a call per page each half minute', async () => {
    for (let index = 0; index < 2_000; index += 1) fake.github.add(`i-${String(index).padStart(17, '1')}-1`);
    const ids = Array.from({ length: 20 }, (_, index) => `i-${String(index).padStart(17, '0')}`);
    for (const id of ids) await issue(id);
    fake.github.calls.length = 0;
    // One per ten seconds.
    for (const id of ids) {
      await handle(terminated(id));
      fake.pass(10);
    }
    const pages = fake.github.calls.filter(({ call }) => call.startsWith('GET')).length;
    expect(pages).toBeLessThanOrEqual(8 * (200 / 60) + 21);
    expect(fake.github.runners).toHaveLength(2_000);
  });

  test('of Buildkite and CircleCI leaves its record only', async () => {
    await issue(INSTANCE, 'cci/default');
    expect(await handle(terminated(INSTANCE, 'aw-cci-default'))).toMatchObject({ outcome: 'done' });
    expect(await fake.record()).toBeUndefined();
  });

  test('of another deployment is not touched', async () => {
    await issue();
    for (const group of ['other-gha-default', 'aw-gha-undeclared']) {
      const foreign = terminated(INSTANCE, group);
      expect(await handle(foreign)).toMatchObject({ outcome: 'skipped', reason: 'foreign-group' });
    }
    expect(fake.github.runners).toHaveLength(1);
  });

  test.each([
    [{ status: 401 }, 'credential'],
    [{ status: 403, body: { message: 'no' } }, 'registration-busy'],
    [{ status: 403, headers: { 'retry-after': '7' } }, 'rate-limited'],
    [{ status: 302 }, 'settings'],
    [{ status: 429, headers: { 'retry-after': '7' } }, 'rate-limited'],
    [{ status: 502 }, 'provider-unavailable'],
  ])('is retried after %j', async (answer, reason) => {
    await issue();
    fake.github.answer('DELETE', answer);
    expect(await handle(terminated())).toMatchObject({ outcome: 'retry', reason });
    expect(await fake.record()).toBeDefined();
    expect(fake.metrics).toEqual(reason === 'credential' ? ['CredentialFailures 1'] : []);
  });
});

test.each([
  [envelope('aws.autoscaling', 'EC2 Instance Launch Successful', {}), 'unknown-event'],
  [envelope('aws.autoscaling', 'EC2 Instance Terminate Successful', {}), 'malformed-detail'],
  [terminated('../x'), 'malformed-detail'],
  [{}, 'malformed-envelope'],
])('anything else is dead', async (body, reason) => {
  expect(await handle(body)).toMatchObject({ outcome: 'dead', reason });
});

test('a sweep is retried until the next one, a termination for a day', () => {
  expect([due, terminated(), 'text', null].map((body) => retryForMs({ body }) / 60_000)).toEqual([
    5, 1440, 1440, 1440,
  ]);
});

describe('the sweep', () => {
  test('of a provider that is down is left to the next one: an outage of hours leaves no dead letters', async () => {
    await issue();
    fake.github.answer('GET /repos/acme/monorepo/actions/runners', { status: 503 });
    const sweepOf = (ageSeconds: number) => {
      const sentAt = new Date(fake.now().getTime() - ageSeconds * 1000);
      return outcomeOf(handleMessage(message(due, { sentAt }), fake.deps));
    };
    expect(await sweepOf(200)).toMatchObject({ outcome: 'retry', reason: 'provider-unavailable' });
    expect(await sweepOf(241)).toMatchObject({ outcome: 'skipped', reason: 'stale' });
  });

  test('removes what instances left that no longer exist, over all pages, and their records', async () => {
    fake.github.pageSize = 3;
    const ids = Array.from({ length: 10 }, (_, index) => `i-${String(index).padStart(17, '0')}`);
    for (const id of ids) await issue(id);
    for (const id of ids.slice(2)) fake.instances.delete(id);
    expect(await handle(due)).toMatchObject({ outcome: 'done', detail: { kept: [] } });
    expect(fake.metrics).toContain('RegistrationsLeftBehind 0');
    expect(fake.github.runners.map(({ name }) => name)).toEqual(ids.slice(0, 2).map((id) => `${id}-1`));
    fake.pass(3600);
    await handle(due);
    const records = fake.store.keys().filter((key) => key.startsWith('registrations/i-'));
    expect(records).toEqual(ids.slice(0, 2).map((id) => `registrations/${id}.json`));
  });

  test('leaves alone what is online or busy, and registrations of others', async () => {
    await issue();
    await issue(OTHER_INSTANCE);
    fake.instances.clear();
    // A detached instance is in no group, and its agent still runs.
    Object.assign(fake.github.named(`${INSTANCE}-1`) ?? {}, { status: 'online' });
    Object.assign(fake.github.named(`${OTHER_INSTANCE}-1`) ?? {}, { busy: true });
    // Another deployment at the same repository, and a runner of nobody here.
    fake.github.add('i-00000000000000099-1');
    fake.github.add('someone-elses-runner');
    expect(await handle(due)).toMatchObject({
      detail: { removed: [], kept: [`${INSTANCE}-1`, `${OTHER_INSTANCE}-1`] },
    });
    expect(fake.github.runners).toHaveLength(4);
    expect(fake.metrics).toContain('RegistrationsLeftBehind 2');
    fake.pass(7200);
    await handle(due);
    expect(await fake.record()).toBeDefined();
  });

  test('removes what an instance left behind beside its latest registration', async () => {
    await issue();
    fake.github.add(`${INSTANCE}-0`);
    await handle(due);
    expect(fake.github.runners.map(({ name }) => name)).toEqual([`${INSTANCE}-1`]);
    expect(fake.metrics).not.toContain('ExcessRegistrations 1 gha/default');
  });

  test('counts an instance with two live registrations', async () => {
    await issue();
    fake.github.add(`${INSTANCE}-0`, { status: 'online' });
    await handle(due);
    expect(fake.metrics).toContain('ExcessRegistrations 1 gha/default');
    expect(fake.github.runners).toHaveLength(2);
  });

  test('counts instances in service that have no registration in two sweeps in a row', async () => {
    await issue();
    await issue(OTHER_INSTANCE, 'gha/org');
    fake.launch('i-00000000000000001');
    fake.launch('i-00000000000000002', 'gha/default', 'Pending:Wait');
    fake.launch('i-00000000000000003', 'bk/default');
    const counts = () => fake.metrics.filter((line) => line.startsWith('InstancesWithoutAgent'));
    await handle(due);
    expect(counts()).toEqual(
      ['gha/default', 'gha/org', 'bk/default', 'cci/default'].map((id) => `InstancesWithoutAgent 0 ${id}`),
    );
    fake.metrics.length = 0;
    fake.pass(300);
    await handle(due);
    expect(counts()).toEqual([
      'InstancesWithoutAgent 1 gha/default',
      'InstancesWithoutAgent 0 gha/org',
      'InstancesWithoutAgent 1 bk/default',
      'InstancesWithoutAgent 0 cci/default',
    ]);
  });

  describe('what it notes for the function lifecycle', () => {
    const noted = async () => parseSweep((await fake.store.read(SWEEP_KEY))?.text);
    const SILENT = 'i-00000000000000001';

    test('instances that have no registration and request none, since the first sweep that found them', async () => {
      fake.launch(SILENT);
      fake.launch('i-00000000000000003', 'bk/default');
      await handle(due);
      const first = await noted();
      fake.pass(600);
      await handle(due);
      const second = await noted();
      expect(second?.silent).toEqual([SILENT, 'i-00000000000000003']);
      expect(second?.withoutAgent).toEqual(first?.withoutAgent);
      expect(Date.parse(second?.at ?? '') - Date.parse(first?.at ?? '')).toBe(600_000);
    });

    test('instances whose runners the provider lists as busy', async () => {
      await issue();
      await issue(OTHER_INSTANCE, 'gha/org');
      fake.launch(SILENT);
      Object.assign(fake.github.named(`${OTHER_INSTANCE}-1`) ?? {}, { status: 'online', busy: true });
      // Of another deployment that shares the repository.
      fake.github.add('i-00000000000000999-1', { status: 'online', busy: true });
      await handle(due);
      expect((await noted())?.busy).toEqual([OTHER_INSTANCE]);
    });

    test('not one that has requested a registration a moment ago, and one that has stopped to', async () => {
      await issue();
      fake.github.runners.length = 0;
      fake.pass(60);
      await handle(due);
      expect(await noted()).toMatchObject({ withoutAgent: { [INSTANCE]: expect.any(String) }, silent: [] });
      fake.pass(900);
      await handle(due);
      expect((await noted())?.silent).toEqual([INSTANCE]);
    });

    test.each(['gha/default', 'bk/default', 'cci/default'] as const)(
      'not one whose requests are refused, whatever refuses them: %s',
      async (group) => {
        const agent = group === 'bk/default' ? { agent: { meta_data: ['queue=default'] } } : {};
        const body = { action: 'register', previous: 'none', ...agent };
        const refuse: Record<string, () => void | Promise<void>> = {
          provider: () =>
            fake.github.answer('POST /repos/acme/monorepo/actions/runners/generate-jitconfig', {
              status: 502,
            }),
          budget: async () => {
            const options = { signal: new AbortController().signal, onRateLimit() {} };
            const client = await fake.deps.providers.open(GROUPS[group], 'i', options);
            await blockBudget(client.installation, 600, fake.deps);
          },
          secret: () => {
            for (const name of fake.secrets.keys()) fake.secrets.set(name, undefined);
            fake.restart();
          },
        };
        for (const [index, begin] of Object.values(refuse).entries()) {
          const instanceId = `i-0000000000000000${index + 1}`;
          fake.launch(instanceId, group);
          await begin();
          const { outcome } = await fake.request(body, { instanceId, group });
          if (group === 'gha/default') expect(outcome).toBe('refused');
          await handle(due);
          expect((await noted())?.silent).not.toContain(instanceId);
        }
      },
    );
  });

  test('one provider that fails does not stop the others, and nothing is concluded from a list that was not read', async () => {
    await issue();
    await issue(OTHER_INSTANCE, 'gha/org');
    fake.instances.clear();
    fake.launch('i-00000000000000001');
    fake.github.answer('GET /repos/acme/monorepo/actions/runners', { status: 502 });
    for (let sweeps = 0; sweeps < 2; sweeps += 1) {
      expect(await handle(due)).toMatchObject({ outcome: 'retry', reason: 'provider-unavailable' });
    }
    expect(fake.github.runners.map(({ name }) => name)).toEqual([`${INSTANCE}-1`]);
    expect(fake.metrics.filter((line) => /WithoutAgent \d+ gha\/default/.test(line))).toEqual([]);
  });

  test('a list that many groups share is read once, also when it fails', async () => {
    const same = Array.from({ length: 20 }, (_, index) => [
      `gha/same-${index}`,
      { ...GROUPS['gha/default'], role: `aw-gha-same-${index}`, autoScalingGroup: `aw-gha-same-${index}` },
    ]);
    fake.store.put(GROUPS_KEY, JSON.stringify({ version: 1, groups: Object.fromEntries(same) }));
    fake.restart();
    fake.github.answer('GET /repos/acme/monorepo/actions/runners', { status: 502 });
    expect(await handle(due)).toMatchObject({ reason: 'provider-unavailable' });
    expect(fake.github.calls.filter(({ call }) => call.includes('/actions/runners'))).toHaveLength(1);
  });

  test('a failed description of the groups removes nothing', async () => {
    await issue();
    fake.deps.autoScaling.listInstances = async () => {
      throw Object.assign(new Error('Rate exceeded'), { name: 'Throttling' });
    };
    expect(await handle(due)).toMatchObject({ outcome: 'retry', reason: 'service-unavailable' });
    expect(fake.github.runners).toHaveLength(1);
  });

  test('removes at low priority: what does not fit into the budget is left to the next sweep', async () => {
    const ids = Array.from({ length: 100 }, (_, index) => `i-${String(index).padStart(17, '0')}`);
    for (const id of ids) await issue(id);
    fake.instances.clear();
    await handle(due);
    expect(fake.github.runners).toHaveLength(100);
    for (let sweeps = 0; sweeps < 2; sweeps += 1) {
      fake.pass(300);
      await handle(due);
    }
    expect(fake.github.runners).toHaveLength(0);
  });
});
