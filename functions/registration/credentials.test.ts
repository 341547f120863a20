import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { PEM } from './testing/fake-github.ts';
import {
  answerBody,
  type FakeRegistration,
  fakeRegistration,
  type GroupId,
  INSTANCE,
  OTHER_INSTANCE,
} from './testing/fake-registration.ts';

let fake: FakeRegistration;
beforeEach(() => {
  fake = fakeRegistration();
  fake.launch();
  vi.stubGlobal('fetch', fake.github.fetch);
});
afterEach(() => {
  vi.unstubAllGlobals();
});

const register = { action: 'register', previous: 'none' };

async function request(group: GroupId = 'gha/default', instanceId = INSTANCE) {
  fake.launch(instanceId, group);
  const agent = group === 'bk/default' ? { agent: { name: 'x', meta_data: ['queue=default'] } } : {};
  return fake.request({ ...register, ...agent }, { group, instanceId });
}

const app = (change: object = {}) => JSON.stringify({ appId: 12, privateKey: PEM, ...change });

describe('GitHub', () => {
  test('the token of an App is narrowed to one repository and one permission, and used for an hour less 5 minutes', async () => {
    await request();
    expect(fake.github.callNames()).toEqual([
      'GET /repos/acme/monorepo/installation',
      'POST /app/installations/99/access_tokens',
      'POST /repos/acme/monorepo/actions/runners/generate-jitconfig',
    ]);
    expect(fake.github.calls[1]?.body).toEqual({
      repositories: ['monorepo'],
      permissions: { administration: 'write' },
    });
    fake.github.calls.length = 0;
    fake.pass(54 * 60);
    await request('gha/default', OTHER_INSTANCE);
    expect(fake.github.callNames()).toHaveLength(1);
    fake.github.calls.length = 0;
    fake.pass(60);
    await request();
    expect(fake.github.callNames()).toContain('POST /app/installations/99/access_tokens');
  });

  test.each([
    ['as it is', PEM],
    ['with the two characters \\n for each line break', PEM.trim().replaceAll('\n', '\\n')],
    ['with spaces around it', `\n  ${PEM}\n`],
  ])('a key %s', async (_, privateKey) => {
    fake.secrets.set('app-secret', app({ privateKey }));
    expect(answerBody(await request())).toMatchObject({ outcome: 'registered' });
  });

  test('several Apps share the instances, each of which keeps its App', async () => {
    fake.secrets.set('app-secret', JSON.stringify(['12', 13].map((appId) => ({ appId, privateKey: PEM }))));
    const used = new Map<string, Set<string>>();
    for (let round = 0; round < 2; round += 1) {
      for (let index = 0; index < 20; index += 1) {
        const instanceId = `i-${String(index).padStart(17, '0')}`;
        fake.restart();
        await request('gha/default', instanceId);
        const jwt = fake.github.calls.findLast(({ call }) => call.endsWith('/installation'))?.authorization;
        const { iss } = JSON.parse(Buffer.from(jwt?.split('.')[1] ?? '', 'base64url').toString());
        used.set(instanceId, (used.get(instanceId) ?? new Set()).add(iss));
        fake.pass(1);
      }
    }
    expect([...used.values()].every((apps) => apps.size === 1)).toBe(true);
    expect(new Set([...used.values()].flatMap((apps) => [...apps]))).toEqual(new Set(['12', '13']));
  });

  test('a plain token is used without an App', async () => {
    fake.secrets.set('app-secret', undefined);
    fake.secrets.set('token-secret', ' plain-token\n');
    expect(answerBody(await request())).toMatchObject({ outcome: 'registered' });
    expect(fake.github.calls).toMatchObject([{ authorization: 'Bearer plain-token' }]);
  });

  test('a token that GitHub refuses before its end is replaced at once', async () => {
    await request();
    fake.github.revokeTokens();
    expect(answerBody(await request('gha/default', OTHER_INSTANCE))).toMatchObject({ outcome: 'registered' });
  });

  test('a key that was rotated since it was read is read again in the same request', async () => {
    fake.secrets.set('app-secret', app({ appId: 14 }));
    await request();
    fake.github.appIds.delete('12');
    fake.github.revokeTokens();
    fake.secrets.set('app-secret', app({ appId: 13 }));
    fake.pass(60);
    expect(answerBody(await request())).toMatchObject({ outcome: 'registered' });
  });
});

