import { createPublicKey, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { startBuildkite } from './buildkite/server.ts';
import { startCircleci } from './circleci/server.ts';
import { startGithub } from './github/server.ts';

/** `npm run ci-server`: runs the stand-in of one CI provider until Ctrl-C. */

const USAGE = `usage: npm run ci-server -- --provider github|buildkite|circleci [options]

  --port N              port to listen on (default: any free port)
  --address A           address to listen on (default: 127.0.0.1)
  --state-file FILE     keep jobs and registrations in FILE, and continue from it
  --webhook-url URL --webhook-secret S   send webhooks (github, buildkite)

github:
  --repository O/N      a repository; may be repeated (default: acme/monorepo)
  --token T             a plain token; may be repeated (default: one that is printed)
  --app-id N --app-public-key FILE       a GitHub App, with the public half of its key as PEM
  --runner-group NAME   a runner group of the organizations, beside Default; may be repeated
buildkite:
  --queue KEY           a queue of the cluster; may be repeated (default: default)
  --token T             an agent token; may be repeated (default: one that is printed)
circleci:
  --resource-class N/C  a resource class; may be repeated (default: acme/default)
  --token T             the token of the resource classes (default: one that is printed)
  --api-token T         a personal API token (default: one that is printed)`;

/** A mistake in the arguments. Its message is all that the user needs. */
class Usage extends Error {}

const several = { type: 'string', multiple: true } as const;
const one = { type: 'string' } as const;

function options() {
  try {
    return parseArgs({
      options: {
        provider: one,
        port: one,
        address: one,
        'state-file': one,
        'webhook-url': one,
        'webhook-secret': one,
        repository: several,
        token: several,
        'app-id': one,
        'app-public-key': one,
        'runner-group': several,
        queue: several,
        'resource-class': several,
        'api-token': one,
        help: { type: 'boolean', short: 'h' },
      },
    }).values;
  } catch (error) {
    throw new Usage((error as Error).message);
  }
}

type Options = ReturnType<typeof options>;

/** Options that only some providers have. */
const OWN_OPTIONS: Readonly<Record<string, readonly (keyof Options)[]>> = {
  github: [
    'repository',
    'token',
    'app-id',
    'app-public-key',
    'runner-group',
    'webhook-url',
    'webhook-secret',
  ],
  buildkite: ['queue', 'token', 'webhook-url', 'webhook-secret'],
  circleci: ['resource-class', 'token', 'api-token'],
};

async function main(): Promise<void> {
  const given = options();
  if (given.help) return console.log(USAGE);
  const { provider } = given;
  const own = OWN_OPTIONS[provider ?? ''];
  if (!provider || !own) {
    throw new Usage(
      provider ? `--provider ${provider}: there are github, buildkite and circleci` : '--provider is missing',
    );
  }
  const foreign = Object.keys(given).find(
    (name) =>
      Object.values(OWN_OPTIONS)
        .flat()
        .includes(name as keyof Options) && !own.includes(name as keyof Options),
  );
  if (foreign) throw new Usage(`--${foreign} is no option of ${provider}`);
  const common = {
    port: portOf(given.port),
    ...(given.address !== undefined && { address: given.address }),
    ...(given['state-file'] !== undefined && { stateFile: given['state-file'] }),
  };
  const started = await start(provider, given, common);
  console.log(`${provider} at ${started.url}\n\n${started.text}\n`);
  console.log(`queue a job:\n  curl -sS ${started.url}/_control/jobs -d '${started.job}'`);
  console.log(`jobs with state, result and log:\n  curl -sS ${started.url}/_control/jobs`);
  console.log(`agents:\n  curl -sS ${started.url}/_control/registrations`);
  console.log('\nCtrl-C ends it.');
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.once(name, () => void started.close().then(() => process.exit(0)));
  }
}

type Common = { port: number; address?: string; stateFile?: string };
type Started = { url: string; text: string; job: string; close(): Promise<void> };

async function start(provider: string, given: Options, common: Common): Promise<Started> {
  if (provider === 'github') return github(given, common);
  if (provider === 'buildkite') return buildkite(given, common);
  return circleci(given, common);
}

