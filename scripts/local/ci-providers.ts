import { generateKeyPair, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { CiProvider, Group } from '../../shared/fleet/names.ts';
import type { PartnerEvent } from './ci/buildkite/events.ts';
import { type Buildkite, startBuildkite } from './ci/buildkite/server.ts';
import { type Circleci, startCircleci } from './ci/circleci/server.ts';
import { type Github, startGithub } from './ci/github/server.ts';
import type { Job } from './ci/stand-in.ts';
import {
  circleciSecret,
  PROVIDER_SECRETS,
  type ProviderSettings,
  REPOSITORY,
  targetOf,
  WEBHOOK_SECRETS,
} from './deploy/settings.ts';
import { lowPort } from './free-port.ts';

/** The stand-ins of the three CI providers, with credentials of this run. */
export type CiProviders = {
  github: Github;
  buildkite: Buildkite;
  circleci: Circleci;
  settings: ProviderSettings;
  /**
   * Queues a job that runs on a group.
   *
   * @param retries how often Buildkite and CircleCI queue it again after the loss of its agent; GitHub never does
   */
  queueJob(group: Group, command: string, retries?: number): QueuedJob;
  /** Every job of a provider so far. */
  jobs(provider: CiProvider): readonly Job[];
  /** Ends a stand-in at once, and starts it again with the state that it had. Open connections break. */
  restart(provider: CiProvider): Promise<void>;
  close(): Promise<void>;
};

/** A job at its provider. */
export type QueuedJob = {
  provider: CiProvider;
  id: string;
  /** The job as it is now; if its provider has queued it again, the latest of its repetitions. */
  readonly now: Job;
};

/** Where GitHub and Buildkite send what happens to jobs. */
export type ProviderEvents = {
  /** The URL of the function `webhooks`, with a slash at its end. */
  webhookUrl: string;
  onPartnerEvent: (event: PartnerEvent) => void;
};

const newKeyPair = promisify(generateKeyPair);

/**
 * Starts the stand-ins on free ports, which no client can get while one restarts.
 *
 * @param folder of the run; the state of the stand-ins is there
 * @param groups the runner groups whose queues and resource classes they have
 * @param events undefined: they send none
 */
export async function startCiProviders(
  folder: string,
  groups: readonly Group[],
  events?: ProviderEvents,
): Promise<CiProviders> {
  const app = await newKeyPair('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    // The format in which GitHub hands keys out.
    privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
  });
  const agentToken = randomToken();
  const apiToken = randomToken();
  const webhookKeys = { gha: randomToken(), bk: randomToken() };
  const namesOf = (provider: CiProvider) =>
    groups.filter((one) => one.provider === provider).map(({ name }) => name);
  const classes = namesOf('cci').map((name) => ({
    name,
    resourceClass: targetOf({ provider: 'cci', name }),
    token: randomToken(),
  }));
  const resourceClasses = Object.fromEntries(
    classes.map(({ resourceClass, token }) => [resourceClass, [token]]),
  );
  const stateFile = (name: string) => join(folder, `${name}.json`);
  const start = {
    gha: (port: number) =>
      startGithub({
        port,
        stateFile: stateFile('github'),
        repositories: [`${REPOSITORY.owner}/${REPOSITORY.repository}`],
        apps: [{ id: APP_ID, publicKey: app.publicKey }],
        ...(events && { webhook: { url: `${events.webhookUrl}github`, secret: webhookKeys.gha } }),
      }),
    bk: (port: number) =>
      startBuildkite({
        port,
        stateFile: stateFile('buildkite'),
        queues: [...new Set(['default', ...namesOf('bk')])],
        agentTokens: [agentToken],
        ...(events && {
          webhook: { url: `${events.webhookUrl}buildkite`, token: webhookKeys.bk },
          onPartnerEvent: events.onPartnerEvent,
          behaviour: { webhookHeader: 'signature' },
        }),
      }),
    cci: (port: number) =>
      startCircleci({ port, stateFile: stateFile('circleci'), resourceClasses, apiTokens: [apiToken] }),
  };
  const running = {
    gha: await start.gha(await lowPort()),
    bk: await start.bk(await lowPort()),
    cci: await start.cci(await lowPort()),
  };

  function queue(group: Group, command: string, retries: number): Job {
    const target = targetOf(group);
    if (group.provider === 'gha') return running.gha.queueJob({ command, labels: [target] });
    if (group.provider === 'bk') return running.bk.queueJob({ command, queue: target, retries });
    return running.cci.queueJob({ command, resourceClass: target, reruns: retries });
  }

  return {
    get github() {
      return running.gha;
    },
    get buildkite() {
      return running.bk;
    },
    get circleci() {
      return running.cci;
    },
    settings: {
      apiUrls: { gha: running.gha.url, bk: `${running.bk.url}/v3`, cci: running.cci.url },
      secrets: {
        [PROVIDER_SECRETS.githubApp]: JSON.stringify({ appId: APP_ID, privateKey: app.privateKey }),
        [PROVIDER_SECRETS.githubToken]: '',
        [PROVIDER_SECRETS.buildkiteToken]: agentToken,
        ...(events && { [WEBHOOK_SECRETS.gha]: webhookKeys.gha, [WEBHOOK_SECRETS.bk]: webhookKeys.bk }),
        ...Object.fromEntries(
          classes.map(({ name, resourceClass, token }) => [
            circleciSecret(name),
            JSON.stringify({ resource_class: resourceClass, auth_token: token, access_token: apiToken }),
          ]),
        ),
      },
    },
    queueJob(group, command, retries = 0) {
      const { provider } = group;
      const { id } = queue(group, command, retries);
      return {
        provider,
        id,
        get now() {
          const jobs = running[provider].jobs();
          let job = jobs.find((one) => one.id === id);
          if (!job) throw new Error(`${provider} has lost the job ${id}`);
          for (let again: Job | undefined = job; again; again = repetitionOf(again, jobs)) job = again;
          return job;
        },
      };
    },
    jobs: (provider) => running[provider].jobs(),
    async restart(provider) {
      const port = Number(new URL(running[provider].url).port);
      await running[provider].close();
      Object.assign(running, { [provider]: await start[provider](port) });
    },
    async close() {
      await Promise.all(Object.values(running).map((one) => one.close()));
    },
  };
}

/** The job that its provider has queued in place of this one. */
function repetitionOf({ id }: Job, jobs: readonly Repetition[]): Job | undefined {
  return jobs.find(({ retryOf, rerunOf }) => retryOf === id || rerunOf === id);
}

type Repetition = Job & { retryOf?: string; rerunOf?: string };

const APP_ID = 1001;

function randomToken(): string {
  return `stand-in-${randomBytes(16).toString('hex')}`;
}