describe('a secret that cannot be used is refused as a credential, named in the log, and repaired by its next value', () => {
  const NOT_RSA = `-----BEGIN PRIVATE KEY-----\nbm90IGEga2V5\n-----END PRIVATE KEY-----`;
  const CLASS = { resource_class: 'acme/linux', auth_token: 'cci-class-token' };

  test.each<[GroupId, string, string, string | undefined]>([
    ['gha/default', 'app-secret', 'without a value', undefined],
    ['gha/default', 'app-secret', 'empty', ' '],
    ['gha/default', 'app-secret', 'a placeholder', 'CHANGE_ME'],
    ['gha/default', 'app-secret', 'an empty object', '{}'],
    ['gha/default', 'app-secret', 'no JSON', 'hidden-text'],
    ['gha/default', 'app-secret', 'an empty list', '[ ]'],
    ['gha/default', 'app-secret', 'no key', JSON.stringify({ appId: 12, hidden: 'hidden-text' })],
    ['gha/default', 'app-secret', 'a key that is a placeholder', app({ privateKey: 'TODO' })],
    ['gha/default', 'app-secret', 'a key that is none', app({ privateKey: NOT_RSA })],
    ['gha/default', 'app-secret', 'an App that GitHub does not know', app({ appId: 999 })],
    ['bk/default', 'bk-secret', 'without a value', undefined],
    ['bk/default', 'bk-secret', 'a placeholder', 'xxx'],
    ['bk/default', 'bk-secret', 'two lines', 'hidden-text\nhidden-text'],
    ['bk/default', 'bk-secret', 'one that Buildkite refuses', 'hidden-text'],
    ['cci/default', 'cci-secret', 'without a value', undefined],
    ['cci/default', 'cci-secret', 'no JSON', 'hidden-text'],
    ['cci/default', 'cci-secret', 'no class', JSON.stringify({ auth_token: 'hidden-text' })],
    ['cci/default', 'cci-secret', 'no token', JSON.stringify({ ...CLASS, auth_token: '' })],
    [
      'cci/default',
      'cci-secret',
      'a token that is a placeholder',
      JSON.stringify({ ...CLASS, auth_token: 'todo' }),
    ],
  ])('%s, %s: %s', async (group, secret, _, value) => {
    const good = fake.secrets.get(secret);
    vi.stubGlobal('fetch', (input: string, init: RequestInit) =>
      String(input).startsWith(fake.github.url) ? fake.github.fetch(input, init) : buildkite(init),
    );
    fake.secrets.set(secret, value);
    const answer = await request(group);
    expect(answer).toMatchObject({
      status: 503,
      body: { outcome: 'refused', reason: 'credential', retryAfterSeconds: 60 },
    });
    expect(fake.metrics).toEqual(['CredentialFailures 1']);
    expect(fake.log).toEqual([expect.stringContaining('credential not usable')]);
    expect(fake.log[0]).toContain(secret);
    for (const text of [fake.log.join(), JSON.stringify(answer)]) {
      expect(text).not.toMatch(/hidden-text|BEGIN|cci-class-token/);
    }
    fake.secrets.set(secret, good);
    fake.pass(10);
    expect(answerBody(await request(group))).toMatchObject({ outcome: 'registered' });
  });

  const buildkite = async ({ headers }: RequestInit): Promise<Response> => {
    const authorization = new Headers(headers).get('authorization');
    return authorization === 'Token bk-agent-token'
      ? Response.json({ access_token: 'session' })
      : Response.json({ message: 'Invalid access token' }, { status: 401 });
  };
});