async function github(given: Options, common: Common): Promise<Started> {
  const repositories = given.repository ?? ['acme/monorepo'];
  const wrong = repositories.find((name) => !/^[^/\s]+\/[^/\s]+$/.test(name));
  if (wrong !== undefined) throw new Usage(`--repository ${wrong}: the form is owner/name`);
  const tokens = given.token ?? [generated()];
  const apps = appOf(given);
  const webhook = webhookOf(given);
  const { url, close } = await startGithub({
    ...common,
    repositories,
    tokens,
    apps,
    runnerGroups: [
      { id: 1, name: 'Default', default: true },
      ...(given['runner-group'] ?? []).map((name, index) => ({ id: index + 3, name })),
    ],
    ...(webhook && { webhook: { url: webhook.url, secret: webhook.secret } }),
  });
  const lines = [
    `repositories: ${repositories.join(', ')}`,
    ...(given.token ? [] : [`token: ${tokens[0]}`]),
    ...apps.map(({ id }) => `App ${id}`),
  ];
  return {
    url,
    close,
    text: lines.join('\n'),
    job: '{"labels": ["my-label"], "command": "echo hello"}',
  };
}

function appOf(given: Options) {
  const { 'app-id': id, 'app-public-key': file } = given;
  if (id === undefined && file === undefined) return [];
  if (id === undefined || file === undefined)
    throw new Usage('--app-id and --app-public-key belong together');
  if (!/^[1-9]\d*$/.test(id)) throw new Usage(`--app-id ${id}: is no number`);
  let publicKey: string;
  try {
    publicKey = readFileSync(file, 'utf8');
  } catch (error) {
    throw new Usage(`--app-public-key: ${(error as Error).message}`);
  }
  try {
    createPublicKey(publicKey);
  } catch {
    throw new Usage(`--app-public-key ${file}: is no public key as PEM`);
  }
  return [{ id: Number(id), publicKey }];
}

async function buildkite(given: Options, common: Common): Promise<Started> {
  const queues = given.queue ?? ['default'];
  const agentTokens = given.token ?? [generated()];
  const webhook = webhookOf(given);
  const { url, close } = await startBuildkite({
    ...common,
    queues,
    agentTokens,
    ...(webhook && { webhook: { url: webhook.url, token: webhook.secret } }),
  });
  const lines = [
    `queues: ${queues.join(', ')}`,
    ...(given.token ? [] : [`agent token: ${agentTokens[0]}`]),
    'an agent:',
    `  buildkite-agent start --endpoint ${url}/v3 --token ${given.token ? '<token>' : agentTokens[0]} --queue ${queues[0]} --skip-checkout --build-path /tmp/builds`,
  ];
  return { url, close, text: lines.join('\n'), job: `{"queue": "${queues[0]}", "command": "echo hello"}` };
}

async function circleci(given: Options, common: Common): Promise<Started> {
  const classes = given['resource-class'] ?? ['acme/default'];
  const wrong = classes.find((name) => !/^[^/\s]+\/[^/\s]+$/.test(name));
  if (wrong !== undefined) throw new Usage(`--resource-class ${wrong}: the form is namespace/name`);
  const tokens = given.token ?? [generated()];
  const apiToken = given['api-token'] ?? generated();
  const { url, close } = await startCircleci({
    ...common,
    resourceClasses: Object.fromEntries(classes.map((name) => [name, tokens])),
    apiTokens: [apiToken],
  });
  const lines = [
    `resource classes: ${classes.join(', ')}`,
    ...(given.token ? [] : [`token of the resource classes: ${tokens[0]}`]),
    ...(given['api-token'] ? [] : [`API token: ${apiToken}`]),
  ];
  return {
    url,
    close,
    text: lines.join('\n'),
    job: `{"resourceClass": "${classes[0]}", "command": "echo hello"}`,
  };
}

function webhookOf(given: Options) {
  const { 'webhook-url': url, 'webhook-secret': secret } = given;
  if (url === undefined && secret === undefined) return undefined;
  if (url === undefined || secret === undefined)
    throw new Usage('--webhook-url and --webhook-secret belong together');
  if (!URL.canParse(url)) throw new Usage(`--webhook-url ${url}: is no URL`);
  return { url, secret };
}

function portOf(text: string | undefined): number {
  if (text === undefined) return 0;
  const port = Number(text);
  if (!Number.isInteger(port) || port < 1 || port > 65_535)
    throw new Usage(`--port ${text}: a port is 1 to 65535`);
  return port;
}

function generated(): string {
  return `stand-in-${randomBytes(12).toString('hex')}`;
}

try {
  await main();
} catch (error) {
  const { code, message } = error as NodeJS.ErrnoException;
  if (error instanceof Usage) console.error(`${message}\n\n${USAGE}`);
  else if (code === 'EADDRINUSE' || code === 'EACCES' || code === 'EADDRNOTAVAIL') console.error(message);
  else throw error;
  process.exitCode = 1;
}
