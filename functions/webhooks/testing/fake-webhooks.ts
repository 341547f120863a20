import { createHmac } from 'node:crypto';
import type { BacklogHint } from '../../../shared/fleet/backlog-hint.ts';
import type { RunnerGroup } from '../../../shared/fleet/declared-groups.ts';
import type { GroupSettings } from '../../../shared/fleet/group-settings.ts';
import type { UrlAnswer } from '../../../shared/runtime/define-url-function.ts';
import { handleWebhook } from '../handle.ts';
import { hintMemory } from '../hint-memory.ts';
import type { HookProvider, WebhooksDeps } from '../ports.ts';

/** The function with its secrets, groups and inbox in memory. A test moves the time. */
export type FakeWebhooks = {
  deps: WebhooksDeps;
  keys: Map<HookProvider, string[]>;
  groups: RunnerGroup[];
  /** Hints in the inbox, with their delay, and the seconds since the start for which they are due. */
  hints: { about: BacklogHint; delaySeconds: number; due: number }[];
  /** Set to refuse messages. */
  inboxError: Error | undefined;
  /** Calls of secrets and groups. */
  reads: string[];
  pass(seconds: number): void;
  now(): Date;
  /** A request as it arrives. */
  post(path: string, headers: Record<string, string>, body: string | Uint8Array): Promise<UrlAnswer>;
  /** A webhook that is signed with a key, by default the present one. */
  github(body: unknown, key?: string): Promise<UrlAnswer>;
  buildkite(body: unknown, key?: string, at?: Date): Promise<UrlAnswer>;
};

export const GITHUB_KEY = 'key of github, long enough';
export const BUILDKITE_KEY = 'key of buildkite, long enough';

export function fakeWebhooks(): FakeWebhooks {
  const start = Date.parse('2026-11-23T08:00:00Z');
  let time = start;
  const clock = { now: () => new Date(time) };
  const group = (id: string, settings: object): RunnerGroup => ({
    id,
    settings: { takesJobs: true, ...settings } as GroupSettings,
  });
  const fake: FakeWebhooks = {
    keys: new Map([
      ['gha', [GITHUB_KEY]],
      ['bk', [BUILDKITE_KEY]],
    ]),
    groups: [
      group('gha/default', { provider: 'gha', owner: 'acme', repository: 'monorepo' }),
      group('gha/org', { provider: 'gha', owner: 'acme', jobsRepository: 'tools' }),
      group('gha/warming', { provider: 'gha', owner: 'acme', repository: 'warming', takesJobs: false }),
      group('bk/default', { provider: 'bk', queue: 'default' }),
      group('cci/default', { provider: 'cci' }),
    ],
    hints: [],
    inboxError: undefined,
    reads: [],
    deps: {
      keys: {
        async of(provider) {
          fake.reads.push(`keys of ${provider}`);
          return fake.keys.get(provider) ?? [];
        },
      },
      groups: {
        async all() {
          fake.reads.push('groups');
          return fake.groups;
        },
      },
      inbox: {
        async send(about, at, delaySeconds) {
          if (fake.inboxError) throw fake.inboxError;
          fake.hints.push({ about, delaySeconds, due: (at.getTime() - start) / 1000 });
        },
      },
      memory: hintMemory(),
      clock,
    },
    pass(seconds) {
      time += seconds * 1000;
    },
    now: clock.now,
    post: (path, headers, body) =>
      handleWebhook(
        {
          id: 'r-1',
          method: 'POST',
          path,
          headers,
          body: Buffer.from(body),
          caller: undefined,
          signal: new AbortController().signal,
        },
        fake.deps,
      ),
    github(body, key = GITHUB_KEY) {
      const text = JSON.stringify(body);
      return fake.post('/github', { 'x-hub-signature-256': `sha256=${hmac(key, text)}` }, text);
    },
    buildkite(body, key = BUILDKITE_KEY, at = clock.now()) {
      const text = JSON.stringify(body);
      const timestamp = Math.floor(at.getTime() / 1000);
      const signature = `timestamp=${timestamp},signature=${hmac(key, `${timestamp}.${text}`)}`;
      return fake.post('/buildkite', { 'x-buildkite-signature': signature }, text);
    },
  };
  return fake;
}

/** A GitHub webhook of a job. Each has another id, so that no two are the same delivery. */
export function workflowJob(change: { action?: string; repository?: string; id?: number } = {}) {
  const { action = 'queued', repository = 'acme/monorepo', id = nextId() } = change;
  return { action, workflow_job: { id, labels: ['linux'] }, repository: { full_name: repository } };
}

let lastId = 0;
function nextId(): number {
  lastId += 1;
  return lastId;
}

function hmac(key: string, text: string): string {
  return createHmac('sha256', key).update(text).digest('hex');
}
