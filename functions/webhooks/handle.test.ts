import { beforeEach, describe, expect, test } from 'vitest';
import {
  BUILDKITE_KEY,
  type FakeWebhooks,
  fakeWebhooks,
  GITHUB_KEY,
  workflowJob,
} from './testing/fake-webhooks.ts';

let fake: FakeWebhooks;
beforeEach(() => {
  fake = fakeWebhooks();
});

const MONOREPO = { provider: 'gha', repository: 'acme/monorepo' };

describe('a webhook with a valid signature', () => {
  test('of GitHub leaves a hint for its repository', async () => {
    expect(await fake.github(workflowJob())).toMatchObject({ status: 202, outcome: 'done', body: {} });
    expect(fake.hints).toEqual([{ about: MONOREPO, delaySeconds: 0, due: 0 }]);
  });

  test('of Buildkite leaves a hint for the cluster', async () => {
    for (const event of ['job.scheduled', 'job.activated']) {
      expect(await fake.buildkite({ event, job: { id: event } })).toMatchObject({
        status: 202,
        outcome: 'done',
      });
      fake.pass(30);
    }
    expect(fake.hints.map(({ about }) => about)).toEqual([{ provider: 'bk' }, { provider: 'bk' }]);
  });

  test('is accepted with either of two keys, and with no third one', async () => {
    fake.keys.set('gha', ['the new key of github', GITHUB_KEY]);
    expect(await fake.github(workflowJob())).toMatchObject({ status: 202 });
    expect(await fake.github(workflowJob(), 'the new key of github')).toMatchObject({ status: 202 });
    fake.keys.set('gha', ['the new key of github']);
    expect(await fake.github(workflowJob())).toMatchObject({ status: 401, reason: 'wrong-signature' });
  });

  test('is verified over bytes, whatever they are as text', async () => {
    // The vector of GitHub's documentation, and one byte that is no UTF-8.
    fake.keys.set('gha', ["It's a Secret to Everybody"]);
    const vector = 'sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17';
    const answer = await fake.post('/github', { 'x-hub-signature-256': vector }, 'Hello, World!');
    expect(answer).toMatchObject({ status: 400, reason: 'malformed-body', body: {} });
    const bytes = Buffer.from([...Buffer.from('Hello, World!'), 255]);
    expect(await fake.post('/github', { 'x-hub-signature-256': vector }, bytes)).toMatchObject({
      status: 401,
    });
  });

  test.each([
    ['a ping', { zen: 'x', hook_id: 1 }, 'other-event'],
    ['a job that is null', { ...workflowJob(), workflow_job: null }, 'other-event'],
    [
      'an event of another kind',
      { action: 'queued', repository: { full_name: 'acme/monorepo' } },
      'other-event',
    ],
    ['a job that has begun', workflowJob({ action: 'in_progress' }), 'nothing-queued'],
    ['a job that has ended', workflowJob({ action: 'completed' }), 'nothing-queued'],
  ])('of GitHub about %s leaves none', async (_, body, reason) => {
    expect(await fake.github(body)).toMatchObject({ status: 200, outcome: 'skipped', reason });
    expect(fake.hints).toEqual([]);
  });

  test.each(['ping', 'build.finished', 'agent.connected', 'job.started', 'job.finished'])(
    'of Buildkite about %s leaves none',
    async (event) => {
      expect(await fake.buildkite({ event })).toMatchObject({ status: 200, outcome: 'skipped' });
      expect(fake.hints).toEqual([]);
    },
  );

  test.each([
    ['a repository of no group', 'acme/other'],
    ['a repository of another owner', 'stranger/monorepo'],
    ['a repository whose group takes no jobs', 'acme/warming'],
    ['a repository that is a property of objects', '__proto__'],
  ])('about %s is not found', async (_, repository) => {
    expect(await fake.github(workflowJob({ repository }))).toMatchObject({ status: 404, reason: 'no-group' });
    expect(fake.hints).toEqual([]);
  });

  test('finds its repository whatever its case, and by the repository whose jobs count', async () => {
    expect(await fake.github(workflowJob({ repository: 'ACME/Tools' }))).toMatchObject({ status: 202 });
  });

  test('without a group of its provider is not found', async () => {
    fake.groups = fake.groups.filter(({ settings }) => settings.provider !== 'bk');
    expect(await fake.buildkite({ event: 'job.scheduled' })).toMatchObject({ status: 404 });
  });
});

