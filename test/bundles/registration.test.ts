import { createPublicKey, generateKeyPairSync, verify } from 'node:crypto';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type Bundles, openBundles } from './open-bundles.ts';

/** Requests to the URL of `registration`, answered by its bundle: signing, HTTP and errors are those of what is deployed. */
let bundles: Bundles;
beforeAll(async () => {
  bundles = await openBundles();
});
afterAll(() => bundles.close());
afterEach(() => {
  bundles.aws.answers.clear();
  bundles.aws.calls.length = 0;
});

const INSTANCE = 'i-0123456789abcdef0';
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const PEM = String(privateKey.export({ type: 'pkcs1', format: 'pem' }));

const answer = (operation: string, body: object | string, status = 200) =>
  bundles.aws.answers.set(operation, {
    status,
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });

function ready() {
  const group = {
    provider: 'gha',
    role: 'aw-gha-default',
    autoScalingGroup: 'aw-gha-default',
    minRunners: 0,
    maxRunners: 2,
    takesJobs: true,
    apiUrl: bundles.aws.url,
    owner: 'acme',
    repository: 'monorepo',
    labels: ['hearth'],
    appSecret: 'app-secret',
    tokenSecret: 'token-secret',
  };
  answer('GET /bucket/config/groups.json', { version: 1, groups: { 'gha/default': group } });
  const member = `<member><InstanceId>${INSTANCE}</InstanceId><AutoScalingGroupName>aw-gha-default</AutoScalingGroupName><LifecycleState>InService</LifecycleState></member>`;
  answer(
    'DescribeAutoScalingInstances',
    `<DescribeAutoScalingInstancesResponse><DescribeAutoScalingInstancesResult><AutoScalingInstances>${member}</AutoScalingInstances></DescribeAutoScalingInstancesResult></DescribeAutoScalingInstancesResponse>`,
  );
  answer('GetSecretValue', { SecretString: JSON.stringify({ appId: 12, privateKey: PEM }) });
  answer('PUT /bucket/registrations/budgets/', '');
  answer('PUT /bucket/registrations/i-', '');
  answer('GET /repos/acme/monorepo/installation', { id: 99 });
  answer(
    'POST /app/installations/99/access_tokens',
    { token: 'installation-token', expires_at: '2036-11-23T09:00:00Z' },
    201,
  );
  const created = { runner: { id: 7 }, encoded_jit_config: 'just-in-time-config' };
  answer('POST /repos/acme/monorepo/actions/runners/generate-jitconfig', created, 201);
}

const request = (body: object, session = INSTANCE) =>
  bundles.invoke('registration', {
    version: '2.0',
    rawPath: '/',
    headers: { 'content-type': 'application/json' },
    requestContext: {
      requestId: 'r-1',
      http: { method: 'POST', path: '/' },
      authorizer: {
        iam: {
          accountId: '123456789012',
          userArn: `arn:aws:sts::123456789012:assumed-role/aw-gha-default/${session}`,
        },
      },
    },
    body: JSON.stringify(body),
    isBase64Encoded: false,
  });

const register = { action: 'register', previous: 'none' };

test('an instance gets a registration, and no line has a secret', async () => {
  ready();
  const { answer: result, log } = await request(register);
  expect(result).toMatchObject({ statusCode: 200 });
  expect(JSON.parse(result.body)).toEqual({
    outcome: 'registered',
    registration: { provider: 'gha', name: `${INSTANCE}-1`, jitConfig: 'just-in-time-config' },
  });
  expect(log).toContain('"outcome":"registered"');
  expect(log).not.toMatch(/just-in-time-config|installation-token|PRIVATE KEY/);
});

test('the App signs with RS256, within the ten minutes of GitHub', async () => {
  ready();
  const jwt = new Promise<string>((resolve) => {
    bundles.aws.onRequest = ({ url, headers }) => {
      if (url?.endsWith('/installation')) resolve(String(headers.authorization).replace('Bearer ', ''));
    };
  });
  await request(register);
  const [head = '', payload = '', signature = ''] = (await jwt).split('.');
  const signed = Buffer.from(`${head}.${payload}`);
  expect(verify('RSA-SHA256', signed, createPublicKey(privateKey), Buffer.from(signature, 'base64url'))).toBe(
    true,
  );
  const { iss, iat, exp } = JSON.parse(Buffer.from(payload, 'base64url').toString());
  expect(iss).toBe('12');
  expect(iat).toBeLessThanOrEqual(Date.now() / 1000);
  expect(exp - iat).toBeLessThanOrEqual(600);
});

test.each<[string, () => void, number, object]>([
  [
    'no groups',
    () => bundles.aws.answers.delete('GET /bucket/config/groups.json'),
    503,
    { reason: 'unavailable' },
  ],
  [
    'a secret without a value',
    () =>
      answer(
        'GetSecretValue',
        {
          __type: 'ResourceNotFoundException',
          message: "Secrets Manager can't find the specified secret value for staging label: AWSCURRENT",
        },
        400,
      ),
    503,
    { reason: 'credential' },
  ],
  [
    'a throttled Auto Scaling',
    () => answer('DescribeAutoScalingInstances', throttled, 400),
    503,
    { reason: 'unavailable' },
  ],
  [
    'a record that another request changes',
    () => answer('PUT /bucket/registrations/i-', conflict, 412),
    429,
    { reason: 'too-soon' },
  ],
  [
    'a provider that is down',
    () => answer('POST /repos/acme/monorepo/actions/runners/generate-jitconfig', '<html>', 502),
    503,
    { reason: 'unavailable' },
  ],
])('%s', async (_, change, status, body) => {
  ready();
  change();
  const { answer: result } = await request(register);
  expect(result.statusCode).toBe(status);
  expect(JSON.parse(result.body)).toMatchObject({ outcome: 'refused', ...body });
});

const throttled =
  '<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>';
const conflict = '<Error><Code>PreconditionFailed</Code><Message>no</Message></Error>';

test('a session that is no instance, and a body that is too large', async () => {
  ready();
  expect((await request(register, 'operator')).answer.statusCode).toBe(403);
  expect((await request({ ...register, agent: { x: 'x'.repeat(20_000) } })).answer.statusCode).toBe(413);
});