describe('nothing is parsed and nothing is left without a valid signature', () => {
  const refused = async (headers: Record<string, string>, body = '{"action"', path = '/github') =>
    fake.post(path, headers, body);

  test('a wrong one', async () => {
    // JSON that cannot be parsed gets the answer about the signature.
    const wrong = { 'x-hub-signature-256': `sha256=${'0'.repeat(64)}` };
    expect(await refused(wrong)).toMatchObject({ status: 401, reason: 'wrong-signature', body: {} });
    expect(await fake.github(workflowJob(), BUILDKITE_KEY)).toMatchObject({ status: 401 });
    expect(await fake.buildkite({ event: 'job.scheduled' }, GITHUB_KEY)).toMatchObject({ status: 401 });
    expect(fake.reads).not.toContain('groups');
  });

  test.each([
    ['none', {}],
    ['an empty one', { 'x-hub-signature-256': '' }],
    ['one of another length', { 'x-hub-signature-256': 'sha256=00' }],
    ['one of another hash', { 'x-hub-signature': `sha1=${'0'.repeat(40)}` }],
    ['several', { 'x-hub-signature-256': `sha256=${'0'.repeat(64)},sha256=${'0'.repeat(64)}` }],
    ['a Buildkite signature without a time', { 'x-buildkite-signature': `signature=${'0'.repeat(64)}` }],
    ["Buildkite's token in clear text", { 'x-buildkite-token': BUILDKITE_KEY }],
  ])('%s, and no secret is read', async (_, headers) => {
    for (const path of ['/github', '/buildkite'])
      expect(await refused(headers, '{}', path)).toMatchObject({ status: 401, reason: 'no-signature' });
    expect(fake.reads).toEqual([]);
  });

  test('a Buildkite signature of another time, or whose time was changed', async () => {
    const queued = { event: 'job.scheduled' };
    const at = (seconds: number) => new Date(fake.now().getTime() + seconds * 1000);
    for (const seconds of [-301, 301, -86_400])
      expect(await fake.buildkite(queued, BUILDKITE_KEY, at(seconds))).toMatchObject({
        reason: 'no-signature',
      });
    for (const seconds of [-299, 299])
      expect(await fake.buildkite({ ...queued, seconds }, BUILDKITE_KEY, at(seconds))).toMatchObject({
        status: 202,
      });
    const text = JSON.stringify(queued);
    const timestamp = Math.floor(fake.now().getTime() / 1000);
    const signature = `timestamp=${timestamp},signature=${'a'.repeat(64)}`;
    expect(await fake.post('/buildkite', { 'x-buildkite-signature': signature }, text)).toMatchObject({
      reason: 'wrong-signature',
    });
  });

  test('a provider whose secret has no value answers like a path that does not exist', async () => {
    fake.keys.delete('gha');
    const { reason: _, ...noSecret } = await fake.github(workflowJob());
    const { reason: __, ...noPath } = await fake.post('/else', {}, '');
    expect(noSecret).toEqual(noPath);
    expect(noSecret).toMatchObject({ status: 404, body: {} });
  });

  test.each(['/', '', '/github/', '/GitHub', '/cci', '/github/../github', '/constructor'])(
    'the path %j does not exist',
    async (path) => {
      expect(await refused({}, '{}', path)).toMatchObject({ status: 404, reason: 'unknown-path' });
      expect(fake.reads).toEqual([]);
    },
  );
});

describe('many webhooks', () => {
  test('of a burst become two hints, the second of which covers the rest', async () => {
    await fake.github(workflowJob());
    fake.pass(3);
    expect(await fake.github(workflowJob())).toMatchObject({ outcome: 'done', detail: { delaySeconds: 7 } });
    for (let count = 0; count < 50; count += 1) {
      fake.pass(0.1);
      expect(await fake.github(workflowJob())).toMatchObject({ status: 202, reason: 'hint-pending' });
    }
    expect(fake.hints.map(({ due }) => due)).toEqual([0, 10]);
    // The second hint is due, and a later job needs a further one.
    fake.pass(5);
    await fake.github(workflowJob());
    expect(fake.hints.map(({ due }) => due)).toEqual([0, 10, 20]);
  });

  test('of two sources do not hinder each other', async () => {
    await fake.github(workflowJob());
    await fake.github(workflowJob({ repository: 'acme/tools' }));
    await fake.buildkite({ event: 'job.scheduled' });
    expect(fake.hints.map(({ due }) => due)).toEqual([0, 0, 0]);
  });

  test('of many repositories leave at most 60 hints per minute', async () => {
    fake.groups = Array.from({ length: 100 }, (_, index) => ({
      id: `gha/r${index}`,
      settings: { takesJobs: true, provider: 'gha', owner: 'acme', repository: `r${index}` } as never,
    }));
    for (let index = 0; index < 100; index += 1)
      await fake.github(workflowJob({ repository: `acme/r${index}` }));
    expect(fake.hints).toHaveLength(60);
    expect(await fake.github(workflowJob({ repository: 'acme/r99' }))).toMatchObject({
      reason: 'hints-limited',
    });
    fake.pass(61);
    expect(await fake.github(workflowJob({ repository: 'acme/r99' }))).toMatchObject({ outcome: 'done' });
  });

  test('that are one delivery count once, for ten minutes', async () => {
    const delivery = workflowJob();
    await fake.github(delivery);
    fake.pass(60);
    expect(await fake.github(delivery)).toMatchObject({ status: 200, reason: 'repeated' });
    expect(fake.hints).toHaveLength(1);
    fake.pass(600);
    expect(await fake.github(delivery)).toMatchObject({ outcome: 'done' });
  });

  test('take no more memory than their bounds', async () => {
    for (let count = 0; count < 5_100; count += 1) {
      fake.pass(0.01);
      await fake.github(workflowJob());
    }
    expect(fake.deps.memory.seen.size).toBe(5_000);
    expect(fake.deps.memory.sent.length).toBeLessThanOrEqual(60);
  });
});

test('a hint that SQS refuses is not lost: the next delivery leaves it', async () => {
  const delivery = workflowJob();
  fake.inboxError = new Error('refused');
  await expect(fake.github(delivery)).rejects.toThrow('refused');
  fake.inboxError = undefined;
  expect(await fake.github(delivery)).toMatchObject({ status: 202, outcome: 'done' });
});

test('no answer contains a part of a body or of a key', async () => {
  const body = { ...workflowJob({ repository: 'acme/other' }), secret: 'in the body' };
  const answers = [
    await fake.github(body),
    await fake.github({ ...workflowJob(), secret: 'in the body' }),
    await fake.github(body, 'another key of 16 characters'),
    await fake.buildkite({ event: 'job.scheduled', secret: 'in the body' }),
  ];
  expect(JSON.stringify(answers)).not.toMatch(/in the body|key of|acme/);
});
